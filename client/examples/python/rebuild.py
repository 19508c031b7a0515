#!/usr/bin/python3
"""Reads a topic that ship.py filled, puts the files together again and compares them byte by byte with the originals.

    ./rebuild.py --brokers 127.0.0.1:9660 /var/log/dpkg.log /var/log/alternatives.log

The last line of the output is JSON. Exit code 0 only when every line is there once, in order, and nothing else is.
"""
import argparse
import json
import sys
import time

from brokers import Answers, Brokers, GaveUp, StreamFailed, describe
from flotilla.v1 import common_pb2, consume_pb2, consume_pb2_grpc, errors_pb2


class Reader:
    """All records of a topic up to the end that it has now, in the order of each partition."""

    def __init__(self, brokers, topic):
        self._brokers = brokers
        self._topic = common_pb2.TopicRef(name=topic)
        self._next_offsets = {}  # partition: where to go on; those that ended are gone
        self._started = False

    def records(self):
        """Yields the records. When a broker dies it goes on with the next one, where it was."""
        while not self._started or self._next_offsets:
            stub = consume_pb2_grpc.ConsumeServiceStub(self._brokers.channel)
            answers = Answers(self._brokers, stub.Subscribe(self._request()))
            try:
                yield from self._read(answers)
            except EOFError:
                if self._next_offsets:  # not all partitions came to their end
                    self._brokers.failed(
                        errors_pb2.Error(message="the stream ended early", retry=errors_pb2.RETRY_SAFE)
                    )
            except StreamFailed as failure:
                self._brokers.failed(failure.error)
            finally:
                answers.close()

    def _request(self):
        if not self._started:
            topics = [consume_pb2.SubscribeTopic(topic=self._topic)]  # all partitions, from the beginning
        else:
            topics = [
                consume_pb2.SubscribeTopic(
                    topic=self._topic, partitions=[partition], start=common_pb2.StartPosition(offset=offset)
                )
                for partition, offset in sorted(self._next_offsets.items())
            ]
        return consume_pb2.SubscribeRequest(topics=topics, until_end=True)

    def _read(self, answers):
        while True:
            answer = answers.get(timeout_s=1)
            if answer is None:
                continue
            self._brokers.succeeded()
            event = answer.WhichOneof("event")
            if event == "started" and not self._started:
                self._started = True
                self._next_offsets = {place.partition: place.offset for place in answer.started.partitions}
            elif event == "batches":
                yield from self._records_of(answer.batches)
            elif event == "ended":
                self._next_offsets.pop(answer.ended.partition, None)
            elif event == "partition_error":
                raise GaveUp(f"partition {answer.partition_error.partition}: {describe(answer.partition_error.error)}")

    def _records_of(self, fetched):
        begin = self._next_offsets[fetched.partition]
        for batch in fetched.batches:
            for i, record in enumerate(batch.records.records):
                if batch.base_offset + i >= begin:  # the first batch may begin earlier
                    yield record
        self._next_offsets[fetched.partition] = fetched.next_offset


class File:
    """The lines of a file, as they arrive."""

    def __init__(self):
        self.lines = {}
        self.last = 0
        self.duplicated = 0
        self.out_of_order = 0

    def add(self, number, line):
        if number in self.lines:
            self.duplicated += 1
            return
        if number < self.last:
            self.out_of_order += 1
        self.last = max(self.last, number)
        self.lines[number] = line


def rebuild(options):
    started = time.monotonic()
    files = {path.encode("utf-8", "surrogateescape"): File() for path in options.files}
    records = unexpected = 0
    with Brokers(options.brokers, options.patience_s) as brokers:
        for record in Reader(brokers, options.topic).records():
            records += 1
            file = files.get(record.key)
            if file is None:
                unexpected += 1
            else:
                file.add(int(next(header.value for header in record.headers if header.key == "line")), record.value)
    lost = different = 0
    for path, file in files.items():
        with open(path, "rb") as original:
            expected = original.readlines()
        lost += sum(1 for number in range(1, len(expected) + 1) if number not in file.lines)
        if b"".join(file.lines[number] for number in sorted(file.lines)) != b"".join(expected):
            different += 1
            print(
                f"{path.decode(errors='replace')}: {len(file.lines)} of {len(expected)} lines, not the same bytes",
                file=sys.stderr,
            )
    return {
        "records": records,
        "files": len(files),
        "files_different": different,
        "lost": lost,
        "duplicated": sum(file.duplicated for file in files.values()),
        "out_of_order": sum(file.out_of_order for file in files.values()),
        "unexpected": unexpected,
        "seconds": round(time.monotonic() - started, 3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", default="127.0.0.1:9650", help="host:port[,host:port...]; the first is used first")
    parser.add_argument("--topic", default="logs")
    parser.add_argument("--patience-s", type=int, default=120, help="give up after so long without any success")
    parser.add_argument("files", nargs="+")
    try:
        result = rebuild(parser.parse_args())
    except (GaveUp, OSError) as problem:
        sys.exit(f"rebuild.py: {problem}")
    print(json.dumps(result))
    wrong = ("files_different", "lost", "duplicated", "out_of_order", "unexpected")
    sys.exit(1 if any(result[key] for key in wrong) else 0)


if __name__ == "__main__":
    main()
