"""The Python examples do what they promise, against a broker that breaks on purpose.

    PYTHONPATH=STUBS:client/examples/python /usr/bin/python3 tests/examples/python_examples_test.py
"""
import gc
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import unittest.mock
import weakref

import grpc
import partitioner
from brokers import Answers, Brokers, StreamFailed
from fake_broker import FakeCluster
from flotilla.v1 import consume_pb2, consume_pb2_grpc, produce_pb2_grpc, records_pb2

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "client" / "examples" / "python"


class PartitionerTest(unittest.TestCase):
    def test_it_agrees_with_the_vectors_of_records_proto(self):
        vectors = [
            ("", 275646681, 0, 9, 81),
            ("21", -973932308, 0, 0, 40),
            ("abc", 479470107, 0, 3, 7),
            ("foobar", -790332482, 0, 6, 66),
            ("a-little-bit-long-string", -985981536, 2, 8, 12),
            ("a-little-bit-longer-string", -1486304829, 2, 11, 19),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971, 2, 5, 77),
            ("café", -1358007374, 0, 6, 74),
        ]
        for key, signed, of_3, of_12, of_100 in vectors:
            data = key.encode()
            self.assertEqual(partitioner.murmur2(data), signed & 0xFFFFFFFF, key)
            self.assertEqual([partitioner.partition_of(data, n) for n in (3, 12, 100)], [of_3, of_12, of_100], key)


class AnswersTest(unittest.TestCase):
    def setUp(self):
        self.cluster = FakeCluster()
        self.addCleanup(self.cluster.stop)
        self.cluster.partitions[0].append(records_pb2.RecordBatch(records={"records": [{"value": b"v"}]}))
        self.brokers = Brokers(",".join(self.cluster.addresses))
        self.addCleanup(self.brokers.close)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def check_nothing_is_left(self, call, read):
        """`call` is the only reference to a stream; `read` deals with its Answers.

        A call that is still there when the program ends may hang it for ever: see Answers.close.
        """
        alive = weakref.ref(call)
        answers = Answers(self.brokers, call)
        del call
        read(answers)
        self.assertIsNotNone(alive())
        answers.close()
        self.assertIsNone(alive())

    def subscribe(self):
        return consume_pb2_grpc.ConsumeServiceStub(self.brokers.channel).Subscribe(
            consume_pb2.SubscribeRequest(topics=[consume_pb2.SubscribeTopic(topic={"name": "logs"})])
        )

    def test_nothing_is_left_of_a_stream_that_was_read_to_its_end(self):
        def read(answers):
            with self.assertRaises(EOFError):
                while True:
                    answers.get(1)

        self.check_nothing_is_left(self.subscribe(), read)

    def test_nothing_is_left_of_a_stream_that_nobody_read(self):
        self.check_nothing_is_left(self.subscribe(), lambda answers: None)

    def test_nothing_is_left_of_a_stream_on_which_nothing_happens(self):
        never = threading.Event()
        self.addCleanup(never.set)

        def requests():
            never.wait()
            yield from ()

        self.check_nothing_is_left(
            produce_pb2_grpc.ProduceServiceStub(self.brokers.channel).ProduceStream(requests()),
            lambda answers: self.assertIsNone(answers.get(0.1)),
        )

    def test_nothing_is_left_of_a_stream_that_failed(self):
        def read(answers):
            with self.assertRaises(StreamFailed) as failed:
                while True:
                    answers.get(1)
            self.assertIn("on purpose", failed.exception.error.message)

        self.cluster.break_one_in = 1
        self.check_nothing_is_left(self.subscribe(), read)


    def subscribe_to_silence(self):
        """Answers of a subscription that does not go on after its first event."""
        self.enterContext(unittest.mock.patch("brokers.QUIET_S", 0.3))
        self.cluster.flowing.clear()
        answers = Answers(self.brokers, self.subscribe())
        self.addCleanup(answers.close)
        self.addCleanup(self.cluster.stop)  # lets go whoever waits
        self.assertTrue(answers.get(5).HasField("started"))
        return answers

    def test_a_broker_that_is_frozen_is_noticed(self):
        answers = self.subscribe_to_silence()
        self.cluster.awake.clear()
        began = time.monotonic()
        with self.assertRaises(StreamFailed) as failed:
            while time.monotonic() - began < 10:
                self.assertIsNone(answers.get(0.1))
        self.assertEqual(failed.exception.error.code, grpc.StatusCode.DEADLINE_EXCEEDED.value[0])

    def test_a_stream_on_which_nothing_happens_goes_on_while_its_broker_is_there(self):
        answers = self.subscribe_to_silence()
        while self.cluster.asked < 3:
            self.assertIsNone(answers.get(0.1))
        self.cluster.flowing.set()
        self.assertEqual(answers.get(5).batches.next_offset, 1)


class ExamplesTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="flotilla_examples_")
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        (self.directory / "empty").write_bytes(b"")
        (self.directory / "no newline").write_bytes(b"one\ntwo")
        (self.directory / "bytes").write_bytes(bytes(range(256)) * 20 + b"\r\n\n\n")
        for i in range(5):
            (self.directory / f"file {i}").write_bytes(b"".join(b"line %d of %d\n" % (n, i) for n in range(1500)))
        self.files = sorted(path.name for path in self.directory.iterdir())

    def start(self, **options):
        cluster = FakeCluster(**options)
        self.addCleanup(cluster.stop)
        return cluster

    def run_example(self, name, *arguments):
        done = subprocess.run(
            [sys.executable, EXAMPLES / name, *arguments],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=50,
            env=os.environ,
            check=False,
        )
        return done

    def ship(self, cluster, *options):
        done = self.run_example("ship.py", "--brokers", ",".join(cluster.addresses), *options, *self.files)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    def rebuild(self, cluster):
        done = self.run_example("rebuild.py", "--brokers", ",".join(cluster.addresses), *self.files)
        self.assertTrue(done.stdout, done.stderr)
        return done.returncode, json.loads(done.stdout.splitlines()[-1])

    def test_files_are_shipped_and_rebuilt(self):
        cluster = self.start()
        cluster.heartbeats = True
        shipped = self.ship(cluster)
        lines = (self.directory / "bytes").read_bytes().count(b"\n")
        self.assertEqual(shipped["records"], 7500 + 2 + lines)
        self.assertEqual(shipped["retries"], 0)
        code, rebuilt = self.rebuild(cluster)
        self.assertEqual(code, 0, rebuilt)
        self.assertEqual(rebuilt["records"], shipped["records"])

    def test_nothing_is_lost_or_repeated_although_the_brokers_break(self):
        for seed in (1, 2, 3):
            with self.subTest(seed=seed):
                cluster = self.start(break_one_in=12, seed=seed)
                shipped = self.ship(cluster, "--patience-s", "40")
                self.assertGreater(shipped["retries"], 0)
                self.assertGreater(cluster.breaks, 0)
                code, rebuilt = self.rebuild(cluster)
                self.assertEqual(code, 0, rebuilt)
                self.assertEqual(rebuilt["records"], shipped["records"])

    def test_a_broker_that_is_gone_is_passed_over(self):
        cluster = self.start()
        cluster.servers[0].stop(0).wait()
        self.assertGreater(self.ship(cluster)["records"], 7500)
        self.assertEqual(self.rebuild(cluster)[0], 0)

    def test_what_is_lost_repeated_or_disordered_is_counted(self):
        cluster = self.start()
        self.ship(cluster)
        partition = max(cluster.partitions, key=lambda p: p.end)
        records = partition.batches[0][3].records
        records.add().CopyFrom(records[1])
        del records[2]
        records[4].value = b"another\n"
        code, rebuilt = self.rebuild(cluster)
        self.assertEqual(code, 1)
        self.assertEqual((rebuilt["lost"], rebuilt["duplicated"], rebuilt["files_different"]), (1, 1, 1), rebuilt)

    def test_nobody_there_is_an_error_that_says_so(self):
        done = self.run_example("ship.py", "--brokers", "127.0.0.1:1", "--patience-s", "0", *self.files)
        self.assertEqual(done.returncode, 1)
        self.assertIn("nothing worked for 0 s", done.stderr)


if __name__ == "__main__":
    unittest.main()
