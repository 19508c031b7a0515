"""Clients that begin and do not want any more."""
import struct
import time

import grpc

import http2
from abuse import RSS_LEFT_BYTES, STORE_BYTES, AbuseTest, mib, wait_until
from calls import Client
from flotilla.v1 import cluster_pb2, consume_pb2, produce_pb2, records_pb2
from scene import main

RST = struct.pack(">I", 8)  # CANCEL
FLOOD_BYTES_MAX = 512 << 20  # of ten connections, whose calls cost some 20 KiB each until they are noticed; 450 MiB were seen


class CancelTest(AbuseTest):
    NODES = 3
    REPLICAS = 3
    PARTITIONS = 6  # led by all three

    def produce_request(self, partition, bytes_=64 << 10):
        item = produce_pb2.ProduceItem(
            partition=partition % self.PARTITIONS, batch={"records": {"records": [records_pb2.Record(value=b"c" * bytes_)]}}
        )
        return produce_pb2.ProduceRequest(topic={"name": self.topic}, items=[item])

    def test_everything_is_cancelled_at_once(self):
        client = Client(self.node.address)
        self.keep(client)
        for turn in range(5):
            calls = [client.produce.Produce.future(self.produce_request(at), timeout=30) for at in range(300)]
            subscription = consume_pb2.SubscribeRequest(topics=[{"topic": {"name": self.topic}}])
            calls += [client.consume.Subscribe(subscription) for _ in range(100)]
            poll = consume_pb2.FetchRequest(
                partitions=[{"topic": {"name": self.topic}, "start": {"offset": 1 << 40}}], max_wait_ms=30_000
            )
            calls += [client.consume.Fetch.future(poll, timeout=30) for _ in range(100)]
            end = consume_pb2.FetchRequest(
                partitions=[
                    {"topic": {"name": self.topic}, "partition": at, "start": {"point": 2}} for at in range(self.PARTITIONS)
                ],
                max_wait_ms=30_000,
            )
            calls += [client.consume.Fetch.future(end, timeout=30) for _ in range(100)]
            calls += [client.cluster.WatchMetadata(cluster_pb2.WatchMetadataRequest()) for _ in range(50)]
            requests = [produce_pb2.ProduceStreamRequest(correlation_id=n, request=self.produce_request(n)) for n in range(20)]
            calls += [client.produce.ProduceStream(iter(requests)) for _ in range(20)]
            time.sleep(0.02 * turn)  # at different stages of their way
            for call in calls:
                call.cancel()
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again(RSS_LEFT_BYTES + STORE_BYTES)
        for node in self.nodes[1:]:  # what was forwarded to them is over, too
            wait_until("nothing waits", lambda: node.client.cluster.GetHealth(cluster_pb2.GetHealthRequest(), timeout=5))

    def flood(self, connections, what_follows=lambda stream: b"", headers=None):
        """Fifty thousand calls on ten connections, as fast as they go. Those that were broken off are closed."""
        headers = headers or http2.call_headers("/flotilla.v1.ProduceService/Produce")
        for _ in range(100):
            for connection in connections:
                burst = b""
                for _ in range(50):
                    stream, connection._next_stream = connection._next_stream, connection._next_stream + 2
                    burst += http2.frame(http2.HEADERS, http2.END_HEADERS, stream, headers) + what_follows(stream)
                    burst += http2.frame(http2.RST_STREAM, 0, stream, RST)
                try:
                    connection.send(burst)
                except OSError:
                    connection.closed = True  # had enough of it
            self.heaviest = max(self.heaviest, self.assert_lighter_than(FLOOD_BYTES_MAX, "resets"))

    def flood_in_waves(self, waves, **what):
        """Whoever is broken off comes back. The memory does not depend on how often."""
        self.heaviest = 0
        before = self.metric("flotilla_connections_broken_off_total", port="client")
        for wave in range(waves):
            connections = self.attack(10)
            self.flood(connections, **what)
            wait_until(
                "all of them are broken off",
                lambda: self.metric("flotilla_connections_broken_off_total", port="client") - before >= 10 * (wave + 1),
            )
        self.told(f"{mib(self.heaviest - self.calm.rss)} more at the most")
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again()

    def test_calls_that_are_reset_as_soon_as_they_begin(self):
        self.flood_in_waves(6)

    def test_calls_that_are_reset_with_their_request(self):
        self.flood_in_waves(2, what_follows=lambda stream: http2.frame(http2.DATA, http2.END_STREAM, stream, b"\0\0\0\0\0"))

    def test_calls_whose_time_is_over_as_they_begin(self):
        headers = http2.call_headers("/flotilla.v1.ProduceService/Produce") + http2.literal("grpc-timeout", "1n")
        self.flood_in_waves(2, headers=headers)

    def test_clients_that_vanish_with_their_calls(self):
        for _ in range(20):
            client = Client(self.node.address)
            calls = [client.produce.Produce.future(self.produce_request(at, 512 << 10), timeout=30) for at in range(20)]
            time.sleep(0.01)
            client.close()
            for call in calls:
                try:
                    call.exception()
                except grpc.FutureCancelledError:
                    pass
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again(RSS_LEFT_BYTES + STORE_BYTES)


if __name__ == "__main__":
    main()
