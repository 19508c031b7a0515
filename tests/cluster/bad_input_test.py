"""What must not be taken: each refusal names reason, limit and value, changes nothing, and costs nobody else."""
import contextlib
import os
import random
import select
import socket
import threading
import time
import uuid

import grpc

import wire
from brokers import error_of
from calls import TIMEOUT_S, Client, failing, text_of
from flotilla.v1 import admin_pb2, cluster_pb2, common_pb2, consume_pb2, produce_pb2, records_pb2
from nodes import free_ports
from scene import ClusterTest, main

NO_TOPIC = "there-is-no-such-topic"
MIB = 1 << 20


class Scissors:
    """Stands between a client and a node, and cuts the connection after so many bytes of the client's."""

    def __init__(self, address, after_bytes):
        host, port = address.rsplit(":", 1)
        self._node = (host, int(port))
        self._left = after_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join()
        self._listener.close()

    def _run(self):
        client, _ = self._listener.accept()
        self._listener.close()  # whoever comes again is refused
        with client, socket.create_connection(self._node) as node:
            while self._left > 0:
                for ready in select.select([client, node], [], [])[0]:
                    data = ready.recv(min(1 << 16, self._left) if ready is client else 1 << 16)
                    if not data:
                        return
                    if ready is client:
                        self._left -= len(data)
                    (node if ready is client else client).sendall(data)


