"""Holds what is read in the end against the ledger. Names of anomalies are those of Jepsen's Kafka workload.

  lost write          acknowledged, and not at the offset that was told, or not there at all
  lost read           a reader had it, and it is not there any more
  aborted read        it is there although every attempt was answered with "nothing was applied"
  divergent value     two readers saw different records at one offset (reported by the ledger)
  duplicate           a record is there twice
  poll skip, nonmonotonic poll   a reader left records out or went back (reported by readers)
  write order         a producer's records in another order than sent, or one left out; a call that began after
                      another had been acknowledged stands before it
  gap                 offsets that do not follow each other, epochs that fall, a torn batch
  unseen write        a record that nobody sent
"""
from collections import namedtuple

from ledger import Anomaly, identity_of

# A partition, read from its start to its end. records: [(offset, value, leader_epoch), ...]
# What readers had up to the offset `had` was there when the end was asked for; a call that was given up long before may still add
# to it afterwards. None: all that readers had.
Reading = namedtuple("Reading", "topic partition log_start end records had", defaults=(None,))
# Of each partition; more do not tell more.
ANOMALIES_PER_PARTITION = 8


def check(ledger, readings):
    found = []
    for reading in readings:
        found += _Partition(ledger, reading).check()[:ANOMALIES_PER_PARTITION]
    return found


class _Partition:
    def __init__(self, ledger, reading):
        self._ledger = ledger
        self._reading = reading
        self._name = f"{reading.topic}/{reading.partition}"
        self._at = {offset: identity_of(value) for offset, value, _ in reading.records}
        self._found = []

    def check(self):
        self._offsets()
        self._known_and_once()
        self._acknowledged_is_there()
        self._read_is_there()
        self._order_of_writers()
        self._order_of_time()
        return self._found

    def _report(self, kind, text):
        self._found.append(Anomaly(kind, f"{self._name} {text}"))

    def _batch(self, identity):
        return self._ledger.batches.get(identity[:2]) if identity else None

    def _offsets(self):
        reading = self._reading
        asked = self._ledger.trim_asked(reading.topic, reading.partition)
        if reading.log_start > asked:
            self._report("lost write", f"begins at {reading.log_start}; it was trimmed up to {asked} at most")
        expected, epoch = reading.log_start, 0
        for offset, _, leader_epoch in reading.records:
            if offset != expected:
                return self._report("gap", f"offset {offset} where {expected} comes next")
            if leader_epoch < epoch:
                self._report("gap", f"offset {offset} is of epoch {leader_epoch}, the one before of epoch {epoch}")
            expected, epoch = offset + 1, leader_epoch
        if expected != reading.end:
            self._report("gap", f"is read up to {expected}; its end is {reading.end}")

    def _known_and_once(self):
        first = {}
        for offset, value, _ in self._reading.records:
            identity = self._at[offset]
            batch = self._batch(identity)
            if batch is None or identity[2] >= batch.count or batch.topic != self._reading.topic:
                self._report("unseen write", f"offset {offset}: nobody sent {value[:60]!r} here")
                continue
            if batch.partition not in (None, self._reading.partition):
                self._report("unseen write", f"offset {offset}: meant for another partition, {batch}")
            if batch.refused:
                self._report("aborted read", f"offset {offset}: record {identity[2]} of {batch}")
            if identity in first:
                self._report("duplicate", f"offsets {first[identity]} and {offset}: record {identity[2]} of {batch}")
            first.setdefault(identity, offset)

    def _acknowledged_is_there(self):
        for batch in list(self._ledger.batches.values()):
            if batch.topic != self._reading.topic:
                continue
            for partition, base_offset, count in batch.placements:
                if partition == self._reading.partition:
                    self._acknowledged_batch_is_there(batch, base_offset, count)

    def _acknowledged_batch_is_there(self, batch, base_offset, count):
        last_index = -1
        for offset in range(max(base_offset, self._reading.log_start), base_offset + count):
            identity = self._at.get(offset)
            if self._batch(identity) is not batch:
                what = "nothing" if offset not in self._at else self._ledger.describe(identity)
                return self._report("lost write", f"offset {offset}: {batch}; there is {what}")
            if identity[2] <= last_index or (batch.partition is not None and identity[2] != offset - base_offset):
                return self._report("write order", f"offset {offset}: record {identity[2]} is misplaced in {batch}")
            last_index = identity[2]

    def _read_is_there(self):
        reading = self._reading
        for offset, identity in self._ledger.seen(reading.topic, reading.partition).items():
            if reading.had is not None and offset >= max(reading.had, reading.end):
                continue  # it is read the next time
            if offset >= reading.log_start and self._at.get(offset) != identity:
                there = self._at.get(offset)
                what = "nothing" if offset not in self._at else self._ledger.describe(there)
                self._report(
                    "lost read", f"offset {offset}: read was {self._ledger.describe(identity)}; there is {what}"
                )

    def _order_of_writers(self):
        last = {}  # writer: (batch, index)
        for offset, _, _ in self._reading.records:
            identity = self._at[offset]
            batch = self._batch(identity)
            if batch is None:
                continue
            writer, number, index = identity
            before = last.get(writer)
            last[writer] = (number, index)
            if index > 0 and batch.partition is not None and before != (number, index - 1) and before is not None:
                self._report("gap", f"offset {offset}: torn, record {index} without the one before, {batch}")
            if not batch.writer.idempotent or before is None:
                continue
            if before >= (number, index):
                self._report(
                    "write order",
                    f"offset {offset}: {batch}, record {index}, after batch {before[0]} record {before[1]}",
                )
            elif batch.partition is not None and index == 0 and batch.previous and batch.previous.number != before[0]:
                self._report("write order", f"offset {offset}: {batch}; left out before it: {batch.previous}")

    def _order_of_time(self):
        """Backwards: of all that stands behind, what was acknowledged first."""
        earliest = None
        for offset, _, _ in reversed(self._reading.records):
            batch = self._batch(self._at[offset])
            if batch is None:
                continue
            if earliest is not None and earliest.answered < batch.invoked:
                return self._report(
                    "write order",
                    f"offset {offset}: {batch}; it stands before what was acknowledged before it was sent: {earliest}",
                )
            if batch.answered is not None and (earliest is None or batch.answered < earliest.answered):
                earliest = batch
