"""Real nodes on loopback, for one test program.

    with Cluster(3) as cluster:            # started, one cluster, healthy
        cluster.nodes[0].kill()            # SIGKILL
        cluster.nodes[0].start()
        cluster.wait_until_healthy()

Nodes are child processes that die with this one, whatever ends it. Their data is in a directory of its own under TMPDIR
and is removed; their logs are kept when a test failed (keep_evidence). Nothing waits for a fixed time: wait_until
polls.
"""
import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import grpc

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "support"))

from calls import Client
from flotilla.v1 import cluster_pb2
from ports import free_ports

# How long anything may take that should happen at once or after an election. Only failures wait so long.
PATIENCE_S = float(os.environ.get("FLOTILLA_CLUSTER_PATIENCE_S", "30"))
# The programs are built with sanitizers: nodes are ended in good order, because only then leaks are looked for.
SANITIZED = os.environ.get("FLOTILLA_SANITIZED") == "1"
_REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", ": runtime error: ")
# What all data directories of a test program may take together: a scene that writes more is no quick test.
DATA_BYTES_MAX = 4 << 30
# Of each log that is kept.
KEPT_LOG_BYTES = 4 << 20
KEPT_FAILURES_MAX = 10

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _program(variable, name):
    path = os.environ.get(variable)
    if not path or not os.access(path, os.X_OK):
        raise SystemExit(f"{variable} is {path!r}; it has to be the path of a {name} that can be executed")
    return path


def daemon():
    return _program("FLOTILLAD", "flotillad")


def cli():
    return _program("FLOTILLA", "flotilla")


def wait_until(what, holds, timeout_s=PATIENCE_S):
    """Returns what `holds()` returns once that is true. A call that fails counts as not yet."""
    deadline = time.monotonic() + timeout_s
    last = None
    while True:
        try:
            last = holds()
            if last:
                return last
        except grpc.RpcError as failure:
            last = f"{failure.code()}: {failure.details()}"
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout_s:.0f} s still not so: {what} (last seen: {last!r})")
        time.sleep(0.02)


def die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def preload(library):
    """For a place to enter: the node's calls of the system go through the library first. A sanitizer's run time then comes second."""
    os.environ["LD_PRELOAD"] = library
    options = filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"])
    os.environ["ASAN_OPTIONS"] = ":".join(options)


class Place:
    """Where a node runs. This one is here; others have a network or a disk of their own."""

    host = "127.0.0.1"

    def data_dir(self, directory, number):
        return directory / f"node{number}"

    def enter(self):
        """Called in the child before it becomes a flotillad."""


