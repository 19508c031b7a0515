"""Clients that ask for much and take nothing."""
import struct

import http2
from abuse import AbuseTest, mib, rss_bytes, wait_until
from flotilla.v1 import cluster_pb2, consume_pb2, produce_pb2, records_pb2
from nodes import PATIENCE_S
from scene import main

SUBSCRIBE = "/flotilla.v1.ConsumeService/Subscribe"
FETCH = "/flotilla.v1.ConsumeService/Fetch"
WATCH = "/flotilla.v1.ClusterService/WatchMetadata"
# What subscriptions may hold (twice kStreamsBufferBytes) and answers of fetches (kAnswerBytesMax), and room for what is being read.
SUBSCRIPTIONS_BYTES_MAX = 512 << 20
ANSWERS_BYTES_MAX = 256 << 20
SLACK_BYTES = 128 << 20
WITHOUT_WINDOW = {"initial_window": 0}  # nothing may be sent on its streams


def framed(request):
    data = request.SerializeToString()
    return b"\x00" + struct.pack(">I", len(data)) + data


class ReadersTest(AbuseTest):
    PARTITIONS = 4  # a subscription holds a message of each
    BATCH = 256 << 10

    def setUp(self):
        super().setUp()
        # More than all of them may hold together is there to be read, none of it in memory any more.
        value = b"x" * self.BATCH
        for _ in range(40):
            items = [
                produce_pb2.ProduceItem(partition=at % 4, batch={"records": {"records": [records_pb2.Record(value=value)]}})
                for at in range(16)
            ]
            request = produce_pb2.ProduceRequest(topic={"name": self.topic}, items=items)
            for result in self.client.produce.Produce(request, timeout=PATIENCE_S).results:
                self.assert_written(result)
        self.calm.rss = rss_bytes(self.node)

    def begin(self, method, requests, per_connection=100):
        calls = []
        for at in range(0, len(requests), per_connection):
            (connection,) = self.attack(1, **WITHOUT_WINDOW)
            for request in requests[at : at + per_connection]:
                stream = connection.begin_call(method)
                connection.send_data(stream, framed(request), end=True)
                calls.append((connection, stream))
        return calls

    def begun(self, calls):
        wait_until("all calls have begun", lambda: self.metric("flotilla_client_calls") >= len(calls))

    def watch_until(self, what, holds, allowance, timeout_s):
        heaviest = [0]

        def look():
            heaviest[0] = max(heaviest[0], self.assert_lighter_than(allowance, what))
            for connection in self._attackers:
                connection.read()
            return holds()

        wait_until(what, look, timeout_s)
        self.told(f"{what}: {mib(heaviest[0] - self.calm.rss)} at the most")

    def memory_is_scarce(self):
        return self.metric("flotilla_subscription_buffer_bytes") >= SUBSCRIPTIONS_BYTES_MAX / 2

    def test_a_thousand_subscriptions_that_are_not_read(self):
        requests = [consume_pb2.SubscribeRequest(topics=[{"topic": {"name": self.topic}}]) for _ in range(1000)]
        calls = self.begin(SUBSCRIBE, requests)
        self.begun(calls)
        self.watch_until("memory is scarce", self.memory_is_scarce, SUBSCRIPTIONS_BYTES_MAX + SLACK_BYTES, 30)
        # So those that take nothing are ended after 5 seconds.
        self.watch_until(
            "those that take nothing are ended", lambda: not self.memory_is_scarce(), SUBSCRIPTIONS_BYTES_MAX + SLACK_BYTES, 30
        )
        # Meanwhile and afterwards others read.
        (event, *_) = self.client.consume.Subscribe(
            consume_pb2.SubscribeRequest(topics=[{"topic": {"name": self.topic}}], until_end=True), timeout=PATIENCE_S
        )
        self.assertTrue(event.HasField("started"))
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again()

    def test_a_thousand_subscriptions_without_credit_hold_nothing_when_others_need_it(self):
        requests = [
            consume_pb2.SubscribeRequest(topics=[{"topic": {"name": self.topic}}], credit_bytes=1) for _ in range(1000)
        ]
        calls = self.begin(SUBSCRIBE, requests)
        self.begun(calls)
        self.watch_until("memory is scarce", self.memory_is_scarce, SUBSCRIPTIONS_BYTES_MAX + SLACK_BYTES, 30)
        self.watch_until(
            "what they may not send is put back", lambda: not self.memory_is_scarce(), SUBSCRIPTIONS_BYTES_MAX + SLACK_BYTES, 30
        )
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again()

    def test_two_hundred_answers_that_are_not_taken(self):
        requests = [
            consume_pb2.FetchRequest(
                partitions=[{"topic": {"name": self.topic}, "partition": 0, "start": {"offset": at % 100}}], max_bytes=32 << 20
            )
            for at in range(200)
        ]
        self.begin(FETCH, requests)
        wait_until("some are refused", lambda: self.metric("flotilla_throttled_total", reason="OVERLOADED") > 0)
        self.watch_until(
            "answers that are not taken are dropped",
            lambda: self.metric("flotilla_answer_bytes") <= ANSWERS_BYTES_MAX / 2,
            ANSWERS_BYTES_MAX + SLACK_BYTES,
            30,
        )
        fetched = self.client.fetch(self.topic, offset=0, max_bytes=4 << 20)
        self.assertGreater(len(fetched.batches), 0)
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again()

    def test_watchers_that_are_not_read(self):
        calls = self.begin(WATCH, [cluster_pb2.WatchMetadataRequest()] * 500)
        self.begun(calls)
        for number in range(30):
            self.client.create_topic(f"{self.topic[-150:]}-{number}", 8, 1)
        self.assert_lighter_than(SLACK_BYTES, "500 watchers")
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again()


if __name__ == "__main__":
    main()
