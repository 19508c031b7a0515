"""Ten times the load that can be served, with ten thousand idle connections beside it.

The nodes have one processor to themselves, the load and this program the other one: so it is the nodes that are too slow, and not who
asks. Each record is a request of its own, so that bigger batches do not help them out.

    overload_test.py [--seconds 60]
"""
import json
import os
import subprocess
import sys
import time

from abuse import RSS_LEFT_BYTES, STORE_BYTES, AbuseTest, metrics, mib, raise_descriptor_limit, rss_bytes
from nodes import Cluster, Place, cli, die_with_parent
from scene import main

SECONDS = 10  # of overload
TIMES = 10
GOODPUT_MIN = 0.8  # of the peak
HONEST_LONGEST_S = 8
RECOVERY_S = 5
# Requests in flight (kInflightBytesMax), what they cost beside their bytes, the log's own memory.
RSS_MORE_BYTES = 512 << 20
IDLE_CONNECTIONS = 9_900  # of 10,000: the load has some, too
PARTITIONS = 6
RECORD_BYTES = 100
# What the load may have in its memory, for all producers: ten times what can be on its way, and no more, because who has room writes
# into it first and leaves no processor to what sends.
BUFFER = "16MiB"
# As many on their way as saturate the nodes, and not so many that they only wait.
PEAK_OUTSTANDING = (256, 1024)
PEAK_SECONDS = 5


class OnProcessor(Place):
    def __init__(self, processor):
        self._processor = processor

    def enter(self):
        os.sched_setaffinity(0, {self._processor})


class Load:
    """`flotilla perf produce` in an open loop, from as many producers as it takes to have ten times as much on its way."""

    def __init__(self, cluster, topic, *arguments):
        self._process = subprocess.Popen(
            [cli(), "--brokers", cluster.addresses(), "-o", "json", "perf", "produce", topic]
            + ["--size", str(RECORD_BYTES), "--no-idempotence", "--in-flight", "1000", "--batch-bytes", "1", "--linger", "0ms"]
            + [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )

    def wait(self):
        out, errors = self._process.communicate(timeout=120)
        assert out, f"no report: {errors}"
        return json.loads(out.splitlines()[-1])

    def end(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


class OverloadTest(AbuseTest):
    NODES = 3
    REPLICAS = 3
    PARTITIONS = PARTITIONS

    @classmethod
    def setUpClass(cls):
        raise_descriptor_limit()
        processors = sorted(os.sched_getaffinity(0))
        if len(processors) < 2:
            raise AssertionError("the nodes need a processor of their own; this machine has one")
        os.sched_setaffinity(0, set(processors[1:]))
        cls.cluster = Cluster(cls.NODES, places=[OnProcessor(processors[0])] * cls.NODES)
        cls.cluster.__enter__()

    def written(self):
        """Records that were acknowledged so far."""
        return sum(metrics(node).total("flotilla_produced_records_total") for node in self.nodes)

    def rate_over(self, seconds, each_second=lambda: None):
        began, before = time.monotonic(), self.written()
        while time.monotonic() - began < seconds:
            time.sleep(1)
            each_second()
        return (self.written() - before) / (time.monotonic() - began)

    def peak(self):
        """What they can serve: the best of several numbers of requests on their way."""
        rates = []
        for outstanding in PEAK_OUTSTANDING:
            load = Load(self.cluster, self.topic, "--outstanding", outstanding, "--seconds", PEAK_SECONDS + 3)
            self.addCleanup(load.end)
            time.sleep(2)
            rates.append(self.rate_over(PEAK_SECONDS - 1))
            report = load.wait()
            self.told(f"{outstanding} on their way: {rates[-1]:.0f} records/s, p99 {report['latency_ms']['p99']:.0f} ms")
            self.assertEqual(report["failed"], 0)
        return max(rates)

    def test_ten_times_the_load(self):
        peak = self.peak()
        self.attack(IDLE_CONNECTIONS)
        rss_before = {node: rss_bytes(node) for node in self.nodes}
        self.honest.latencies_s.clear()
        began = time.monotonic()
        load = Load(
            self.cluster, self.topic, "--rate", int(TIMES * peak), "--seconds", SECONDS + 30, "--producers", 64, "--buffer", BUFFER
        )
        self.addCleanup(load.end)
        time.sleep(3)
        heaviest, most = {node: 0 for node in self.nodes}, {"flotilla_inflight_bytes": 0, "flotilla_client_calls": 0}

        def look():
            for node in self.nodes:
                heaviest[node] = max(heaviest[node], rss_bytes(node) - rss_before[node])
                now = metrics(node)
                for name in most:
                    most[name] = max(most[name], now.total(name))

        goodput = self.rate_over(SECONDS, look)
        during = sorted(self.honest.latencies_s)
        load.end()
        ended = time.monotonic()
        self.told(
            f"{goodput:.0f} records/s of {peak:.0f} ({goodput / peak:.2f}) under {TIMES} times the load for {ended - began:.0f} s;"
            f" at most {mib(max(heaviest.values()))} more memory, {mib(most['flotilla_inflight_bytes'])} in flight"
        )
        self.told(f"honest calls: {len(during)}, p50 {at(during, 0.5):.0f} ms, p99 {at(during, 0.99):.0f} ms, longest {during[-1] * 1000:.0f} ms")
        self.assertLessEqual(max(heaviest.values()), RSS_MORE_BYTES)
        self.assertLess(during[-1], HONEST_LONGEST_S)
        self.wait_until_recovered(ended)
        # Other programs may have taken the processor meanwhile: what can be served now counts, if it is less.
        can_serve = min(peak, self.peak())
        self.assertGreaterEqual(goodput, GOODPUT_MIN * can_serve)
        self.assert_honest_was_served(longest_s=HONEST_LONGEST_S)
        self.assert_calm_again(RSS_LEFT_BYTES + STORE_BYTES)

    def wait_until_recovered(self, ended):
        """Nothing waits any more, and honest calls are quick again: ten of them in a row."""
        quick_s = 0.1

        def recovered():
            return (
                all(metrics(node).total("flotilla_inflight_bytes") < 10 * RECORD_BYTES for node in self.nodes)
                and len(self.honest.latencies_s) > 10
                and max(self.honest.latencies_s[-10:]) < quick_s
            )

        while not recovered():
            self.assertLess(time.monotonic() - ended, RECOVERY_S, "it has not recovered")
            time.sleep(0.1)
        self.told(f"recovered after {time.monotonic() - ended:.1f} s")


def at(sorted_s, part):
    return sorted_s[int(part * (len(sorted_s) - 1))] * 1000


if __name__ == "__main__":
    if "--seconds" in sys.argv:
        where = sys.argv.index("--seconds")
        SECONDS = float(sys.argv[where + 1])
        del sys.argv[where : where + 2]
    main()
