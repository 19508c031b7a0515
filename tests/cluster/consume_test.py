"""Reading: long polls, subscriptions, credits, slow readers, places by time and number, trimming."""
import threading
import time

import grpc

from brokers import error_of
from calls import REQUIRE_LEADER, TIMEOUT_S, reason_name, text_of
from flotilla.v1 import admin_pb2, common_pb2, consume_pb2, errors_pb2, produce_pb2, records_pb2
from nodes import wait_until
from scene import ClusterTest, main


class ConsumeTest(ClusterTest):
    def subscribe(self, node, timeout=TIMEOUT_S, partitions=(), start=None, **request):
        topic = consume_pb2.SubscribeTopic(topic={"name": self.topic}, partitions=partitions, start=start)
        return node.client.consume.Subscribe(consume_pb2.SubscribeRequest(topics=[topic], **request), timeout=timeout)

    # --- long polls

    def test_a_fetch_at_the_end_waits_and_answers_as_soon_as_there_is_something(self):
        self.create_topic()
        for node in self.nodes:
            end = self.client.place(self.topic)
            writer = threading.Timer(0.3, lambda: self.client.write(self.topic, b"new"))
            began = time.monotonic()
            writer.start()
            fetched = node.client.fetch(self.topic, offset=end, max_wait_ms=10_000, timeout=15)
            took = time.monotonic() - began
            writer.join()
            self.assertEqual([r.value for b in fetched.batches for r in b.records.records], [b"new"])
            self.assertGreater(took, 0.25)
            self.assertLess(took, 5)

    def test_nothing_new_is_an_empty_answer_in_the_time_that_was_asked_for(self):
        self.create_topic()
        self.client.write(self.topic, b"a")
        for node in self.nodes:
            for wait_ms in (0, 400):
                began = time.monotonic()
                fetched = node.client.fetch(self.topic, offset=1, max_wait_ms=wait_ms)
                took = time.monotonic() - began
                self.assertFalse(fetched.HasField("error"), fetched.error)
                self.assertEqual((len(fetched.batches), fetched.next_offset, fetched.caught_up), (0, 1, True))
                self.assertGreaterEqual(took, wait_ms / 1000 - 0.06)  # a node counts in ticks of 50 ms
                self.assertLess(took, wait_ms / 1000 + 2)

    def test_a_long_poll_answers_before_the_deadline(self):
        self.create_topic()
        for node in self.nodes:
            began = time.monotonic()
            fetched = node.client.fetch(self.topic, max_wait_ms=60_000, timeout=1.5)
            self.assertFalse(fetched.HasField("error"), fetched.error)
            self.assertEqual(len(fetched.batches), 0)
            self.assertGreater(time.monotonic() - began, 0.5)

    def test_a_fetch_waits_until_there_is_enough(self):
        self.create_topic()
        writers = [threading.Timer(0.2 * (i + 1), lambda: self.client.write(self.topic, b"x" * 1000)) for i in range(3)]
        for writer in writers:
            writer.start()
        fetched = self.nodes[1].client.fetch(self.topic, min_bytes=2500, max_wait_ms=10_000, timeout=15)
        for writer in writers:
            writer.join()
        self.assertEqual(sum(len(b.records.records) for b in fetched.batches), 3)

    def test_one_fetch_reads_many_partitions_and_each_has_its_own_error(self):
        self.create_topic(partitions=3)
        for partition in range(3):
            self.client.write(self.topic, b"%d" % partition, partition=partition)
        places = [consume_pb2.FetchPartition(topic={"name": self.topic}, partition=p) for p in (0, 1, 2, 3)]
        places.append(consume_pb2.FetchPartition(topic={"name": "there-is-no-such-topic"}))
        found = self.client.consume.Fetch(consume_pb2.FetchRequest(partitions=places), timeout=TIMEOUT_S).partitions
        self.assertEqual([p.batches[0].records.records[0].value for p in found[:3]], [b"0", b"1", b"2"])
        self.assert_error(found[3].error, "PARTITION_NOT_FOUND", partition=3, partition_count=3)
        self.assert_error(found[4].error, "TOPIC_NOT_FOUND", topic="there-is-no-such-topic")

    def test_a_fetch_of_several_partitions_lets_none_starve_through_any_node(self):
        self.create_topic(partitions=6)  # some are led by the node that is asked, some are not
        for partition in range(6):
            self.client.write(self.topic, b"%d" % partition, partition=partition)
        places = [consume_pb2.FetchPartition(topic={"name": self.topic}, partition=p) for p in range(6)]
        for node in self.nodes:
            fetched = node.client.consume.Fetch(consume_pb2.FetchRequest(partitions=places), timeout=TIMEOUT_S)
            self.assertEqual([p.next_offset for p in fetched.partitions], [1] * 6)

    def test_several_partitions_without_news_are_waited_for_together(self):
        self.create_topic(partitions=6)
        places = [consume_pb2.FetchPartition(topic={"name": self.topic}, partition=p) for p in range(6)]
        for node in self.nodes:
            for partition in range(6):
                places[partition].start.offset = self.client.place(self.topic, partition=partition)
            request = consume_pb2.FetchRequest(partitions=places, max_wait_ms=10_000)
            writer = threading.Timer(0.3, lambda: self.client.write(self.topic, b"new", partition=5))
            began = time.monotonic()
            writer.start()
            fetched = node.client.consume.Fetch(request, timeout=TIMEOUT_S).partitions
            took = time.monotonic() - began
            writer.join()
            self.assertEqual([len(p.batches) for p in fetched], [0] * 5 + [1])
            self.assertGreater(took, 0.25)
            self.assertLess(took, 5)

    def test_an_answer_stays_below_what_was_asked_for(self):
        self.create_topic()
        for i in range(8):
            self.client.write(self.topic, bytes([i]) * 500_000)
        fetched = self.client.fetch(self.topic, max_bytes=1_200_000)
        self.assertEqual(len(fetched.batches), 2)
        self.assertEqual(fetched.next_offset, 2)
        self.assertEqual(len(self.client.fetch(self.topic, max_bytes=1).batches), 1)  # the first one in any case

    def test_a_fetch_that_must_not_be_forwarded_is_refused_elsewhere(self):
        self.create_topic()
        leader = self.cluster.leader_of(self.topic)
        other = self.cluster.others(leader)[0]
        self.assert_error(
            other.client.fetch(self.topic, metadata=REQUIRE_LEADER).error, "NOT_LEADER", leader_address=leader.address
        )

    # --- subscriptions

    def test_a_subscription_goes_on_with_what_comes_and_says_when_it_has_caught_up(self):
        self.create_topic(partitions=2)
        self.client.write(self.topic, b"before", partition=1)
        for node in self.nodes:
            events = self.subscribe(node, partitions=[1])
            self.assertTrue(next(events).HasField("started"))
            kinds, values = [], []
            for event in events:
                kinds.append(event.WhichOneof("event"))
                values += [r.value for b in event.batches.batches for r in b.records.records]
                if event.HasField("caught_up") and values[-1:] != [b"while"]:
                    self.client.write(self.topic, b"while", partition=1)
                elif event.HasField("caught_up"):
                    break
            events.cancel()
            self.assertEqual(values[0], b"before")
            self.assertEqual(values[-1], b"while")
            self.assertIn("batches", kinds)

    def test_a_subscription_until_the_end_ends(self):
        self.create_topic(partitions=3)
        for i in range(30):
            self.client.write(self.topic, b"%d" % i, partition=i % 3)
        for node in self.nodes:
            read = node.client.read(self.topic)
            self.assertEqual(
                {p: [int(r.value) for _, r in records] for p, records in read.items()},
                {p: list(range(p, 30, 3)) for p in range(3)},
            )

    def test_credits_hold_a_subscription_until_more_are_granted_through_any_node(self):
        self.create_topic()
        for i in range(20):
            self.client.write(self.topic, bytes([i]) * 10_000)
        events = self.subscribe(self.nodes[0], credit_bytes=1, min_bytes=1)
        subscription = next(events).started.subscription_id
        received, lock = [], threading.Lock()

        def receive():
            try:
                for event in events:
                    with lock:
                        received.extend(r for b in event.batches.batches for r in b.records.records)
            except Exception:  # cancelled at the end of the test
                pass

        threading.Thread(target=receive, daemon=True).start()

        def count():
            with lock:
                return len(received)

        wait_until("the first message came", lambda: count() > 0)
        held = count()
        # A message overdraws the credit once; nothing comes after it. Longer than any message would take.
        time.sleep(0.5)
        self.assertEqual(count(), held)
        self.assertLess(held, 20 + 1)
        granted = self.nodes[0].client.consume.GrantCredit(
            consume_pb2.GrantCreditRequest(subscription_id=subscription, total_bytes=10 << 20), timeout=TIMEOUT_S
        )
        self.assertEqual(granted.total_bytes, 10 << 20)
        wait_until("the rest came", lambda: count() == 20)
        events.cancel()

        def gone():
            grant = consume_pb2.GrantCreditRequest(subscription_id=subscription, total_bytes=20 << 20)
            try:
                self.nodes[0].client.consume.GrantCredit(grant, timeout=TIMEOUT_S)
                return False
            except grpc.RpcError as refused:
                return reason_name(error_of(refused)) == "SUBSCRIPTION_NOT_FOUND"

        wait_until("the subscription is forgotten", gone)

    def test_a_slow_reader_gets_everything_and_holds_nobody_up(self):
        self.create_topic()
        block = b"x" * 100_000
        events = self.subscribe(self.nodes[1], timeout=60)
        next(events)
        for _ in range(16):  # 16 MiB, while nobody reads
            self.assert_written(self.client.write(self.topic, *[block] * 10))
        self.assertEqual(len(self.nodes[1].client.values(self.topic)), 160)  # another reader at the same node
        seen = 0
        for event in events:
            seen += sum(len(b.records.records) for b in event.batches.batches)
            if seen >= 160:
                break
        events.cancel()
        self.assertEqual(seen, 160)

    def test_a_partition_that_goes_away_is_told_and_the_others_go_on(self):
        self.create_topic()
        other = self.topic[:200] + ".other"
        self.client.create_topic(other)
        topics = [consume_pb2.SubscribeTopic(topic={"name": name}) for name in (self.topic, other)]
        events = self.nodes[2].client.consume.Subscribe(consume_pb2.SubscribeRequest(topics=topics), timeout=30)
        next(events)
        self.client.admin.DeleteTopic(admin_pb2.DeleteTopicRequest(topic={"name": self.topic}), timeout=TIMEOUT_S)
        gone = next(event for event in events if event.HasField("partition_error")).partition_error
        self.assertEqual(gone.topic.name, self.topic)
        self.assert_error(gone.error, "TOPIC_NOT_FOUND")
        self.client.write(other, b"still here")
        record = next(r for event in events for b in event.batches.batches for r in b.records.records)
        self.assertEqual(record.value, b"still here")
        events.cancel()

    def test_partitions_that_are_added_join_a_subscription(self):
        self.create_topic(partitions=1)
        events = self.subscribe(self.nodes[1], timeout=30)
        next(events)
        self.client.admin.AddPartitions(
            admin_pb2.AddPartitionsRequest(topic={"name": self.topic}, partition_count=2), timeout=TIMEOUT_S
        )
        self.assert_written(self.client.write(self.topic, b"new", partition=1), base_offset=0)
        batch = next(event.batches for event in events if event.HasField("batches"))
        self.assertEqual((batch.partition, batch.batches[0].records.records[0].value), (1, b"new"))
        events.cancel()

    # --- places

    def test_offsets_are_found_by_end_time_and_number_from_the_end(self):
        self.create_topic()
        start_ms = time.time_ns() // 1_000_000 - 100_000
        records = [records_pb2.Record(value=b"%d" % i, timestamp_ms=start_ms + 1000 * i) for i in range(10)]
        for record in records:
            item = produce_pb2.ProduceItem(partition=0, batch={"records": {"records": [record]}})
            self.client.produce.Produce(
                produce_pb2.ProduceRequest(topic={"name": self.topic}, items=[item]), timeout=TIMEOUT_S
            )
        for node in self.nodes:
            place = node.client.place
            self.assertEqual((place(self.topic, "start"), place(self.topic, "end")), (0, 10))
            self.assertEqual(place(self.topic, common_pb2.StartPosition(timestamp_ms=start_ms + 4000)), 4)
            self.assertEqual(place(self.topic, common_pb2.StartPosition(timestamp_ms=start_ms + 4001)), 5)
            self.assertEqual(place(self.topic, common_pb2.StartPosition(timestamp_ms=start_ms + 10**9)), 10)
            self.assertEqual(place(self.topic, common_pb2.StartPosition(last_records=3)), 7)
            self.assertEqual(place(self.topic, common_pb2.StartPosition(last_records=99)), 0)

    def test_what_was_acknowledged_is_below_the_end_that_any_node_tells_afterwards(self):
        self.create_topic()
        for i in range(60):
            self.assert_written(self.nodes[i % 3].client.write(self.topic, b"x"), base_offset=i)
            self.assertEqual(self.nodes[(i + 1) % 3].client.place(self.topic), i + 1)

    def test_a_trimmed_partition_begins_later_and_says_where(self):
        self.create_topic()
        for i in range(10):
            self.client.write(self.topic, b"%d" % i)
        trimmed = self.nodes[1].client.admin.TrimPartition(
            admin_pb2.TrimPartitionRequest(partition={"topic": {"name": self.topic}, "partition": 0}, before_offset=6),
            timeout=TIMEOUT_S,
        )
        self.assertEqual((trimmed.log_start_offset, trimmed.high_watermark), (6, 10))
        for node in self.nodes:
            self.assertEqual(node.client.place(self.topic, "start"), 6)
            self.assertEqual(node.client.values(self.topic), [b"6", b"7", b"8", b"9"])
            below = node.client.fetch(self.topic, offset=2)
            self.assertIn(
                below.error.reason,
                (errors_pb2.ERROR_REASON_OFFSET_OUT_OF_RANGE, errors_pb2.ERROR_REASON_TRIMMED),
                text_of(below.error),
            )
            self.assertEqual(below.error.metadata["log_start_offset"], "6")

    def test_past_the_end_is_refused_with_both_ends(self):
        self.create_topic()
        self.client.write(self.topic, b"a")
        for node in self.nodes:
            beyond = node.client.fetch(self.topic, offset=2)
            self.assert_error(beyond.error, "OFFSET_OUT_OF_RANGE", log_start_offset=0, high_watermark=1, offset=2)
            self.assertEqual((beyond.log_start_offset, beyond.high_watermark), (0, 1))


if __name__ == "__main__":
    main()
