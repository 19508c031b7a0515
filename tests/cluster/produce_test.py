"""Writing: through any node, in order, once, as large and as small as the limits allow."""
import queue
import threading
import uuid

import wire
from calls import REQUIRE_LEADER, TIMEOUT_S, failing, reason_name
from flotilla.v1 import cluster_pb2, produce_pb2, records_pb2
from nodes import wait_until
from scene import ClusterTest, main


class ProduceTest(ClusterTest):
    # --- any node

    def test_every_node_takes_every_write_and_all_see_the_same(self):
        self.create_topic(partitions=3)
        for partition in range(3):
            for i, node in enumerate(self.nodes):
                self.assert_written(node.client.write(self.topic, b"%d" % i, partition=partition), base_offset=i)
        for node in self.nodes:
            for partition in range(3):
                self.assertEqual(node.client.values(self.topic, partition), [b"0", b"1", b"2"])

    def test_an_answer_through_another_node_names_the_leader(self):
        self.create_topic()
        leader = self.cluster.leader_of(self.topic)
        other = self.cluster.others(leader)[0]
        request = produce_pb2.ProduceRequest(
            topic={"name": self.topic},
            items=[produce_pb2.ProduceItem(partition=0, batch={"records": {"records": [{"value": b"x"}]}})],
        )
        hint = other.client.produce.Produce(request, timeout=TIMEOUT_S).leaders[0]
        self.assertEqual((hint.topic.name, hint.partition, hint.address), (self.topic, 0, leader.address))
        self.assertGreater(hint.leader_epoch, 0)
        self.assertEqual(len(leader.client.produce.Produce(request, timeout=TIMEOUT_S).leaders), 0)

    def test_who_wants_no_forwarding_is_told_where_to_go(self):
        self.create_topic()

        def refused_and_written():
            leader = self.cluster.leader_of(self.topic)
            refused = self.cluster.others(leader)[0].client.write(self.topic, b"x", metadata=REQUIRE_LEADER)
            if reason_name(refused.error) == "NO_LEADER":
                return None
            self.assert_error(refused.error, "NOT_LEADER", leader_address=leader.address, partition=0)
            written = leader.client.write(self.topic, b"x", metadata=REQUIRE_LEADER)
            return None if reason_name(written.error) in ("NO_LEADER", "NOT_LEADER") else written

        # On a busy machine the leadership may move meanwhile. Then nothing was written, and all is tried again.
        self.assert_written(wait_until("the leader stays and takes the write", refused_and_written), base_offset=0)

    # --- where records go

    def test_keys_choose_the_partition_as_the_vectors_say(self):
        self.create_topic(partitions=12)
        keys = {
            "": 9,
            "21": 0,
            "abc": 3,
            "foobar": 6,
            "a-little-bit-long-string": 8,
            "a-little-bit-longer-string": 11,
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": 5,
            "café": 6,
        }
        records = [records_pb2.Record(key=key.encode(), value=key.encode()) for key in keys]
        request = produce_pb2.ProduceRequest(
            topic={"name": self.topic}, items=[produce_pb2.ProduceItem(batch={"records": {"records": records}})]
        )
        result = self.client.produce.Produce(request, timeout=TIMEOUT_S).results[0]
        self.assertFalse(result.HasField("error"), result)
        self.assertEqual([place.partition for place in result.placements], sorted(set(keys.values())))
        self.assertEqual(sum(place.record_count for place in result.placements), len(keys))
        read = self.nodes[1].client.read(self.topic)
        for key, partition in keys.items():
            self.assertIn(key.encode(), [record.key for _, record in read[partition]], key)

    # --- once

    def init_producer(self, **request):
        return self.client.produce.InitProducer(produce_pb2.InitProducerRequest(**request), timeout=TIMEOUT_S)

    def write_as(self, producer, sequence, *values, node=None, **batch):
        return (node or self.nodes[0]).client.write(
            self.topic,
            *values,
            producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch,
            base_sequence=sequence,
            **batch,
        )

    def test_a_batch_that_comes_again_is_answered_with_its_first_place_at_any_node(self):
        self.create_topic()
        producer = self.init_producer()
        self.assert_written(self.write_as(producer, 0, b"a", b"b"), base_offset=0)
        self.assert_written(self.write_as(producer, 2, b"c"), base_offset=2)
        for node in self.nodes:
            again = self.assert_written(self.write_as(producer, 0, b"a", b"b", node=node), base_offset=0)
            self.assertTrue(again.deduplicated)
        self.assertEqual(self.client.values(self.topic), [b"a", b"b", b"c"])

    def test_a_gap_in_the_sequence_is_refused_with_what_was_expected(self):
        self.create_topic()
        producer = self.init_producer()
        self.assert_written(self.write_as(producer, 0, b"a"))
        self.assert_error(self.write_as(producer, 5, b"f").error, "OUT_OF_ORDER", expected=1, actual=5)
        self.assert_error(self.write_as(self.init_producer(), 5, b"f").error, "UNKNOWN_PRODUCER")
        self.assertEqual(self.client.values(self.topic), [b"a"])

    def test_a_new_epoch_shuts_out_the_old_one(self):
        self.create_topic()
        old = self.init_producer()
        self.assert_written(self.write_as(old, 0, b"a"))
        new = self.init_producer(producer_id=old.producer_id, producer_epoch=old.producer_epoch)
        self.assertEqual((new.producer_id, new.producer_epoch), (old.producer_id, 1))
        self.assert_written(self.write_as(new, 0, b"b"))
        self.assert_error(self.write_as(old, 1, b"zombie").error, "FENCED", producer_id=old.producer_id, epoch=1)
        with failing() as failure:
            self.init_producer(producer_id=old.producer_id, producer_epoch=0)
        self.assert_error(failure.error, "FENCED", producer_id=old.producer_id, epoch=1)
        self.assertEqual(self.client.values(self.topic), [b"a", b"b"])

    def test_producer_ids_of_all_nodes_differ_and_a_request_id_gets_the_same_one(self):
        ids = [
            node.client.produce.InitProducer(produce_pb2.InitProducerRequest(), timeout=TIMEOUT_S).producer_id
            for node in self.nodes
            for _ in range(5)
        ]
        self.assertEqual(len(set(ids)), len(ids))
        self.assertGreater(min(ids), 0)
        request = produce_pb2.InitProducerRequest(request_id=str(uuid.uuid4()))
        again = {node.client.produce.InitProducer(request, timeout=TIMEOUT_S).producer_id for node in self.nodes}
        self.assertEqual(len(again), 1)

    def test_a_topic_wide_sequence_is_deduplicated_in_every_partition(self):
        self.create_topic(partitions=3)
        producer = self.init_producer(topic={"name": self.topic})
        self.assertEqual(producer.partition_count, 3)
        batch = records_pb2.RecordBatch(
            records={"records": [{"key": b"%d" % i, "value": b"%d" % i} for i in range(30)]},
            producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch,
            base_sequence=0,
        )
        request = produce_pb2.ProduceRequest(
            topic={"name": self.topic}, partition_count=3, items=[produce_pb2.ProduceItem(batch=batch)]
        )
        first = self.nodes[0].client.produce.Produce(request, timeout=TIMEOUT_S).results[0]
        again = self.nodes[1].client.produce.Produce(request, timeout=TIMEOUT_S).results[0]
        self.assertEqual([p.base_offset for p in first.placements], [p.base_offset for p in again.placements])
        self.assertTrue(all(p.deduplicated for p in again.placements))
        self.assertEqual(sum(len(records) for records in self.client.read(self.topic).values()), 30)

    def test_an_append_only_at_the_expected_offset(self):
        self.create_topic()
        self.assert_written(self.client.write(self.topic, b"a"), base_offset=0)

        def write_at(offset):
            item = produce_pb2.ProduceItem(
                partition=0, expected_next_offset=offset, batch={"records": {"records": [{"value": b"b"}]}}
            )
            request = produce_pb2.ProduceRequest(topic={"name": self.topic}, items=[item])
            return self.client.produce.Produce(request, timeout=TIMEOUT_S).results[0]

        self.assert_error(write_at(0).error, "OFFSET_MISMATCH", expected=0, actual=1)
        self.assert_written(write_at(1), base_offset=1)

    # --- streams

    def test_a_stream_answers_each_request_in_order_and_ends_when_all_is_answered(self):
        self.create_topic(partitions=2)

        def requests():
            for i in range(100):
                item = produce_pb2.ProduceItem(partition=i % 2, batch={"records": {"records": [{"value": b"%d" % i}]}})
                yield produce_pb2.ProduceStreamRequest(
                    correlation_id=i, request=produce_pb2.ProduceRequest(topic={"name": self.topic}, items=[item])
                )

        answers = [
            answer
            for answer in self.client.produce.ProduceStream(requests(), timeout=TIMEOUT_S)
            if not answer.HasField("heartbeat")
        ]
        self.assertEqual(sorted(answer.correlation_id for answer in answers), list(range(100)))
        for partition in range(2):
            of_it = [answer for answer in answers if answer.correlation_id % 2 == partition]
            self.assertEqual(
                [answer.response.results[0].placements[0].base_offset for answer in of_it], list(range(50))
            )
            self.assertEqual([answer.correlation_id for answer in of_it], list(range(partition, 100, 2)))

    def test_a_request_that_is_refused_leaves_the_stream_going(self):
        self.create_topic()

        def request(number, topic):
            item = produce_pb2.ProduceItem(partition=0, batch={"records": {"records": [{"value": b"x"}]}})
            return produce_pb2.ProduceStreamRequest(
                correlation_id=number, request=produce_pb2.ProduceRequest(topic={"name": topic}, items=[item])
            )

        asked = [request(1, self.topic), request(2, "there-is-no-such-topic"), request(3, self.topic)]
        answers = {
            answer.correlation_id: answer
            for answer in self.client.produce.ProduceStream(iter(asked), timeout=TIMEOUT_S)
            if not answer.HasField("heartbeat")
        }
        self.assert_error(answers[2].error, "TOPIC_NOT_FOUND")
        self.assert_written(answers[1].response.results[0], base_offset=0)
        self.assert_written(answers[3].response.results[0], base_offset=1)

    def test_a_stream_that_the_client_breaks_off_does_no_harm(self):
        self.create_topic()
        outgoing = queue.SimpleQueue()
        call = self.client.produce.ProduceStream(iter(outgoing.get, None), timeout=TIMEOUT_S)
        for i in range(20):
            item = produce_pb2.ProduceItem(partition=0, batch={"records": {"records": [{"value": b"%d" % i}]}})
            outgoing.put(
                produce_pb2.ProduceStreamRequest(
                    correlation_id=i, request=produce_pb2.ProduceRequest(topic={"name": self.topic}, items=[item])
                )
            )
        next(iter(call))  # one is answered, the others are somewhere on their way
        call.cancel()
        outgoing.put(None)
        self.assert_written(self.client.write(self.topic, b"after"))
        values = self.client.values(self.topic)
        self.assertEqual(values[:1], [b"0"])
        # What was on its way may be there or not, but as a beginning of what was sent, and nothing of it later.
        before = values[: values.index(b"after")]
        self.assertEqual(before, [b"%d" % i for i in range(len(before))])
        self.assertEqual(values[len(before) + 1 :], [])

    # --- sizes

    def test_a_record_of_the_limit_is_taken_and_one_byte_more_is_refused(self):
        self.create_topic()
        limit = self.limits().record_bytes_max
        overhead = len(records_pb2.Record(value=b"x" * (limit - 16)).SerializeToString()) - (limit - 16)
        self.assert_written(self.client.write(self.topic, b"x" * (limit - overhead)))
        refused = self.client.write(self.topic, b"small", b"x" * (limit - overhead + 1))
        self.assert_error(
            refused.error, "RECORD_TOO_LARGE", text=[limit, limit + 1], limit=limit, value=limit + 1, record=1
        )

    def limits(self):
        return self.client.cluster.GetServerInfo(cluster_pb2.GetServerInfoRequest(), timeout=TIMEOUT_S).limits

    def test_a_batch_of_almost_eight_mebibytes_comes_back_as_it_went(self):
        self.create_topic()
        values = [bytes([i]) * 1_000_000 for i in range(8)]
        self.assert_written(self.nodes[1].client.write(self.topic, *values), base_offset=0)
        self.assertEqual(self.nodes[2].client.values(self.topic), values)

    def test_many_small_records_keep_their_order_and_all_they_have(self):
        self.create_topic()
        values = [b"%d" % i for i in range(50_000)]
        self.assert_written(self.client.write(self.topic, *values), base_offset=0)
        self.assertEqual(self.nodes[1].client.values(self.topic), values)

    def test_what_is_empty_and_what_is_not_there_are_different_things(self):
        self.create_topic()
        records = [
            records_pb2.Record(),
            records_pb2.Record(key=b""),
            records_pb2.Record(value=b""),
            records_pb2.Record(
                key=b"k",
                value=b"v",
                timestamp_ms=0,
                headers=[
                    records_pb2.Header(key="", value=b""),
                    records_pb2.Header(key="h", value=bytes(range(256))),
                    records_pb2.Header(key="h", value=b"again"),
                ],
            ),
        ]
        item = produce_pb2.ProduceItem(partition=0, batch={"records": {"records": records}})
        request = produce_pb2.ProduceRequest(topic={"name": self.topic}, items=[item])
        self.assert_written(self.client.produce.Produce(request, timeout=TIMEOUT_S).results[0])
        self.assertEqual([record for _, record in self.client.read(self.topic)[0]], records)

    def test_a_compressed_batch_is_decompressed_for_those_who_cannot(self):
        self.create_topic()
        content = records_pb2.RecordSet(records=[{"value": b"v%d" % i} for i in range(100)]).SerializeToString()
        frame = wire.zstd_frame(content)
        batch = records_pb2.RecordBatch(
            codec=records_pb2.CODEC_ZSTD,
            record_count=100,
            uncompressed_bytes=len(content),
            compressed_records=frame,
            crc32c=wire.crc32c(frame),
        )
        request = produce_pb2.ProduceRequest(
            topic={"name": self.topic}, items=[produce_pb2.ProduceItem(partition=0, batch=batch)]
        )
        self.assert_written(self.client.produce.Produce(request, timeout=TIMEOUT_S).results[0], base_offset=0)
        plain = self.nodes[1].client.fetch(self.topic).batches[0]
        self.assertEqual([record.value for record in plain.records.records], [b"v%d" % i for i in range(100)])
        self.assertEqual(plain.record_count, 100)
        stored = self.nodes[1].client.fetch(self.topic, accepted_codecs=[records_pb2.CODEC_ZSTD]).batches[0]
        self.assertEqual((stored.codec, stored.compressed_records), (records_pb2.CODEC_ZSTD, frame))
        self.assertEqual(stored.crc32c, wire.crc32c(frame))

    def test_what_is_read_has_offsets_times_and_a_checksum(self):
        self.create_topic()
        self.assert_written(self.client.write(self.topic, b"a", b"b"))
        self.assert_written(self.client.write(self.topic, b"c"))
        batches = self.client.fetch(self.topic).batches
        self.assertEqual([(b.base_offset, b.record_count) for b in batches], [(0, 2), (2, 1)])
        for batch in batches:
            self.assertEqual(batch.crc32c, wire.crc32c(batch.records.SerializeToString()))
            self.assertGreater(batch.leader_epoch, 0)
            self.assertGreater(batch.append_timestamp_ms, 1_600_000_000_000)
            self.assertEqual(batch.timestamp_type, records_pb2.TIMESTAMP_TYPE_CREATE_TIME)

    # --- how safe

    def test_each_kind_of_acknowledgement_is_given(self):
        self.create_topic()
        for acks in (produce_pb2.ACKS_QUORUM, produce_pb2.ACKS_LEADER, produce_pb2.ACKS_NONE):
            item = produce_pb2.ProduceItem(partition=0, batch={"records": {"records": [{"value": b"x"}]}})
            request = produce_pb2.ProduceRequest(topic={"name": self.topic}, items=[item], acks=acks)
            result = self.nodes[1].client.produce.Produce(request, timeout=TIMEOUT_S).results[0]
            self.assertFalse(result.HasField("error"), result)
            told = any(place.HasField("base_offset") for place in result.placements)
            self.assertEqual(told, acks != produce_pb2.ACKS_NONE)
        wait_until("the record without acknowledgement is there too", lambda: len(self.client.values(self.topic)) == 3)

    def test_many_producers_at_once_get_different_places(self):
        self.create_topic()
        places, lock = [], threading.Lock()

        def write(node):
            for _ in range(40):
                offset = node.client.write(self.topic, b"x").placements[0].base_offset
                with lock:
                    places.append(offset)

        threads = [threading.Thread(target=write, args=(node,)) for node in self.nodes * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(places), list(range(240)))
        self.assertEqual(self.client.place(self.topic), 240)


if __name__ == "__main__":
    main()