class BadInputTest(ClusterTest):
    """Every test ends with the node serving as before."""

    def setUp(self):
        super().setUp()
        self.create_topic(partitions=2)
        self.assert_written(self.client.write(self.topic, b"first"), base_offset=0)

    def tearDown(self):
        for node in self.nodes:
            self.assertEqual(node.client.values(self.topic), [b"first"], "something was appended that was refused")
        super().tearDown()

    def produce(self, *items, node=None, topic=None, **request):
        request = produce_pb2.ProduceRequest(
            topic={"name": self.topic if topic is None else topic}, items=items, **request
        )
        return (node or self.nodes[0]).client.produce.Produce(request, timeout=TIMEOUT_S)

    def item(self, *values, partition=0, expected_next_offset=None, **batch):
        records = {"records": [records_pb2.Record(value=value) for value in values or (b"x",)]}
        return produce_pb2.ProduceItem(
            partition=partition,
            expected_next_offset=expected_next_offset,
            batch=records_pb2.RecordBatch(records=records, **batch),
        )

    def send_bytes(self, method, request, response_type, node=None):
        call = (node or self.nodes[0]).client.channel.unary_unary(
            method, request_serializer=lambda data: data, response_deserializer=response_type.FromString
        )
        return call(request, timeout=TIMEOUT_S)

    def produce_bytes(self, records, **batch):
        request = wire.produce_request(self.topic, records, **batch)
        return (
            self.send_bytes("/flotilla.v1.ProduceService/Produce", request, produce_pb2.ProduceResponse)
            .results[0]
            .error
        )

    # --- things that are not there

    def test_an_unknown_topic(self):
        for node in self.nodes:
            with failing() as failure:
                self.produce(self.item(), topic=NO_TOPIC, node=node)
            self.assert_error(failure.error, "TOPIC_NOT_FOUND", text=NO_TOPIC, topic=NO_TOPIC)
            self.assertEqual(failure.code, grpc.StatusCode.NOT_FOUND)
            self.assert_error(node.client.fetch(NO_TOPIC).error, "TOPIC_NOT_FOUND", topic=NO_TOPIC)
            for call, request in (
                (node.client.admin.GetTopic, admin_pb2.GetTopicRequest(topic={"name": NO_TOPIC})),
                (node.client.admin.DeleteTopic, admin_pb2.DeleteTopicRequest(topic={"name": NO_TOPIC})),
                (
                    node.client.admin.AddPartitions,
                    admin_pb2.AddPartitionsRequest(topic={"name": NO_TOPIC}, partition_count=9),
                ),
                (node.client.cluster.GetMetadata, cluster_pb2.GetMetadataRequest(topics=[{"name": NO_TOPIC}])),
                (node.client.produce.InitProducer, produce_pb2.InitProducerRequest(topic={"name": NO_TOPIC})),
            ):
                with self.subTest(type(request).__name__, node=node.number), failing() as failure:
                    call(request, timeout=TIMEOUT_S)
                self.assert_error(failure.error, "TOPIC_NOT_FOUND", topic=NO_TOPIC)

    def test_a_subscription_to_an_unknown_topic(self):
        request = consume_pb2.SubscribeRequest(topics=[{"topic": {"name": NO_TOPIC}}])
        with failing() as failure:
            list(self.client.consume.Subscribe(request, timeout=TIMEOUT_S))
        self.assert_error(failure.error, "TOPIC_NOT_FOUND", topic=NO_TOPIC)

    def test_a_topic_under_the_id_of_another(self):
        with failing() as failure:
            self.client.admin.GetTopic(
                admin_pb2.GetTopicRequest(
                    topic={"name": self.topic, "topic_id": "00000000-0000-4000-8000-000000000001"}
                ),
                timeout=TIMEOUT_S,
            )
        self.assert_error(failure.error, "TOPIC_NOT_FOUND")

    def test_a_partition_that_is_not_there(self):
        for node in self.nodes:
            for partition in (2, 10_000, -1):
                with self.subTest(partition=partition, node=node.number):
                    written = self.produce(self.item(partition=partition), node=node).results[0]
                    self.assert_error(
                        written.error, "PARTITION_NOT_FOUND", text=[partition], partition=partition, partition_count=2
                    )
                    self.assert_error(
                        node.client.fetch(self.topic, partition=partition).error,
                        "PARTITION_NOT_FOUND",
                        partition=partition,
                        partition_count=2,
                    )

    # --- topics that cannot be

    def test_illegal_names(self):
        for name, text in (
            ("", "name"),
            (".", "directory"),
            ("..", "directory"),
            ("a b", "space"),
            ("a/b", "slash"),
            ("a\0b", "NUL"),
            ("caf\u00e9", "use letters"),
            ("x" * 250, "249"),
        ):
            with self.subTest(name=name[:20]), failing() as failure:
                self.client.create_topic(name)
            self.assert_error(failure.error, "LIMIT_EXCEEDED" if len(name) > 249 else "INVALID_ARGUMENT", text=text)
        with failing() as failure:
            self.client.admin.CreateTopic(
                admin_pb2.CreateTopicRequest(topic={"name": "t", "topic_namespace": "blue"}), timeout=TIMEOUT_S
            )
        self.assert_error(failure.error, "INVALID_ARGUMENT", text="blue")

    def test_numbers_of_replicas_that_make_no_sense_or_are_too_many(self):
        for factor in (0, 2, 4, -1, 7):
            with self.subTest(factor=factor), failing() as failure:
                self.client.create_topic(self.topic + ".x", replication_factor=factor)
            self.assert_error(failure.error, "INVALID_ARGUMENT", text=[factor, "1, 3 or 5"])
        with failing() as failure:
            self.nodes[2].client.create_topic(self.topic + ".x", replication_factor=5)
        self.assert_error(failure.error, "NOT_ENOUGH_NODES", text=["5", "3"], replication_factor=5, live_nodes=3)

    def test_numbers_of_partitions_that_make_no_sense_or_are_too_many(self):
        for count in (0, -3):
            with self.subTest(count=count), failing() as failure:
                self.client.create_topic(self.topic + ".x", partitions=count)
            self.assert_error(failure.error, "INVALID_ARGUMENT", text=count)
        with failing() as failure:
            self.client.create_topic(self.topic + ".x", partitions=10_001)
        self.assert_error(failure.error, "LIMIT_EXCEEDED", text=["10001", "10000"], limit=10_000, value=10_001)
        with failing() as failure:
            self.client.create_topic(self.topic + ".x", partitions=5_000)
        self.assert_error(failure.error, "LIMIT_EXCEEDED", text=["5000", "1000 replicas"], value=5_000)

    def test_unknown_settings(self):
        with failing() as failure:
            self.client.create_topic(self.topic + ".x", config={"record_bytes_mx": "5"})
        self.assert_error(
            failure.error, "UNKNOWN_CONFIG", text='did you mean "record_bytes_max"', name="record_bytes_mx"
        )
        with failing() as failure:
            self.client.create_topic(self.topic + ".x", config={"record_bytes_max": "lots"})
        self.assert_error(failure.error, "INVALID_ARGUMENT", text="lots")

    def test_a_request_id_that_cannot_be(self):
        for request_id, reason in (("a b", "INVALID_ARGUMENT"), ("x" * 65, "LIMIT_EXCEEDED")):
            with self.subTest(reason), failing() as failure:
                self.client.create_topic(self.topic + ".x", request_id=request_id)
            self.assert_error(failure.error, reason, text="request_id")

    def test_pages_that_cannot_be(self):
        for request in (
            admin_pb2.ListTopicsRequest(page_size=1001),
            admin_pb2.ListTopicsRequest(page_size=-1),
            admin_pb2.ListTopicsRequest(page_token="no such page"),
        ):
            with self.subTest(str(request)), failing() as failure:
                self.client.admin.ListTopics(request, timeout=TIMEOUT_S)
            self.assert_error(failure.error, "INVALID_ARGUMENT")

    # --- sizes

    def test_a_record_above_the_limit(self):
        refused = self.produce(self.item(b"x" * (2 * MIB))).results[0]
        self.assert_error(refused.error, "RECORD_TOO_LARGE", text=MIB, limit=MIB, record=0)

    def test_a_request_above_the_limit(self):
        with failing() as failure:
            self.produce(*[self.item(b"x" * (MIB - 100)) for _ in range(9)])
        self.assert_error(failure.error, "LIMIT_EXCEEDED", text=8 * MIB, limit=8 * MIB)
        self.assertGreater(int(failure.error.metadata["value"]), 8 * MIB)
        # About what is far too large gRPC itself has the first word.
        with failing() as failure:
            self.produce(*[self.item(b"x" * (MIB - 100)) for _ in range(20)])
        self.assertEqual(failure.code, grpc.StatusCode.RESOURCE_EXHAUSTED)

    def test_too_many_items(self):
        with failing() as failure:
            self.produce(*[self.item() for _ in range(1001)])
        self.assert_error(failure.error, "LIMIT_EXCEEDED", text="1000", limit=1000)

    def test_a_request_without_anything_in_it(self):
        with failing() as failure:
            self.produce()
        self.assert_error(failure.error, "INVALID_ARGUMENT")
        with failing() as failure:
            self.produce(self.item(), topic="")
        self.assert_error(failure.error, "INVALID_ARGUMENT", text="topic")

    # --- records

    def test_bytes_that_are_no_record_set(self):
        good = records_pb2.RecordSet(records=[{"value": b"a"}, {"value": b"b"}]).SerializeToString()
        for name, records in (
            ("text", b"hello world"),
            ("cut", good[:-1]),
            ("a length past the end", b"\x0a\xff\x01x"),
            ("another field", good + wire.sized(2, b"x")),
            ("a wrong wire type", wire.sized(1, b"\x08\x01")),
        ):
            with self.subTest(name):
                self.assert_error(self.produce_bytes(records), "CORRUPT_RECORDS", text="byte")
        self.assertIn("position", self.produce_bytes(b"hello world").metadata)

    def test_a_batch_without_records(self):
        self.assert_error(self.produce_bytes(b""), "CORRUPT_RECORDS", text="no record")
        refused = self.produce(produce_pb2.ProduceItem(partition=0, batch=records_pb2.RecordBatch())).results[0]
        self.assertIn(refused.error.code, (3,), text_of(refused.error))
        refused = self.produce(produce_pb2.ProduceItem(partition=0)).results[0]
        self.assertIn(refused.error.code, (3,), text_of(refused.error))

    def test_records_given_twice(self):
        good = records_pb2.RecordSet(records=[{"value": b"a"}]).SerializeToString()
        self.assert_error(self.produce_bytes(good, batch_fields=wire.sized(15, good)), "CORRUPT_RECORDS", text="twice")

    def test_a_wrong_count(self):
        refused = self.produce(self.item(b"a", b"b", record_count=3)).results[0]
        self.assert_error(refused.error, "CORRUPT_RECORDS", text=["3", "2"])

    def test_a_wrong_checksum(self):
        records = records_pb2.RecordSet(records=[{"value": b"x"}])
        right = wire.crc32c(records.SerializeToString())
        refused = self.produce(self.item(b"x", crc32c=right ^ 1)).results[0]
        self.assert_error(refused.error, "CRC_MISMATCH", text=[right, right ^ 1], expected=right ^ 1, actual=right)

    def test_an_unknown_codec(self):
        refused = self.produce(
            produce_pb2.ProduceItem(
                partition=0,
                batch=records_pb2.RecordBatch(codec=9, record_count=1, uncompressed_bytes=10, compressed_records=b"x"),
            )
        ).results[0]
        self.assert_error(refused.error, "UNKNOWN_CODEC", text="9", codec=9)

    def compressed(self, content, records=1, size=100, codec=records_pb2.CODEC_ZSTD):
        return (
            self.produce(
                produce_pb2.ProduceItem(
                    partition=0,
                    batch=records_pb2.RecordBatch(
                        codec=codec, record_count=records, uncompressed_bytes=size, compressed_records=content
                    ),
                )
            )
            .results[0]
            .error
        )

    def test_compressed_garbage(self):
        good = records_pb2.RecordSet(records=[{"value": b"x" * 50}]).SerializeToString()
        frame = wire.zstd_frame(good)
        for name, error in (
            ("no frame", self.compressed(os.urandom(500))),
            ("no lz4 frame", self.compressed(os.urandom(500), codec=records_pb2.CODEC_LZ4)),
            ("a cut frame", self.compressed(frame[:-5], size=len(good))),
            ("more after it", self.compressed(frame + b"x", size=len(good))),
            ("another size", self.compressed(frame, size=len(good) - 1)),
            ("another count", self.compressed(frame, size=len(good), records=2)),
            ("no records in it", self.compressed(wire.zstd_frame(b"hello"), size=5)),
            ("no size", self.compressed(frame, size=0)),
        ):
            with self.subTest(name):
                self.assert_error(error, "CORRUPT_RECORDS")

    def test_a_bomb_is_not_unpacked(self):
        began = time.monotonic()
        self.assert_error(self.compressed(wire.zstd_bomb(4000), size=1000), "CORRUPT_RECORDS", text="1000")
        self.assert_error(
            self.compressed(wire.zstd_bomb(64), size=64 * MIB),
            "LIMIT_EXCEEDED",
            text=[64 * MIB, 32 * MIB],
            limit=32 * MIB,
            value=64 * MIB,
        )
        self.assertLess(time.monotonic() - began, 5)

    def test_times_that_cannot_be(self):
        now = time.time_ns() // 1_000_000
        for time_ms in (now + 7_200_000, -1):
            records = {"records": [{"value": b"x", "timestamp_ms": time_ms}]}
            with self.subTest(time_ms=time_ms):
                refused = self.produce(produce_pb2.ProduceItem(partition=0, batch={"records": records})).results[0]
                self.assert_error(refused.error, "TIMESTAMP_OUT_OF_RANGE", text=time_ms, timestamp_ms=time_ms, record=0)

    def test_a_producer_that_nobody_gave(self):
        with failing() as failure:
            self.client.produce.InitProducer(produce_pb2.InitProducerRequest(producer_id=1 << 60), timeout=TIMEOUT_S)
        self.assert_error(failure.error, "INVALID_ARGUMENT", text=1 << 60)
        refused = self.produce(self.item(producer_id=-1)).results[0]
        self.assertEqual(refused.error.code, 3, text_of(refused.error))
        refused = self.produce(self.item(producer_id=1, base_sequence=-1)).results[0]
        self.assertEqual(refused.error.code, 3, text_of(refused.error))

    def test_one_bad_item_does_not_spoil_the_others(self):
        results = self.produce(
            self.item(b"good", partition=1), self.item(partition=7), self.item(b"also", partition=1)
        ).results
        self.assert_written(results[0], base_offset=0)
        self.assert_error(results[1].error, "PARTITION_NOT_FOUND", partition=7)
        self.assert_written(results[2], base_offset=1)

    # --- reading

    def test_negative_places(self):
        consume, topic = self.client.consume, {"name": self.topic}

        def fetch(start):
            place = consume_pb2.FetchPartition(topic=topic, start=start)
            return consume.Fetch(consume_pb2.FetchRequest(partitions=[place]), timeout=TIMEOUT_S).partitions[0]

        def list_offsets(position):
            item = consume_pb2.ListOffsetsItem(topic=topic, position=position)
            return consume.ListOffsets(consume_pb2.ListOffsetsRequest(items=[item]), timeout=TIMEOUT_S).results[0]

        def subscribe(start):
            place = consume_pb2.SubscribeTopic(topic=topic, start=start)
            for event in consume.Subscribe(
                consume_pb2.SubscribeRequest(topics=[place], until_end=True), timeout=TIMEOUT_S
            ):
                if event.HasField("partition_error"):
                    return event.partition_error
            return event

        for call in (fetch, list_offsets, subscribe):
            for place in ({"offset": -1}, {"timestamp_ms": -1}, {"last_records": -1}):
                if call is list_offsets and "offset" in place:
                    continue  # nobody asks where an offset is
                with self.subTest(call.__name__, place=place):
                    try:
                        error = call(place).error
                    except grpc.RpcError as failure:
                        error = error_of(failure)
                    self.assert_error(error, "INVALID_ARGUMENT", text="-1")
        with failing() as failure:
            self.client.admin.TrimPartition(
                admin_pb2.TrimPartitionRequest(partition={"topic": topic, "partition": 0}, before_offset=-1),
                timeout=TIMEOUT_S,
            )
        self.assert_error(failure.error, "INVALID_ARGUMENT", text="-1")

    def test_nothing_or_too_much_to_read(self):
        with failing() as failure:
            self.client.consume.Fetch(consume_pb2.FetchRequest(), timeout=TIMEOUT_S)
        self.assert_error(failure.error, "INVALID_ARGUMENT")
        places = [consume_pb2.FetchPartition(topic={"name": self.topic})] * 1001
        with failing() as failure:
            self.client.consume.Fetch(consume_pb2.FetchRequest(partitions=places), timeout=TIMEOUT_S)
        self.assert_error(failure.error, "LIMIT_EXCEEDED", text="1000", limit=1000, value=1001)

    def test_a_credit_that_cannot_be(self):
        request = consume_pb2.SubscribeRequest(topics=[{"topic": {"name": self.topic}}], credit_bytes=0)
        with failing() as failure:
            list(self.client.consume.Subscribe(request, timeout=TIMEOUT_S))
        self.assert_error(failure.error, "INVALID_ARGUMENT")

    # --- calls

    def test_bytes_that_are_no_request(self):
        for method, response in (
            ("/flotilla.v1.ProduceService/Produce", produce_pb2.ProduceResponse),
            ("/flotilla.v1.ConsumeService/Fetch", consume_pb2.FetchResponse),
            ("/flotilla.v1.AdminService/CreateTopic", admin_pb2.CreateTopicResponse),
            ("/flotilla.v1.ClusterService/GetMetadata", cluster_pb2.GetMetadataResponse),
        ):
            with self.subTest(method), failing() as failure:
                self.send_bytes(method, b"\xff\xff\xff\xff", response)
            self.assert_error(failure.error, "CORRUPT_MESSAGE")

    def test_bytes_that_are_no_request_end_a_stream_and_what_came_before_them_is_answered(self):
        good = produce_pb2.ProduceStreamRequest(
            correlation_id=1,
            request=produce_pb2.ProduceRequest(topic={"name": self.topic}, items=[self.item(b"good", partition=1)]),
        )
        call = self.client.channel.stream_stream(
            "/flotilla.v1.ProduceService/ProduceStream",
            request_serializer=lambda data: data,
            response_deserializer=produce_pb2.ProduceStreamResponse.FromString,
        )
        answers = []
        with failing() as failure:
            for answer in call(iter([good.SerializeToString(), b"\xff\xff\xff\xff"]), timeout=TIMEOUT_S):
                answers.append(answer)
        self.assert_error(failure.error, "CORRUPT_MESSAGE")
        self.assertEqual([answer.correlation_id for answer in answers], [1])
        self.assert_written(answers[0].response.results[0], base_offset=0)

    def test_requests_that_are_cut_off_half_way_leave_nothing_behind(self):
        # Together more than a node takes at a time: were the room for each of them lost, there would be none left.
        item = self.item(*[bytes([i]) * 1_000_000 for i in range(7)], partition=1)
        for i in range(60):
            with Scissors(self.nodes[i % 3].address, after_bytes=random.randrange(7_000_000)) as cut:
                client = Client(cut.address)
                request = produce_pb2.ProduceRequest(topic={"name": self.topic}, items=[item])
                with contextlib.closing(client), failing() as failure:
                    client.produce.Produce(request, timeout=TIMEOUT_S)
            self.assertEqual(failure.code, grpc.StatusCode.UNAVAILABLE)
        for i, node in enumerate(self.nodes):
            self.assert_written(self.produce(item, node=node).results[0], base_offset=7 * i)

    def test_a_method_that_does_not_exist(self):
        with failing() as failure:
            self.send_bytes("/flotilla.v1.ProduceService/Reduce", b"", produce_pb2.ProduceResponse)
        self.assertEqual(failure.code, grpc.StatusCode.UNIMPLEMENTED)

    def test_a_deadline_that_is_over_as_soon_as_it_began(self):
        for node in self.nodes:
            for _ in range(50):
                try:
                    node.client.fetch(self.topic, timeout=0.000_1)  # may still be answered in time
                except grpc.RpcError as failure:
                    self.assertEqual(failure.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
            self.assertFalse(node.client.fetch(self.topic).HasField("error"))

    def test_calls_that_are_cancelled(self):
        for node in self.nodes:
            place = consume_pb2.FetchPartition(topic={"name": self.topic}, start={"offset": 1})
            request = consume_pb2.FetchRequest(partitions=[place], max_wait_ms=60_000)
            calls = [node.client.consume.Fetch.future(request, timeout=60) for _ in range(50)]
            streams = [
                node.client.consume.Subscribe(
                    consume_pb2.SubscribeRequest(topics=[{"topic": {"name": self.topic}}]), timeout=60
                )
                for _ in range(10)
            ]
            for stream in streams:
                next(stream)
            for call in calls + streams:
                call.cancel()

    def test_the_port_for_peers_serves_no_clients_and_the_other_way_round(self):
        stranger = Client(self.nodes[0].peer_address)
        self.addCleanup(stranger.close)
        with failing() as failure:
            stranger.create_topic(self.topic + ".x")
        self.assertEqual(failure.code, grpc.StatusCode.UNIMPLEMENTED)
        self.assertIn("port", failure.error.message)
        with failing() as failure:
            self.send_bytes("/flotilla.internal.v1.MembershipService/Handshake", b"", common_pb2.Heartbeat)
        self.assertEqual(failure.code, grpc.StatusCode.UNIMPLEMENTED)

    def test_a_peer_that_claims_the_id_of_another_node(self):
        info = self.client.cluster.GetServerInfo(cluster_pb2.GetServerInfoRequest(), timeout=TIMEOUT_S)
        theirs = uuid.uuid4()
        address = b"127.0.0.1:%d" % free_ports(1)[0]
        identity = (
            wire.sized(1, uuid.UUID(info.cluster_id).bytes)
            + wire.sized(2, b"test")
            + wire.number(3, info.node_id)
            + wire.sized(4, theirs.bytes)
            + wire.sized(5, b"impostor")
            + b"".join(wire.number(field, 1) for field in (6, 7, 8))  # boot, versions of the protocol
            + wire.sized(9, b"0.1.0")
            + wire.sized(10, address)
            + wire.sized(11, address)
        )

        def members():
            listed = self.client.cluster.ListNodes(cluster_pb2.ListNodesRequest(), timeout=TIMEOUT_S).nodes
            return [(node.node_id, node.client_address) for node in listed]

        before = members()
        for node in self.nodes:
            stranger = Client(node.peer_address)
            self.addCleanup(stranger.close)
            call = stranger.channel.unary_unary("/flotilla.internal.v1.MembershipService/Join")
            with self.subTest(node=node.number), failing() as failure:
                call(wire.sized(1, identity), timeout=TIMEOUT_S)
            self.assert_error(
                failure.error,
                "NODE_MISMATCH",
                text=[info.node_id, info.node_uuid, theirs],
                ours=info.node_uuid,
                theirs=theirs,
            )
        self.assertEqual(members(), before)

    def test_a_port_where_nobody_is(self):
        nobody = Client(f"127.0.0.1:{free_ports(1)[0]}")
        self.addCleanup(nobody.close)
        with failing() as failure:
            nobody.create_topic("t")
        self.assertEqual(failure.code, grpc.StatusCode.UNAVAILABLE)

    def test_a_cluster_that_exists_cannot_be_founded_again(self):
        for node in self.nodes:
            with failing() as failure:
                node.client.cluster.InitCluster(cluster_pb2.InitClusterRequest(), timeout=TIMEOUT_S)
            self.assert_error(failure.error, "ALREADY_INITIALIZED")
            self.assertTrue(failure.error.metadata["cluster_id"])
            answer = node.client.cluster.InitCluster(cluster_pb2.InitClusterRequest(if_needed=True), timeout=TIMEOUT_S)
            self.assertTrue(answer.already_initialized)

    def test_a_transfer_to_nobody(self):
        with failing() as failure:
            self.client.cluster.TransferLeadership(
                cluster_pb2.TransferLeadershipRequest(partition={"topic": {"name": self.topic}}, to_node_id=77),
                timeout=TIMEOUT_S,
            )
        self.assert_error(failure.error, "NODE_NOT_FOUND", node_id=77)
        with failing() as failure:
            self.client.cluster.GetNode(cluster_pb2.GetNodeRequest(node_id=77), timeout=TIMEOUT_S)
        self.assert_error(failure.error, "NODE_NOT_FOUND", node_id=77)


if __name__ == "__main__":
    main()
