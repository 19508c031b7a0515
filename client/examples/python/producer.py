"""A producer that loses nothing and repeats nothing, whichever brokers die: the part of ship.py to copy.

    with Brokers("127.0.0.1:9650") as brokers, Producer(brokers, "logs") as producer:
        producer.send(partition, [Record(key=b"k", value=b"v"), ...])

How it works (the comment of ProduceService is the contract):
  - InitProducer gives an id; with it every batch carries the number of its first record, counted per partition.
  - Up to 5 batches of a partition are on their way; more than that a partition does not remember.
  - When the stream ends, or an answer is an error that may pass, a new stream is opened to the next broker, and all
    that is not acknowledged is sent again, in order and unchanged. What had been appended before is answered as
    `deduplicated`.
    A broker that is frozen counts as a stream that ended (Answers notices).
"""
import queue
import time
import uuid
from collections import deque

from brokers import Answers, GaveUp, StreamFailed
from flotilla.v1 import common_pb2, errors_pb2, produce_pb2, produce_pb2_grpc, records_pb2

UNANSWERED_PER_PARTITION = 5


class Producer:
    def __init__(self, brokers, topic, on_acknowledged=None):
        """on_acknowledged(partition, records, base_offset) is called for each batch, in the order of its partition."""
        self._brokers = brokers
        self._on_acknowledged = on_acknowledged
        self._topic = common_pb2.TopicRef(name=topic)
        # The request_id makes a repeated call give the same id.
        who = brokers.call(
            lambda channel: produce_pb2_grpc.ProduceServiceStub(channel).InitProducer,
            produce_pb2.InitProducerRequest(topic=self._topic, request_id=str(uuid.uuid4())),
        )
        self.id, self._epoch, self.partition_count = who.producer_id, who.producer_epoch, who.partition_count
        self._next_sequence = [0] * self.partition_count
        self._unanswered = [deque() for _ in range(self.partition_count)]  # requests in their order
        self._last_correlation_id = 0
        self._answers = None
        self._requests = None
        self.acknowledged = 0  # records
        self.retries = 0  # batches that were sent again
        self.longest_gap_s = 0.0  # without an acknowledgement although one was due
        self._acknowledged_at = None

    def send(self, partition, records):
        """Sends one batch. Waits only while 5 batches of the partition are unanswered. GaveUp: it cannot be sent."""
        unanswered = self._unanswered[partition]
        while len(unanswered) >= UNANSWERED_PER_PARTITION:
            self._step(timeout_s=1)
        if self.idle:
            self._acknowledged_at = time.monotonic()
        batch = records_pb2.RecordBatch(
            records=records_pb2.RecordSet(records=records),
            producer_id=self.id,
            producer_epoch=self._epoch,
            base_sequence=self._next_sequence[partition],
        )
        self._last_correlation_id += 1
        request = produce_pb2.ProduceStreamRequest(
            correlation_id=self._last_correlation_id,
            request=produce_pb2.ProduceRequest(
                topic=self._topic, items=[produce_pb2.ProduceItem(partition=partition, batch=batch)]
            ),
        )
        self._next_sequence[partition] += len(records)
        unanswered.append(request)
        if self._answers is None:
            self._open()  # sends it too
        else:
            self._requests.put(request)
        self._step(timeout_s=0)

    @property
    def idle(self):
        return not any(self._unanswered)

    def flush(self):
        """Waits until everything is acknowledged."""
        while not self.idle:
            self._step(timeout_s=1)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.flush()
        self.close()

    def close(self):
        """Ends the stream, whatever is unanswered."""
        if self._answers is None:
            return
        self._requests.put(None)
        self._answers.close()
        self._answers = None

    def _open(self):
        """A new stream, and on it all that is unanswered."""
        self._requests = queue.SimpleQueue()
        for unanswered in self._unanswered:
            for request in unanswered:
                self._requests.put(request)
        stub = produce_pb2_grpc.ProduceServiceStub(self._brokers.channel)
        self._answers = Answers(self._brokers, stub.ProduceStream(iter(self._requests.get, None)))  # None ends it

    def _step(self, timeout_s):
        """Deals with an answer, if one comes in time."""
        if self._answers is None:
            self._open()
        try:
            answer = self._answers.get(timeout_s)
        except EOFError:
            return self._begin_anew(errors_pb2.Error(message="the stream ended", retry=errors_pb2.RETRY_SAFE))
        except StreamFailed as failure:
            return self._begin_anew(failure.error)
        if answer is None or answer.HasField("heartbeat"):
            return
        error = answer.error if answer.HasField("error") else answer.response.results[0].error
        if error.code != 0:
            # The batches behind it in this partition will be refused as OUT_OF_ORDER. Nobody has to look at that: all
            # of them are sent again.
            return self._begin_anew(error)
        self._acknowledge(answer)

    def _begin_anew(self, error):
        self.close()
        self.retries += sum(len(unanswered) for unanswered in self._unanswered)
        self._brokers.failed(error)
        self._open()

    def _acknowledge(self, answer):
        for unanswered in self._unanswered:
            # Answers to one partition come in the order of its requests.
            if unanswered and unanswered[0].correlation_id == answer.correlation_id:
                item = unanswered.popleft().request.items[0]
                break
        else:
            raise GaveUp(f"the broker answered request {answer.correlation_id} out of order")
        records = item.batch.records.records
        self.acknowledged += len(records)
        now = time.monotonic()
        self.longest_gap_s = max(self.longest_gap_s, now - self._acknowledged_at)
        self._acknowledged_at = now
        self._brokers.succeeded()
        if self._on_acknowledged is not None:
            self._on_acknowledged(item.partition, records, answer.response.results[0].placements[0].base_offset)
