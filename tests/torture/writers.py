"""Writers: each a thread with connections of its own that writes until it is told to pause or to end, and tells the
ledger what it was told. Each draws the node for each attempt."""
import random
import threading
import time

import grpc

from brokers import Brokers, GaveUp, error_of
from calls import Client, reason_name, text_of
from flotilla.v1 import errors_pb2, produce_pb2, records_pb2
from ledger import nothing_was_applied
from producer import Producer

RECORDS_PER_BATCH_MAX = 10
RECORD_BYTES_MAX = 200
LARGE_RECORD_BYTES = 100_000
PAUSE_S_MAX = 0.03  # between batches: a steady load and not the machine's limit
CALL_TIMEOUTS_S = (0.5, 2, 5)
# No idempotent writer has to wait longer for an acknowledgement, whatever is done to the nodes.
STUCK_AFTER_S = 120


class Violation(Exception):
    """Ends a worker that cannot go on; `kind` as in the ledger."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


class Worker:
    """A thread that works turn by turn. Pausing waits for the end of a turn."""

    def __init__(self, name, cluster, ledger, seed):
        self.name = name
        self._ledger = ledger
        self._random = random.Random(seed)
        self._cluster = cluster
        self._clients = {}  # by address
        self._going = threading.Event()
        self._ending = threading.Event()
        self._resting = threading.Event()
        self._resting.set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def resume(self):
        self._resting.clear()
        self._going.set()

    def pause(self):
        """Asks for it; is_resting tells when it is so."""
        self._going.clear()

    @property
    def is_resting(self):
        return self._resting.is_set()

    @property
    def ending(self):
        return self._ending.is_set()

    def abandon(self):
        """Asks it to end; whatever it meets from now on is no anomaly."""
        self._ending.set()
        self._going.set()

    def end(self):
        self.abandon()
        self._thread.join(timeout=30)
        for client in self._clients.values():
            client.close()

    def any_client(self):
        address = self._random.choice(self._cluster.nodes).address
        if address not in self._clients:
            self._clients[address] = Client(address)
        return self._clients[address]

    def has_left(self, client):
        """Its node is in the cluster no more."""
        return client.address not in [node.address for node in self._cluster.nodes]

    def _run(self):
        try:
            while True:
                if not self._going.is_set():
                    self.before_rest()
                    self._resting.set()
                    self._going.wait()
                if self.ending:
                    return
                self.turn()
        except Violation as violation:
            if not self.ending:
                self._ledger.report(violation.kind, f"{self.name}: {violation}")
        except Exception as problem:  # whatever it is, the round has to tell it
            if not self.ending:
                self._ledger.report("broken worker", f"{self.name}: {type(problem).__name__}: {problem}")
        finally:
            self.after_last_turn()
            self._resting.set()

    def turn(self):
        raise NotImplementedError

    def before_rest(self):
        """What has to be finished before a pause."""

    def after_last_turn(self):
        """What has to be closed."""


class Writer(Worker):
    IDEMPOTENT = True

    def __init__(self, cluster, ledger, seed, topic, partitions):
        self.topic = topic
        self.partitions = partitions
        self.writer = ledger.new_writer(type(self).__name__, self.IDEMPOTENT)
        self._next_number = 0
        super().__init__(f"{type(self).__name__} {self.writer.number} of {topic}", cluster, ledger, seed)

    def new_batch(self, partition):
        """A Batch and its records."""
        batch = self._ledger.begin(
            self.writer, self._next_number, self.topic, partition, self._random.randint(1, RECORDS_PER_BATCH_MAX)
        )
        self._next_number += 1
        large = self._random.random() < 0.01
        values = batch.values(LARGE_RECORD_BYTES if large else self._random.randrange(RECORD_BYTES_MAX))
        return batch, [records_pb2.Record(value=value) for value in values]

    def breathe(self):
        time.sleep(self._random.uniform(0, PAUSE_S_MAX))

    def attempt(self, batch, request):
        """One call. Placements when it was acknowledged, else the Error."""
        client = self.any_client()
        try:
            response = client.produce.Produce(request, timeout=self._random.choice(CALL_TIMEOUTS_S))
        except grpc.RpcError as failure:
            error = error_of(failure)
            batch.told(client.address, f"{failure.code().name} {_short(error)}")
            return error
        result = response.results[0]
        if result.HasField("error"):
            batch.told(client.address, _short(result.error))
            return result.error
        placements = [(p.partition, p.base_offset, p.record_count) for p in result.placements]
        batch.told(client.address, f"{'duplicate' if result.placements[0].deduplicated else 'appended'} {placements}")
        return placements

    def new_producer(self):
        """InitProducerResponse."""
        while True:
            try:
                request = produce_pb2.InitProducerRequest(topic={"name": self.topic})
                return self.any_client().produce.InitProducer(request, timeout=3)
            except grpc.RpcError as failure:
                if self.ending or error_of(failure).retry == errors_pb2.RETRY_NEVER:
                    raise
                time.sleep(0.05)

    def repeat_until_acknowledged(self, batch, request):
        deadline = time.monotonic() + STUCK_AFTER_S
        while not self.ending:
            answer = self.attempt(batch, request)
            if isinstance(answer, list):
                return self._ledger.acknowledge(batch, answer)
            if answer.retry == errors_pb2.RETRY_NEVER:
                raise Violation("refused sequence", f"sent in order, and: {text_of(answer)}: {batch}")
            if time.monotonic() > deadline:
                raise Violation("stuck", f"no acknowledgement for {STUCK_AFTER_S} s: {batch}")
            time.sleep(0.05)


def _short(error):
    return f"{reason_name(error) if error.reason else 'no reason'}: {error.message[:100]}"


class IdempotentWriter(Writer):
    """Counts per partition; one call at a time, sent again to any node until it is answered."""

    def turn(self):
        if self._next_number == 0:
            self._who = self.new_producer()
            self._next_sequence = [0] * self.partitions
        partition = self._random.randrange(self.partitions)
        batch, records = self.new_batch(partition)
        content = records_pb2.RecordBatch(
            records={"records": records},
            producer_id=self._who.producer_id,
            producer_epoch=self._who.producer_epoch,
            base_sequence=self._next_sequence[partition],
        )
        self._next_sequence[partition] += batch.count
        item = produce_pb2.ProduceItem(partition=partition, batch=content)
        self.repeat_until_acknowledged(batch, produce_pb2.ProduceRequest(topic={"name": self.topic}, items=[item]))
        self.breathe()


class TopicSequenceWriter(Writer):
    """Counts per topic and leaves the choice of partitions to the broker; half of its items are spread by keys."""

    def turn(self):
        if self._next_number == 0:
            self._who = self.new_producer()
            self._next_sequence = 0
        batch, records = self.new_batch(None)
        if self._random.random() < 0.5:
            for record in records:
                record.key = b"%d" % self._random.randrange(100)
        content = records_pb2.RecordBatch(
            records={"records": records},
            producer_id=self._who.producer_id,
            producer_epoch=self._who.producer_epoch,
            base_sequence=self._next_sequence,
        )
        self._next_sequence += batch.count
        request = produce_pb2.ProduceRequest(
            topic={"name": self.topic},
            items=[produce_pb2.ProduceItem(batch=content)],
            partition_count=self._who.partition_count,
        )
        self.repeat_until_acknowledged(batch, request)
        self.breathe()


class StreamWriter(Writer):
    """A ProduceStream with up to 5 batches of each partition on their way: the producer of the examples."""

    _brokers = None
    _producer = None

    def turn(self):
        if self._next_number == 0:
            order = [node.address for node in self._cluster.nodes]
            self._random.shuffle(order)
            self._unanswered = {}  # the first value of a batch: the batch
            self._brokers = Brokers(",".join(order), STUCK_AFTER_S)
            self._producer = Producer(self._brokers, self.topic, self._acknowledged)
        batch, records = self.new_batch(self._random.randrange(self.partitions))
        self._unanswered[records[0].value] = batch
        self._or_violation(self._producer.send, batch.partition, records)
        self.breathe()

    def before_rest(self):
        if self._next_number:
            self._or_violation(self._producer.flush)

    def after_last_turn(self):
        if self._producer is not None:
            self._producer.close()
        if self._brokers is not None:
            self._brokers.close()

    def _or_violation(self, step, *arguments):
        try:
            step(*arguments)
        except GaveUp as problem:
            first = next(iter(self._unanswered.values()), None)
            raise Violation("refused sequence", f"{problem}; the oldest one without an answer: {first}") from None

    def _acknowledged(self, partition, records, base_offset):
        batch = self._unanswered.pop(records[0].value)
        batch.told("stream", f"at {base_offset}")
        self._ledger.acknowledge(batch, [(partition, base_offset, len(records))])


class PlainWriter(Writer):
    """No producer id: each record is sent once, and what has no clear answer stays open."""

    IDEMPOTENT = False

    def turn(self):
        batch, records = self.new_batch(self._random.randrange(self.partitions))
        content = records_pb2.RecordBatch(records={"records": records})
        self.send_once(batch, produce_pb2.ProduceItem(partition=batch.partition, batch=content))
        self.breathe()

    def send_once(self, batch, item):
        answer = self.attempt(batch, produce_pb2.ProduceRequest(topic={"name": self.topic}, items=[item]))
        if isinstance(answer, list):
            self._ledger.acknowledge(batch, answer)
        elif nothing_was_applied(answer):
            self._ledger.refuse(batch)
        return answer


class ConditionalWriter(PlainWriter):
    """Appends only at the end that it knows of; the others move it all the time."""

    def turn(self):
        if self._next_number == 0:
            self._end = [0] * self.partitions
        partition = self._random.randrange(self.partitions)
        expected = self._end[partition] = max(
            self._end[partition], self._ledger.acknowledged_end(self.topic, partition)
        )
        batch, records = self.new_batch(partition)
        content = records_pb2.RecordBatch(records={"records": records})
        item = produce_pb2.ProduceItem(partition=partition, batch=content, expected_next_offset=expected)
        answer = self.send_once(batch, item)
        if isinstance(answer, list):
            if answer[0][1] != expected:
                self._ledger.report("outcome honesty", f"wanted offset {expected} and nothing else: {batch}")
        elif answer.reason == errors_pb2.ERROR_REASON_OFFSET_MISMATCH:
            actual = int(answer.metadata["actual"])
            if actual == expected:
                self._ledger.report(
                    "outcome honesty", f"refused at the offset it asked for: {batch}, {text_of(answer)}"
                )
            self._end[partition] = actual
        self.breathe()
