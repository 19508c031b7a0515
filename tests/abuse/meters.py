"""What a node weighs and what it has on its hands, from outside: its memory as the kernel counts it, and /metrics."""
import re
import time
import urllib.request

from nodes import wait_until

# What has to be nothing when nobody wants anything.
_NOTHING_LEFT = (
    "flotilla_inflight_bytes",
    "flotilla_client_calls",
    "flotilla_client_streams",
    "flotilla_client_uploads",
    "flotilla_subscriptions",
    "flotilla_log_queue_bytes",
)


def rss_bytes(node):
    for line in open(f"/proc/{node.process.pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"node {node.number} has no memory: {node.last_words()}")


def mib(count):
    return f"{count / (1 << 20):.0f} MiB"


class Metrics(dict):
    """{'name': value, 'name{label="x"}': value}"""

    def total(self, name, **labels):
        """The sum over all series of a family that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = [value for series, value in self.items() if series.split("{")[0] == name and all(w in series for w in wanted)]
        return sum(found)


def metrics(node):
    url = f"http://{node.place.host}:{node.http_port}/metrics"
    text = urllib.request.urlopen(url, timeout=10).read().decode()
    return Metrics((series, float(value)) for series, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.M))


class Calm:
    """A node before it is abused, and that it is the same afterwards.

    calm = Calm(node)
    ...
    calm.wait_until_back(rss_allowance=64 << 20)
    """

    def __init__(self, node):
        self._node = node
        self.rss = rss_bytes(node)
        self.connections = metrics(node).total("flotilla_connections")

    def wait_until_back(self, rss_allowance, timeout_s=30):
        def calm():
            now = metrics(self._node)
            left = {name: now.total(name) for name in _NOTHING_LEFT if now.total(name) != 0}
            if now.total("flotilla_connections") > self.connections + 2:
                left["flotilla_connections"] = now.total("flotilla_connections")
            if left:
                raise NotYet(str(left))
            return True

        began = time.monotonic()
        wait_for(f"node {self._node.number} has nothing on its hands", calm, timeout_s)
        took = time.monotonic() - began

        def light():
            rss = rss_bytes(self._node)
            if rss > self.rss + rss_allowance:
                raise NotYet(f"{mib(rss)}, before {mib(self.rss)}, allowed {mib(rss_allowance)} more")
            return True

        wait_for(f"the memory of node {self._node.number} is back", light, timeout_s)
        return took


class NotYet(Exception):
    pass


def wait_for(what, holds, timeout_s=30):
    """As wait_until; the last NotYet is told."""
    last = []

    def attempt():
        try:
            return holds()
        except NotYet as problem:
            last[:] = [str(problem)]
            return False

    try:
        return wait_until(what, attempt, timeout_s)
    except AssertionError as failure:
        raise AssertionError(f"{failure}; {last}") from None
