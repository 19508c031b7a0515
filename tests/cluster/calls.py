"""Calls of one node through generated code, and what a test needs around them."""
import contextlib
import os

import grpc

from brokers import error_of
from flotilla.v1 import admin_pb2, admin_pb2_grpc, cluster_pb2_grpc, common_pb2, consume_pb2, consume_pb2_grpc
from flotilla.v1 import errors_pb2, produce_pb2, produce_pb2_grpc, records_pb2

# Between calls nobody reads a client's sockets but a poller of gRPC's, every 5 seconds unless told otherwise: a node
# that has just started would seem dead for so long to those who ask and ask. Read when the first channel is made.
os.environ.setdefault("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "20")
# A node is started by a fork, before which gRPC would wait for its threads to be idle: for ever, when one of them needs
# what the forking thread holds. Our child does nothing but exec. Read when the first channel is made, too.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

TIMEOUT_S = 15
# What clients put into the metadata of a call that shall not be forwarded.
REQUIRE_LEADER = (("flotilla-require-leader", "1"),)


class Client:
    """Stubs over a connection of its own to one node."""

    def __init__(self, address):
        self.address = address
        # No connection is shared, and one that failed is tried again at once.
        self.channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.min_reconnect_backoff_ms", 50),
                ("grpc.max_reconnect_backoff_ms", 200),
                ("grpc.enable_http_proxy", 0),
                ("grpc.max_receive_message_length", 48 << 20),
                ("grpc.max_send_message_length", 48 << 20),
            ],
        )
        self.produce = produce_pb2_grpc.ProduceServiceStub(self.channel)
        self.consume = consume_pb2_grpc.ConsumeServiceStub(self.channel)
        self.admin = admin_pb2_grpc.AdminServiceStub(self.channel)
        self.cluster = cluster_pb2_grpc.ClusterServiceStub(self.channel)

    def close(self):
        self.channel.close()

    def create_topic(self, name, partitions=1, replication_factor=3, **options):
        return self.admin.CreateTopic(
            admin_pb2.CreateTopicRequest(
                topic={"name": name}, partition_count=partitions, replication_factor=replication_factor, **options
            ),
            timeout=TIMEOUT_S,
        )

    def write(self, topic, *values, partition=0, timeout=TIMEOUT_S, metadata=None, **batch):
        """Appends records without keys to a partition, one batch. The ProduceResult."""
        records = [records_pb2.Record(value=value) for value in values]
        item = produce_pb2.ProduceItem(
            partition=partition, batch=records_pb2.RecordBatch(records={"records": records}, **batch)
        )
        request = produce_pb2.ProduceRequest(topic={"name": topic}, items=[item])
        return self.produce.Produce(request, timeout=timeout, metadata=metadata).results[0]

    def place(self, topic, position="end", partition=0):
        """An offset: "start", "end" or whatever a StartPosition says."""
        points = {"start": {"point": common_pb2.START_POINT_EARLIEST}, "end": {"point": common_pb2.START_POINT_LATEST}}
        item = consume_pb2.ListOffsetsItem(
            topic={"name": topic},
            partition=partition,
            position=points.get(position, position) if isinstance(position, str) else position,
        )
        result = self.consume.ListOffsets(consume_pb2.ListOffsetsRequest(items=[item]), timeout=TIMEOUT_S).results[0]
        if result.HasField("error"):
            raise AssertionError(text_of(result.error))
        return result.offsets.offset

    def fetch(self, topic, partition=0, offset=0, timeout=TIMEOUT_S, metadata=None, **request):
        """One partition from an offset. The FetchedPartition."""
        place = consume_pb2.FetchPartition(topic={"name": topic}, partition=partition, start={"offset": offset})
        return self.consume.Fetch(
            consume_pb2.FetchRequest(partitions=[place], **request), timeout=timeout, metadata=metadata
        ).partitions[0]

    def values(self, topic, partition=0):
        """All values of a partition, in order."""
        return [record.value for _, record in self.read(topic, [partition]).get(partition, [])]

    def read(self, topic, partitions=()):
        """Everything up to the end: {partition: [(offset, Record), ...]}."""
        request = consume_pb2.SubscribeRequest(
            topics=[consume_pb2.SubscribeTopic(topic={"name": topic}, partitions=partitions)], until_end=True
        )
        found = {}
        for event in self.consume.Subscribe(request, timeout=60):
            if event.HasField("partition_error"):
                raise AssertionError(text_of(event.partition_error.error))
            for place in event.started.partitions:
                found.setdefault(place.partition, [])
            for batch in event.batches.batches:
                for i, record in enumerate(batch.records.records):
                    if batch.base_offset + i >= event.batches.start_offset:
                        found[event.batches.partition].append((batch.base_offset + i, record))
        return found


def reason_name(error):
    return errors_pb2.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")


def text_of(error):
    return f"{reason_name(error)}: {error.message} {dict(error.metadata)}"


@contextlib.contextmanager
def failing():
    """The Error of the call inside, which has to fail:   with failing() as failure: call();  failure.error"""

    class Failure:
        error = None
        code = None

    failure = Failure()
    try:
        yield failure
    except grpc.RpcError as raised:
        failure.error, failure.code = error_of(raised), raised.code()
        return
    raise AssertionError("the call succeeded")
