"""Readers: subscriptions and fetches that must never skip or go back, and questions for ends that must not be stale."""
import time

import grpc

from brokers import error_of
from calls import text_of
from flotilla.v1 import consume_pb2, errors_pb2
from writers import Worker

STREAM_S_MAX = 15
_GONE = (errors_pb2.ERROR_REASON_TRIMMED, errors_pb2.ERROR_REASON_OFFSET_OUT_OF_RANGE)


class Cursor:
    """Where a reader of a partition is."""

    def __init__(self, ledger, topic, partition, who):
        self._ledger = ledger
        self.topic = topic
        self.partition = partition
        self._who = who
        self.next_offset = 0

    def take(self, fetched):
        """A FetchedPartition without an error."""
        self._expect("the answer begins", fetched.start_offset, self.next_offset)
        at = None
        for batch in fetched.batches:
            records = batch.records.records
            if at is not None:
                self._expect("a batch begins", batch.base_offset, at)
            elif batch.base_offset > self.next_offset:
                self._expect("the first batch begins", batch.base_offset, self.next_offset)
            for i, record in enumerate(records):
                offset = batch.base_offset + i
                if offset >= self.next_offset:
                    self._ledger.saw(self.topic, self.partition, offset, record.value, self._who)
            at = batch.base_offset + len(records)
        self._expect("next_offset is", fetched.next_offset, self.next_offset if at is None else at)
        if fetched.next_offset > fetched.high_watermark:
            self._ledger.report(
                "gap", f"{self}: next_offset {fetched.next_offset} above the high watermark {fetched.high_watermark}"
            )
        self.next_offset = max(self.next_offset, fetched.next_offset)

    def refused(self, error):
        """Records that were trimmed away are passed over; only those."""
        if error.reason not in _GONE:
            return
        start = int(error.metadata["log_start_offset"])
        asked = self._ledger.trim_asked(self.topic, self.partition)
        if start <= self.next_offset:
            # A leader that was just elected may not know yet how far it is committed: it should wait, not refuse.
            self._ledger.report("outcome honesty", f"{self}: there is such an offset, but: {text_of(error)}")
        elif start > asked:
            self._ledger.report("poll skip", f"{self}: trimmed up to {asked} at most, but: {text_of(error)}")
        self.next_offset = max(self.next_offset, start)

    def _expect(self, what, found, expected):
        if found != expected:
            kind = "poll skip" if found > expected else "nonmonotonic poll"
            self._ledger.report(kind, f"{self}: {what} at {found}, not at {expected}")

    def __str__(self):
        return f"{self._who} in {self.topic}/{self.partition} at offset {self.next_offset}"


class Reader(Worker):
    def __init__(self, cluster, ledger, seed, topic, partitions):
        name = f"{type(self).__name__} {seed & 0xffff:04x} of {topic}"
        self.cursors = [Cursor(ledger, topic, partition, name) for partition in range(partitions)]
        self.topic = topic
        super().__init__(name, cluster, ledger, seed)

    def lagging(self, ends):
        """The cursors that have not reached their partition's end."""
        return [cursor for cursor in self.cursors if cursor.next_offset < ends[cursor.partition]]


class Subscriber(Reader):
    """A turn is a subscription to all partitions that lasts a while."""

    def turn(self):
        topics = [
            consume_pb2.SubscribeTopic(
                topic={"name": self.topic}, partitions=[cursor.partition], start={"offset": cursor.next_offset}
            )
            for cursor in self.cursors
        ]
        request = consume_pb2.SubscribeRequest(topics=topics)
        if self._random.random() < 0.3:
            request.until_end = True
        try:
            events = self.any_client().consume.Subscribe(request, timeout=self._random.uniform(0.5, STREAM_S_MAX))
            for event in events:
                if event.HasField("batches"):
                    self.cursors[event.batches.partition].take(event.batches)
                elif event.HasField("partition_error"):
                    self.cursors[event.partition_error.partition].refused(event.partition_error.error)
                    events.cancel()
                if self.ending:
                    events.cancel()
        except grpc.RpcError:
            time.sleep(0.05)


class Fetcher(Reader):
    """A turn is one Fetch of some partitions."""

    def turn(self):
        cursors = self._random.sample(self.cursors, self._random.randint(1, len(self.cursors)))
        places = [
            consume_pb2.FetchPartition(
                topic={"name": self.topic}, partition=cursor.partition, start={"offset": cursor.next_offset}
            )
            for cursor in cursors
        ]
        request = consume_pb2.FetchRequest(partitions=places, max_wait_ms=self._random.choice((0, 100, 500)))
        try:
            fetched = self.any_client().consume.Fetch(request, timeout=self._random.choice((1, 5)))
        except grpc.RpcError:
            return time.sleep(0.05)
        for cursor, partition in zip(cursors, fetched.partitions):
            if partition.HasField("error"):
                cursor.refused(partition.error)
            else:
                cursor.take(partition)


class EndAsker(Reader):
    """Asks any node for ends: what was acknowledged before the question is below the answer."""

    def lagging(self, ends):
        return []

    def turn(self):
        partition = self._random.randrange(len(self.cursors))
        known = self._ledger.acknowledged_end(self.topic, partition)
        client = self.any_client()
        item = consume_pb2.ListOffsetsItem(
            topic={"name": self.topic}, partition=partition, position={"last_records": 0}
        )
        try:
            result = client.consume.ListOffsets(consume_pb2.ListOffsetsRequest(items=[item]), timeout=2).results[0]
        except grpc.RpcError as failure:
            error_of(failure)
            return time.sleep(0.05)
        if not result.HasField("error") and result.offsets.high_watermark < known:
            self._ledger.report(
                "stale read",
                f"{self.topic}/{partition}: {client.address} says it ends at {result.offsets.high_watermark} (epoch "
                f"{result.leader_epoch}); {known} was acknowledged before the question",
            )
        time.sleep(self._random.uniform(0, 0.05))
