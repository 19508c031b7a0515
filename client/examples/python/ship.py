#!/usr/bin/python3
"""Ships text files line by line into a topic, each line once.

    ./ship.py --brokers 127.0.0.1:9650,127.0.0.1:9660 /var/log/dpkg.log /var/log/alternatives.log

A record is a line: the key is the file's path (so that a file stays in order, in one partition), the value are the
line's bytes with its newline, the header "line" is its number from 1. The last line of the output is JSON.
"""
import argparse
import json
import sys
import time

from brokers import Brokers, GaveUp
from partitioner import partition_of
from producer import Producer
from flotilla.v1 import records_pb2

BATCH_RECORDS = 500
BATCH_BYTES = 64 * 1024


class Batches:
    """Collects lines per partition and sends them when there are enough."""

    def __init__(self, producer):
        self._producer = producer
        self._records = [[] for _ in range(producer.partition_count)]
        self._bytes = [0] * producer.partition_count

    def add(self, path, number, line):
        key = path.encode("utf-8", "surrogateescape")  # a path is bytes, whatever they mean
        partition = partition_of(key, self._producer.partition_count)
        self._records[partition].append(
            records_pb2.Record(
                key=key,
                value=line,
                headers=[records_pb2.Header(key="line", value=b"%d" % number)],
                timestamp_ms=time.time_ns() // 1_000_000,
            )
        )
        self._bytes[partition] += len(line) + len(key) + 32
        if len(self._records[partition]) >= BATCH_RECORDS or self._bytes[partition] >= BATCH_BYTES:
            self.send(partition)

    def send(self, partition):
        if self._records[partition]:
            self._producer.send(partition, self._records[partition])
        self._records[partition], self._bytes[partition] = [], 0

    def send_all(self):
        for partition in range(len(self._records)):
            self.send(partition)


class Pace:
    """Not more than so many records a second (0: as fast as it goes)."""

    def __init__(self, per_second):
        self._per_second = per_second
        self._started = time.monotonic()

    def ahead_s(self, sent):
        if not self._per_second:
            return 0.0
        return self._started + sent / self._per_second - time.monotonic()


def ship(options):
    total = 0
    for path in options.files:
        with open(path, "rb") as lines:
            total += sum(1 for _ in lines)
    sent = sent_bytes = 0
    reported_at = started = time.monotonic()
    with Brokers(options.brokers, options.patience_s) as brokers, Producer(brokers, options.topic) as producer:
        batches, pace = Batches(producer), Pace(options.records_per_second)
        for path in options.files:
            with open(path, "rb") as lines:
                for number, line in enumerate(lines, start=1):
                    batches.add(path, number, line)
                    sent, sent_bytes = sent + 1, sent_bytes + len(line)
                    if pace.ahead_s(sent) > 0.02:
                        batches.send_all()
                        time.sleep(max(0, pace.ahead_s(sent)))
                    if time.monotonic() - reported_at > 0.5:
                        reported_at = time.monotonic()
                        print(f"acknowledged {producer.acknowledged} of {total} records", file=sys.stderr, flush=True)
        batches.send_all()
        producer.flush()
    print(f"acknowledged {producer.acknowledged} of {total} records", file=sys.stderr)
    return {
        "records": producer.acknowledged,
        "bytes": sent_bytes,
        "seconds": round(time.monotonic() - started, 3),
        "longest_gap_without_ack_ms": round(producer.longest_gap_s * 1000),
        "retries": producer.retries,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", default="127.0.0.1:9650", help="host:port[,host:port...]; the first is used first")
    parser.add_argument("--topic", default="logs")
    parser.add_argument("--records-per-second", type=int, default=0, help="0: as fast as it goes")
    parser.add_argument("--patience-s", type=int, default=120, help="give up after so long without any success")
    parser.add_argument("files", nargs="+")
    try:
        print(json.dumps(ship(parser.parse_args())))
    except (GaveUp, OSError) as problem:
        sys.exit(f"ship.py: {problem}")


if __name__ == "__main__":
    main()
