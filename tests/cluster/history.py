"""What producers sent and were told, and whether what is read fits to it.

Each record says who sent it and which one of his it is, so that every record that is read can be traced. What has to
hold of idempotent producers, however often they sent again and whatever failed meanwhile:

  dense        offsets of a partition follow each other without a gap
  no loss      a record that was acknowledged is there, at the offset that was told
  once         no record is there twice
  order        a producer's records of a partition are there in the order of sending, none left out
  nothing new  no record is there that nobody sent
"""
import threading
from collections import defaultdict


def value_of(producer, partition, number, size=100):
    return f"{producer}/{partition}/{number} ".encode().ljust(size, b".")


def _parse(value):
    try:
        producer, partition, number = value.split(b" ", 1)[0].split(b"/")
        return int(producer), int(partition), int(number)
    except ValueError:
        return None


class History:
    """Told by any thread."""

    def __init__(self):
        self._lock = threading.Lock()
        self._sent = defaultdict(int)  # (producer, partition): how many
        self._acknowledged = {}  # (producer, partition, number): offset

    def on_sent(self, producer, partition, count):
        with self._lock:
            self._sent[producer, partition] += count

    def on_acknowledged(self, partition, values, base_offset):
        with self._lock:
            for i, value in enumerate(values):
                producer, told, number = _parse(value)
                assert told == partition, f"the answer of partition {partition} is about {value!r}"
                self._acknowledged[producer, partition, number] = base_offset + i

    @property
    def acknowledged(self):
        with self._lock:
            return len(self._acknowledged)

    def violations(self, read):
        """`read` is {partition: [(offset, value), ...]} in the order of reading. At most a few lines per rule."""
        found = []
        for partition, records in sorted(read.items()):
            found += self._of_partition(partition, records)
        present = {(_parse(value), offset) for records in read.values() for offset, value in records}
        with self._lock:
            lost = [key for key, offset in self._acknowledged.items() if (key, offset) not in present]
        found += [
            f"acknowledged and not there at offset {self._acknowledged[key]}: producer {key[0]}, partition {key[1]}, "
            f"number {key[2]}"
            for key in sorted(lost)[:5]
        ]
        if len(lost) > 5:
            found.append(f"... {len(lost)} in all")
        return found

    def _of_partition(self, partition, records):
        found = []
        next_number = defaultdict(int)
        for at, (offset, value) in enumerate(records):
            if offset != at:
                found.append(f"partition {partition}: offset {offset} where {at} comes next")
                break
        for offset, value in records:
            who = _parse(value)
            if who is None or who[1] != partition or who[2] >= self._sent[who[0], partition]:
                found.append(f"partition {partition}, offset {offset}: nobody sent {value[:40]!r}")
                continue
            producer, _, number = who
            expected = next_number[producer]
            if number != expected:
                what = "twice or out of order" if number < expected else "after a gap"
                found.append(
                    f"partition {partition}, offset {offset}: producer {producer} has number {number} {what}, "
                    f"{expected} comes next"
                )
            next_number[producer] = max(expected, number + 1)
            if len(found) > 8:
                return found + ["..."]
        return found
