"""What the scenes share: one node (or three), an honest client that goes on all the while, and the proof that nothing is left."""
import os
import resource
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))

import grpc

import http2
from brokers import error_of
from calls import Client
from meters import Calm, metrics, mib, rss_bytes
from nodes import wait_until
from scene import ClusterTest

# What a scene may leave behind: pools of the C library, gRPC's own, buffers of the store.
RSS_LEFT_BYTES = 96 << 20
# What the store may keep of what was written meanwhile: memtables and the newest entries.
STORE_BYTES = 256 << 20


def raise_descriptor_limit():
    """As many as this process may have; returns that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Honest:
    """A client like any other: small writes, one at a time, twenty a second. What happened to them is told at the end."""

    def __init__(self, node, topic, pause_s=0.05, timeout_s=10):
        self._client = Client(node.address)
        self._topic = topic
        self._pause_s, self._timeout_s = pause_s, timeout_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.latencies_s = []
        self.failures = []
        self._thread.start()
        wait_until("the honest client has written something", lambda: self.latencies_s)

    def _run(self):
        while not self._stopping.wait(self._pause_s):
            began = time.monotonic()
            try:
                result = self._client.write(self._topic, b"honest", timeout=self._timeout_s)
                if result.HasField("error"):
                    self.failures.append(str(result.error))
                self.latencies_s.append(time.monotonic() - began)
            except grpc.RpcError as failure:
                self.failures.append(f"{failure.code().name}: {failure.details()}")

    def stop(self):
        self._stopping.set()
        self._thread.join()
        self._client.close()
        return self


class AbuseTest(ClusterTest):
    NODES = 1
    PARTITIONS = 1
    REPLICAS = 1

    @classmethod
    def setUpClass(cls):
        raise_descriptor_limit()  # nodes inherit it
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.create_topic(self.PARTITIONS, self.REPLICAS)
        self.node = self.nodes[0]
        self.calm = Calm(self.node)
        self.honest = Honest(self.node, self.topic)
        self._attackers = []
        self.addCleanup(self.close_attackers)

    def attack(self, count, address=None, **options):
        """So many connections with which HTTP/2 has begun."""
        connections = [http2.Connection(address or self.node.address, **options) for _ in range(count)]
        self._attackers += connections
        for connection in connections:
            connection.wait_for_settings()
        return connections

    def keep(self, *closable):
        self._attackers += closable

    def close_attackers(self):
        for attacker in self._attackers:
            attacker.close()
        self._attackers = []

    def read_all(self, connections):
        for connection in connections:
            connection.read()

    def metric(self, name, **labels):
        return metrics(self.node).total(name, **labels)

    def assert_lighter_than(self, allowance, what):
        rss = rss_bytes(self.node)
        self.assertLessEqual(rss, self.calm.rss + allowance, f"{what}: {mib(rss)}, before {mib(self.calm.rss)}")
        return rss

    def assert_honest_was_served(self, longest_s):
        """Nobody else's trouble is an honest client's: no call failed, none took longer than this."""
        honest = self.honest
        goal = len(honest.latencies_s) + 5  # also after what happened
        wait_until("the honest client goes on", lambda: honest.failures or len(honest.latencies_s) >= goal)
        honest.stop()
        self.assertEqual(honest.failures, [])
        self.assertLess(max(honest.latencies_s), longest_s)
        return max(honest.latencies_s)

    def assert_calm_again(self, rss_left=RSS_LEFT_BYTES):
        """Nothing is left of it, neither on the node's hands nor in its memory."""
        self.close_attackers()
        self.calm.wait_until_back(rss_left)
        self.cluster.check_alive()

    def told(self, text):
        print(f"    {self.id().split('.')[-1]}: {text}", file=sys.stderr, flush=True)


__all__ = ["AbuseTest", "Honest", "RSS_LEFT_BYTES", "STORE_BYTES", "error_of", "metrics", "mib", "raise_descriptor_limit", "rss_bytes", "wait_until"]
