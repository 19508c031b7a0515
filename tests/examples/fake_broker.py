"""A broker in one process that breaks on purpose: for tests of clients that repeat what was not answered clearly.

It checks what a real partition checks of an idempotent producer (sequence, duplicates) and keeps the records. All
addresses of one FakeCluster share the records, as nodes of a cluster do. Whatever breaks, breaks by a seed.
"""
import random
import threading
from concurrent import futures

import grpc
from flotilla.v1 import (
    cluster_pb2,
    cluster_pb2_grpc,
    common_pb2,
    consume_pb2,
    consume_pb2_grpc,
    errors_pb2,
    produce_pb2,
    produce_pb2_grpc,
    records_pb2,
)


class FakePartition:
    def __init__(self):
        self.batches = []  # (base_offset, producer_id, base_sequence, RecordSet)
        self.end = 0
        self.next_sequence = {}  # by producer

    def append(self, batch):
        """(offset, deduplicated, reason)"""
        count = len(batch.records.records)
        expected = self.next_sequence.get(batch.producer_id, 0)
        if batch.base_sequence != expected:
            for offset, producer, sequence, records in self.batches[-50:]:
                if (producer, sequence, len(records.records)) == (batch.producer_id, batch.base_sequence, count):
                    return offset, True, None
            return None, False, errors_pb2.ERROR_REASON_OUT_OF_ORDER
        self.next_sequence[batch.producer_id] = expected + count
        self.batches.append((self.end, batch.producer_id, batch.base_sequence, batch.records))
        self.end += count
        return self.end - count, False, None


class FakeCluster(
    cluster_pb2_grpc.ClusterServiceServicer,
    produce_pb2_grpc.ProduceServiceServicer,
    consume_pb2_grpc.ConsumeServiceServicer,
):
    """Two addresses; `break_one_in` answers and messages in so many end the stream instead."""

    def __init__(self, partitions=3, break_one_in=0, seed=1):
        self.partitions = [FakePartition() for _ in range(partitions)]
        self.breaks = 0
        self.broken_before_append = 0
        self.heartbeats = False
        # Cleared: streams do not go on; not even GetServerInfo is answered. Connections stay.
        self.flowing, self.awake = threading.Event(), threading.Event()
        self.flowing.set()
        self.awake.set()
        self.asked = 0  # GetServerInfo
        self._producers = {}
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self.break_one_in = break_one_in
        self.servers, self.addresses = [], []
        for _ in range(2):
            server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
            cluster_pb2_grpc.add_ClusterServiceServicer_to_server(self, server)
            produce_pb2_grpc.add_ProduceServiceServicer_to_server(self, server)
            consume_pb2_grpc.add_ConsumeServiceServicer_to_server(self, server)
            self.addresses.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
            server.start()
            self.servers.append(server)

    def stop(self):
        self.flowing.set()
        self.awake.set()
        for server in self.servers:
            server.stop(0).wait()

    def _breaks(self):
        with self._lock:
            if self.break_one_in and self._random.randrange(self.break_one_in) == 0:
                self.breaks += 1
                return True
        return False

    def _end(self, context, reason=None, code=grpc.StatusCode.UNAVAILABLE, retry=errors_pb2.RETRY_SAFE):
        if reason is not None:
            error = errors_pb2.Error(code=code.value[0], reason=reason, retry=retry, message="on purpose")
            context.set_trailing_metadata((("flotilla-error-bin", error.SerializeToString()),))
        context.abort(code, "on purpose")

    # --- cluster

    def GetServerInfo(self, request, context):
        self.asked += 1
        self.awake.wait()
        return cluster_pb2.GetServerInfoResponse()

    # --- produce

    def InitProducer(self, request, context):
        if self._breaks():
            self._end(context)
        with self._lock:
            producer = self._producers.setdefault(request.request_id, len(self._producers) + 1)
        return produce_pb2.InitProducerResponse(producer_id=producer, partition_count=len(self.partitions))

    def ProduceStream(self, requests, context):
        for request in requests:
            self.flowing.wait()
            if self.heartbeats:
                yield produce_pb2.ProduceStreamResponse(heartbeat=common_pb2.Heartbeat(time_ms=1))
            if self._breaks():
                self.broken_before_append += 1
                self._end(context, errors_pb2.ERROR_REASON_SHUTTING_DOWN)
            if self._breaks():
                yield self._answer(
                    request,
                    errors_pb2.Error(
                        code=14,
                        reason=errors_pb2.ERROR_REASON_NO_LEADER,
                        retry=errors_pb2.RETRY_SAFE,
                        message="on purpose",
                    ),
                )
                continue
            item = request.request.items[0]
            with self._lock:
                offset, deduplicated, reason = self.partitions[item.partition].append(item.batch)
            if self._breaks():
                self._end(context)  # appended, and nobody is told
            if reason is not None:
                yield self._answer(
                    request, errors_pb2.Error(code=9, reason=reason, retry=errors_pb2.RETRY_NEVER, message="on purpose")
                )
                continue
            yield produce_pb2.ProduceStreamResponse(
                correlation_id=request.correlation_id,
                response=produce_pb2.ProduceResponse(
                    results=[
                        produce_pb2.ProduceResult(
                            placements=[
                                produce_pb2.Placement(
                                    partition=item.partition,
                                    base_offset=offset,
                                    deduplicated=deduplicated,
                                    record_count=len(item.batch.records.records),
                                )
                            ]
                        )
                    ]
                ),
            )

    @staticmethod
    def _answer(request, error):
        return produce_pb2.ProduceStreamResponse(
            correlation_id=request.correlation_id,
            response=produce_pb2.ProduceResponse(results=[produce_pb2.ProduceResult(error=error)]),
        )

    # --- consume

    def Subscribe(self, request, context):
        wanted = {}
        for topic in request.topics:
            for partition in topic.partitions or range(len(self.partitions)):
                wanted[partition] = topic.start.offset
        yield consume_pb2.SubscribeResponse(
            started=consume_pb2.SubscriptionStarted(
                partitions=[
                    consume_pb2.PartitionOffsets(partition=partition, offset=offset)
                    for partition, offset in wanted.items()
                ]
            )
        )
        for partition, offset in wanted.items():
            yield from self._partition(partition, offset, context)

    def _partition(self, partition, offset, context):
        with self._lock:
            batches, end = list(self.partitions[partition].batches), self.partitions[partition].end
        for base_offset, _, _, records in batches:
            self.flowing.wait()
            after = base_offset + len(records.records)
            if after <= offset:
                continue
            if self._breaks():
                self._end(context)
            yield consume_pb2.SubscribeResponse(
                batches=consume_pb2.FetchedPartition(
                    partition=partition,
                    start_offset=offset,
                    next_offset=after,
                    batches=[
                        records_pb2.RecordBatch(
                            base_offset=base_offset, records=records, record_count=len(records.records)
                        )
                    ],
                )
            )
            offset = after
        yield consume_pb2.SubscribeResponse(ended=consume_pb2.CaughtUp(partition=partition, next_offset=end))
