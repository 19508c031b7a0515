"""Clients that begin and do not want any more."""
import struct
import time

import grpc

import http2
from abuse import RSS_LEFT_BYTES, STORE_BYTES, AbuseTest, wait_until
from calls import Client
from flotilla.v1 import cluster_pb2, consume_pb2, produce_pb2, records_pb2
from scene import main

RST = struct.pack(">I", 8)  # CANCEL


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

    def test_calls_that_are_reset_as_soon_as_they_begin(self):
        """Fifty thousand of them on ten connections, as fast as they go."""
        connections = self.attack(10)
        for _ in range(100):
            for connection in connections:
                burst = b""
                for _ in range(50):
                    stream, connection._next_stream = connection._next_stream, connection._next_stream + 2
                    burst += http2.frame(
                        http2.HEADERS, http2.END_HEADERS, stream, http2.call_headers("/flotilla.v1.ProduceService/Produce")
                    )
                    burst += http2.frame(http2.RST_STREAM, 0, stream, RST)
                try:
                    connection.send(burst)
                except OSError:
                    pass  # had enough of it
            self.assert_lighter_than(512 << 20, "resets")
        wait_until(
            "they are broken off", lambda: self.metric("flotilla_connections_broken_off_total", port="client") >= len(connections)
        )
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again()

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