class Node:
    """One flotillad. `number` counts from 1 and is not necessarily its id in the cluster."""

    def __init__(self, number, directory, ports, seeds, cluster_name="test", settings=None, place=Place()):
        self.number = number
        self.place = place
        self.client_port, self.peer_port, self.http_port = ports
        self.address = f"{place.host}:{self.client_port}"
        self.peer_address = f"{place.host}:{self.peer_port}"
        self.data_dir = place.data_dir(directory, number)
        self.config_file = directory / f"node{number}.yaml"
        self.log_file = directory / f"node{number}.log"
        self.process = None
        self._client = None
        self._paused = False
        self._ended_on_purpose = False
        self.write_config(
            {
                "node": {"name": f"node{number}", "data_dir": self.data_dir},
                "cluster": {"name": cluster_name, "seeds": "[" + ", ".join(seeds) + "]"},
                "listen": {"client": self.address, "peer": self.peer_address, "http": f"{place.host}:{self.http_port}"},
            },
            settings or {},
        )

    def write_config(self, *parts):
        """Sections of all parts, the later ones over the earlier ones."""
        sections = {}
        for part in parts:
            for section, keys in part.items():
                sections.setdefault(section, {}).update(keys)
        self.config_file.write_text(
            "".join(
                f"{section}:\n" + "".join(f"  {key}: {value}\n" for key, value in keys.items())
                for section, keys in sections.items()
            )
        )

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def client(self):
        if self._client is None:
            self._client = Client(self.address)
        return self._client

    def start(self):
        assert not self.running, f"node {self.number} runs already"
        self.data_dir.mkdir(exist_ok=True)
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [daemon(), "--config", self.config_file],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=self._before_it_begins,
            )
        self._paused = self._ended_on_purpose = False

    def _before_it_begins(self):
        die_with_parent()
        self.place.enter()

    def wait_until_it_answers(self):
        def answers():
            assert self.running, f"node {self.number} ended with {self.process.returncode}: {self.last_words()}"
            return self.client.cluster.GetServerInfo(cluster_pb2.GetServerInfoRequest(), timeout=1)

        return wait_until(f"node {self.number} answers at {self.address}", answers)

    def stop(self):
        """SIGTERM; the exit code."""
        self._ended_on_purpose = True
        self.process.send_signal(signal.SIGTERM)
        return self.wait_for_its_end()

    def kill(self):
        self._ended_on_purpose = True
        self.process.kill()
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        self._paused = True

    def resume(self):
        if self._paused and self.running:
            self.process.send_signal(signal.SIGCONT)
        self._paused = False

    def wait_for_its_end(self):
        try:
            return self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"node {self.number} does not end: {self.last_words()}") from None

    def wipe(self):
        assert not self.running
        shutil.rmtree(self.data_dir)

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def last_words(self):
        return "\n".join(self.log().splitlines()[-5:])

    def close(self):
        """Ends it. AssertionError: a sanitizer found something, now or at any time before."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if SANITIZED and self.running:
            self.resume()
            self.stop()
        if self.running:
            self.process.kill()
        if self.process is not None:
            self.process.wait()
        lines = self.log().splitlines()
        for i, line in enumerate(lines):
            assert not any(report in line for report in _REPORTS), "\n".join(lines[i : i + 60])


class Cluster:
    """Nodes that belong together. `unused` more of them are prepared and not started. `places`: where each one runs."""

    def __init__(self, nodes=3, unused=0, settings=None, places=None):
        self._temporary = tempfile.TemporaryDirectory(prefix="flotilla_cluster_")
        self.directory = pathlib.Path(self._temporary.name)
        count = nodes + unused
        ports = free_ports(3 * count)
        each = [ports[3 * i : 3 * i + 3] for i in range(count)]
        places = places or [Place()] * count
        self.seeds = [f"{places[i].host}:{each[i][1]}" for i in range(nodes)]
        self.all_nodes = [
            Node(i + 1, self.directory, each[i], self.seeds, settings=settings, place=places[i]) for i in range(count)
        ]
        self.nodes = self.all_nodes[:nodes]

    def __enter__(self):
        try:
            self.start()
            self.init()
            self.wait_until_healthy()
        except BaseException:
            self.keep_evidence("start")
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_until_it_answers()

    def join(self, count=1):
        """So many of those that are not used yet start with the same seeds, and are members when this returns."""
        for node in self.all_nodes[len(self.nodes) : len(self.nodes) + count]:
            node.start()
            node.wait_until_it_answers()
            request = cluster_pb2.GetServerInfoRequest()
            wait_until(f"node {node.number} has joined", lambda: node.client.cluster.GetServerInfo(request, timeout=2).node_id)
            self.nodes = self.all_nodes[: len(self.nodes) + 1]
        self.wait_until_healthy()

    def init(self):
        return self.nodes[0].client.cluster.InitCluster(cluster_pb2.InitClusterRequest(), timeout=PATIENCE_S)

    def close(self):
        with contextlib.ExitStack() as closing:  # all of them, whatever one says
            for node in self.all_nodes:
                closing.callback(node.close)
        size = sum(path.stat().st_size for path in self.directory.rglob("*") if path.is_file())
        self._temporary.cleanup()
        assert size < DATA_BYTES_MAX, f"the nodes left {size} bytes behind; the limit is {DATA_BYTES_MAX}"

    def heal(self):
        """Whatever a scene did: all nodes run again and have caught up."""
        for node in self.nodes:
            node.resume()
            if not node.running:
                node.start()
        self.wait_until_healthy()

    def wait_until_healthy(self):
        for node in self.nodes:
            node.wait_until_it_answers()
        for node in self.nodes:
            wait_until(f"node {node.number} finds the cluster healthy", lambda: self._healthy(node))

    def _healthy(self, node):
        health = node.client.cluster.GetHealth(cluster_pb2.GetHealthRequest(), timeout=2)
        info = node.client.cluster.GetServerInfo(cluster_pb2.GetServerInfoRequest(), timeout=2)
        return (
            health.controller_node_id != 0
            and health.nodes_alive >= len(self.nodes)
            and info.node_id != 0
            and health.partitions_leaderless == 0
            and health.partitions_under_replicated == 0
        )

    def check_alive(self):
        for node in self.nodes:
            assert (
                node.process is None or node.running or node._ended_on_purpose
            ), f"node {node.number} ended by itself with {node.process.returncode}: {node.last_words()}"

    def addresses(self, first=0):
        """All client addresses, beginning with that of nodes[first]."""
        order = self.nodes[first:] + self.nodes[:first]
        return ",".join(node.address for node in order)

    def node_with_id(self, node_id):
        for node in self.nodes:
            if node.running and not node._paused:
                info = node.client.cluster.GetServerInfo(cluster_pb2.GetServerInfoRequest(), timeout=2)
                if info.node_id == node_id:
                    return node
        return None

    def leader_of(self, topic, partition=0, via=None):
        """The node that leads, waiting for one."""

        def leader():
            nodes = [via] if via else [node for node in self.nodes if node.running and not node._paused]
            metadata = nodes[0].client.cluster.GetMetadata(
                cluster_pb2.GetMetadataRequest(topics=[{"name": topic}]), timeout=2
            )
            return self.node_with_id(metadata.topics[0].partitions[partition].leader_node_id)

        return wait_until(f"partition {partition} of {topic} has a leader that runs", leader)

    def others(self, *nodes):
        return [node for node in self.nodes if node not in nodes]

    def keep_evidence(self, name):
        """Copies configurations and the ends of logs to FLOTILLA_CLUSTER_EVIDENCE/name, and says so."""
        root = pathlib.Path(os.environ.get("FLOTILLA_CLUSTER_EVIDENCE", tempfile.gettempdir())) / "cluster_failures"
        root.mkdir(parents=True, exist_ok=True)
        for old in sorted(root.iterdir(), key=lambda path: path.stat().st_mtime)[: -KEPT_FAILURES_MAX + 1]:
            shutil.rmtree(old, ignore_errors=True)
        kept = root / name
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        for node in self.all_nodes:
            if node.log_file.exists():
                (kept / node.log_file.name).write_bytes(node.log_file.read_bytes()[-KEPT_LOG_BYTES:])
                shutil.copy(node.config_file, kept)
        print(f"logs of the nodes are kept in {kept}", flush=True)
