"""Connections: very many, silent ones, and a process that may have few."""
import os
import resource
import socket
import time

import grpc

import http2
from abuse import AbuseTest, error_of, raise_descriptor_limit, wait_until
from calls import Client
from flotilla.v1 import cluster_pb2
from nodes import Cluster, Place
from scene import main

CONNECTIONS_MAX = 10_000  # limits.max_connections
BYTES_PER_CONNECTION = 32 << 10
HANDSHAKE_S = 10
OURS = 2  # the connections of the scene and of the honest client


def info(client):
    return client.cluster.GetServerInfo(cluster_pb2.GetServerInfoRequest(), timeout=10)


class ConnectionsTest(AbuseTest):
    def test_ten_thousand_idle_connections_and_the_next_is_told_why(self):
        if raise_descriptor_limit() < CONNECTIONS_MAX + 1000:
            self.skipTest(f"this process may have {raise_descriptor_limit()} file descriptors only")
        self.attack(CONNECTIONS_MAX - OURS)
        wait_until("all of them are open", lambda: self.metric("flotilla_connections", port="client") == CONNECTIONS_MAX)
        rss = self.assert_lighter_than(CONNECTIONS_MAX * BYTES_PER_CONNECTION, f"{CONNECTIONS_MAX} connections")
        self.told(f"{(rss - self.calm.rss) / CONNECTIONS_MAX / 1024:.1f} KiB each")
        late = Client(self.node.address)
        self.addCleanup(late.close)
        with self.assertRaises(grpc.RpcError) as raised:
            info(late)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        error = error_of(raised.exception)
        self.assert_error(error, "OVERLOADED", text=[CONNECTIONS_MAX, "connections", "another node"], limit=CONNECTIONS_MAX)
        self.assertGreater(self.metric("flotilla_connections_refused_total", port="client"), 0)
        self.assert_honest_was_served(longest_s=2)
        self.assert_calm_again()
        wait_until("there is room for the one that was refused", lambda: info(late).node_id)

    def test_a_thousand_that_never_speak_are_closed_in_time(self):
        address = http2.to_address(self.node.address)
        silent = [socket.create_connection(address) for _ in range(1000)]
        half = [socket.create_connection(address) for _ in range(1000)]
        self.keep(*silent, *half)
        for connection in half:
            connection.sendall(http2.PREFACE[:20])
        began = time.monotonic()
        wait_until("all of them are open", lambda: self.metric("flotilla_connections", port="client") >= 2000)
        for connection in [*silent, *half]:
            connection.settimeout(max(0.1, began + HANDSHAKE_S + 5 - time.monotonic()))
            while connection.recv(1000):  # the server's own settings, then its end
                pass
        self.told(f"closed within {time.monotonic() - began:.1f} s")
        self.assert_honest_was_served(longest_s=2)
        self.assert_calm_again()

    def test_the_peer_port_has_a_limit_of_its_own(self):
        connections = [socket.create_connection(http2.to_address(self.node.peer_address)) for _ in range(1200)]
        self.keep(*connections)
        wait_until("200 of them are refused", lambda: self.metric("flotilla_connections_refused_total", port="peer") >= 200)
        self.assertLessEqual(self.metric("flotilla_connections", port="peer"), 1000)
        self.assert_honest_was_served(longest_s=2)
        self.assert_calm_again()


class FewDescriptors(Place):
    """What a distribution gives to a program that nobody has thought of."""

    LIMIT = 1024

    def enter(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.LIMIT, self.LIMIT))


class FewDescriptorsTest(AbuseTest):
    """Connections that took the store its descriptors would end the node."""

    @classmethod
    def setUpClass(cls):
        raise_descriptor_limit()
        cls.cluster = Cluster(1, places=[FewDescriptors()])
        cls.cluster.__enter__()

    def test_connections_leave_the_store_its_files(self):
        self.assertIn("connections_limited", self.node.log())
        address = http2.to_address(self.node.address)
        for _ in range(3):
            crowd = [socket.create_connection(address) for _ in range(2 * FewDescriptors.LIMIT)]
            self.keep(*crowd)
            # Enough for new files of the store: write-ahead logs, tables.
            for _ in range(8):
                self.assert_written(self.honest._client.write(self.topic, os.urandom(1_000_000), timeout=30))
            self.close_attackers()
        self.assertEqual(self.metric("flotilla_connections_failed_total"), 0)
        self.assertGreater(self.metric("flotilla_connections_refused_total", port="client"), 1000)
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again()


if __name__ == "__main__":
    main()
