"""What every writer sent, what it was told, and what every reader saw: all that the checker needs, told by any thread.

A record's value names its writer, batch and place in the batch, so that every record that is read can be traced:

    b"3 41 0 ...."      writer 3, its batch 41, the first record of it

Times are of one monotonic clock of this process: `answered < invoked` of two calls means that one ended before the
other began.
"""
import threading
import time
from dataclasses import dataclass, field

from flotilla.v1 import errors_pb2

# Of the attempts at one batch: the first ones and the last ones tell the story.
ATTEMPTS_KEPT = 12


@dataclass(frozen=True)
class Anomaly:
    """Something that must not be. `kind` is a name of Jepsen's Kafka workload where it has one."""

    kind: str
    text: str

    def __str__(self):
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True)
class Writer:
    number: int
    kind: str
    idempotent: bool  # sends again until there is an answer; else each record is sent in one call


@dataclass
class Batch:
    writer: Writer
    number: int
    topic: str
    partition: int  # None: the broker chose
    count: int
    previous: "Batch"  # of this writer in this partition
    invoked: float
    answered: float = None  # when it was acknowledged
    placements: tuple = ()  # (partition, base_offset, count), as told with the acknowledgement
    refused: bool = False  # every attempt was answered with "nothing was applied"
    attempts: list = field(default_factory=list)  # (time, node, what it said)

    def told(self, node, what):
        if len(self.attempts) >= ATTEMPTS_KEPT:
            del self.attempts[ATTEMPTS_KEPT // 2]
        self.attempts.append((time.monotonic(), node, what))

    def values(self, size):
        return [b"%d %d %d " % (self.writer.number, self.number, i) + b"." * size for i in range(self.count)]

    def __str__(self):
        told = "; ".join(f"+{when - self.invoked:.3f} s {node}: {what}" for when, node, what in self.attempts)
        return (
            f"writer {self.writer.number} ({self.writer.kind}), batch {self.number} of {self.count} to "
            f"{self.topic}/{'any' if self.partition is None else self.partition}, sent at {self.invoked:.3f}, told: "
            f"{told or 'nothing'}{'; acknowledged at %s' % (self.placements,) if self.placements else ''}"
        )


def identity_of(value):
    """(writer, batch, index) of a record's value; None: not one of ours."""
    try:
        writer, batch, index, _ = value.split(b" ", 3)
        return int(writer), int(batch), int(index)
    except ValueError:
        return None


def nothing_was_applied(error):
    """Whether an Error promises that: RETRY_SAFE and RETRY_NEVER do."""
    return error.retry in (errors_pb2.RETRY_SAFE, errors_pb2.RETRY_NEVER)


class Ledger:
    def __init__(self):
        self._lock = threading.Lock()
        self.writers = {}
        self.batches = {}  # (writer, number): Batch
        self._last_of = {}  # (writer, partition): Batch
        self._seen = {}  # (topic, partition): {offset: identity}
        self._acknowledged_end = {}  # (topic, partition): one past the largest offset that was told
        self._trim_asked = {}  # (topic, partition): the largest before_offset of any call
        self._acknowledged_at = {}  # (topic, partition): time
        self._anomalies = []
        self._of_interval = []  # batches
        self.acknowledged = 0  # records
        self.longest_gap_s = 0.0

    # ---- Writers

    def new_writer(self, kind, idempotent):
        with self._lock:
            writer = Writer(len(self.writers) + 1, kind, idempotent)
            self.writers[writer.number] = writer
            return writer

    def begin(self, writer, number, topic, partition, count):
        """A batch is about to be sent for the first time."""
        with self._lock:
            batch = Batch(
                writer, number, topic, partition, count, self._last_of.get((writer, partition)), time.monotonic()
            )
            self.batches[writer.number, number] = batch
            self._last_of[writer, partition] = batch
            self._of_interval.append(batch)
            return batch

    def acknowledge(self, batch, placements):
        now = time.monotonic()
        with self._lock:
            batch.answered = now
            batch.placements = tuple(placements)
            self.acknowledged += batch.count
            for partition, base_offset, count in placements:
                place = batch.topic, partition
                self._acknowledged_end[place] = max(self._acknowledged_end.get(place, 0), base_offset + count)
                self.longest_gap_s = max(self.longest_gap_s, now - self._acknowledged_at.get(place, now))
                self._acknowledged_at[place] = now

    def refuse(self, batch):
        with self._lock:
            batch.refused = True

    def begin_interval(self):
        """From here on gaps without an acknowledgement are measured, and outcomes are counted."""
        with self._lock:
            self._of_interval = []
            self.longest_gap_s = 0.0
            now = time.monotonic()
            self._acknowledged_at = {place: now for place in self._acknowledged_at}

    def end_interval(self):
        """The longest time in which a partition acknowledged nothing, seconds."""
        with self._lock:
            now = time.monotonic()
            return max([self.longest_gap_s] + [now - at for at in self._acknowledged_at.values()])

    def outcomes(self):
        """Batches begun in the interval: acknowledged, refused, and of which nobody knows. When all writers rest."""
        with self._lock:
            ok = sum(batch.answered is not None for batch in self._of_interval)
            failed = sum(batch.refused for batch in self._of_interval)
            return ok, failed, len(self._of_interval) - ok - failed

    # ---- Trims

    def will_trim(self, topic, partition, before_offset):
        with self._lock:
            place = topic, partition
            self._trim_asked[place] = max(self._trim_asked.get(place, 0), before_offset)

    def trim_asked(self, topic, partition):
        with self._lock:
            return self._trim_asked.get((topic, partition), 0)

    # ---- Readers

    def acknowledged_end(self, topic, partition):
        with self._lock:
            return self._acknowledged_end.get((topic, partition), 0)

    def saw(self, topic, partition, offset, value, who):
        """A reader was given this record. Divergent: another one was given something else there."""
        identity = identity_of(value) or value[:60]
        with self._lock:
            before = self._seen.setdefault((topic, partition), {}).setdefault(offset, identity)
        if before != identity:
            self.report(
                "divergent value",
                f"{topic}/{partition} offset {offset}: {who} read {self.describe(identity)}; before that somebody read "
                f"{self.describe(before)}",
            )

    def seen(self, topic, partition):
        with self._lock:
            return dict(self._seen.get((topic, partition), {}))

    def seen_end(self, topic, partition):
        """One past the largest offset that a reader had."""
        with self._lock:
            return max(self._seen.get((topic, partition), ()), default=-1) + 1

    # ---- Anomalies

    def report(self, kind, text):
        with self._lock:
            self._anomalies.append(Anomaly(kind, f"{text} [at {time.monotonic():.3f}]"))

    @property
    def anomalies(self):
        with self._lock:
            return list(self._anomalies)

    def describe(self, identity):
        if isinstance(identity, tuple) and identity[:2] in self.batches:
            return f"record {identity[2]} of {self.batches[identity[:2]]}"
        return f"{identity!r}, which nobody sent"
