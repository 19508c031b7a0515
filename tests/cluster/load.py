"""Producers that write all the time while something else happens, and a history of what they were told.

    with Load(cluster, "orders") as load:
        load.wait_for(100)
        ...
    load.check()
"""
import threading
import time

from brokers import Brokers
from flotilla.v1 import records_pb2
from history import History, value_of
from nodes import PATIENCE_S, wait_until
from producer import Producer

RECORDS_PER_BATCH = 10
PAUSE_S = 0.005  # between batches: a steady load and not the machine's limit


class Load:
    def __init__(self, cluster, topic, producers=2):
        self._cluster = cluster
        self._topic = topic
        self._stopping = threading.Event()
        self._problems = []
        self.longest_gap_s = 0.0
        self.retries = 0
        self.history = History()
        self._acknowledged = [0] * producers
        # Each begins with another node.
        self._threads = [
            threading.Thread(target=self._run, args=(i, cluster.addresses(i % len(cluster.nodes))), daemon=True)
            for i in range(producers)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=2 * PATIENCE_S)
        if kind is None:
            assert not self._problems, self._problems
            assert not any(thread.is_alive() for thread in self._threads), "a producer does not come to its end"

    def wait_for(self, more):
        """Until so many more records are acknowledged."""
        goal = self.history.acknowledged + more
        wait_until(f"{more} more records are acknowledged", lambda: self._problems or self.history.acknowledged >= goal)
        assert not self._problems, self._problems

    def wait_for_each(self, more):
        """Until each producer has so many more records acknowledged."""
        goals = [count + more for count in self._acknowledged]

        def reached():
            return self._problems or all(count >= goal for count, goal in zip(self._acknowledged, goals))

        wait_until(f"{more} more records of each producer are acknowledged", reached)
        assert not self._problems, self._problems

    def check(self, *nodes):
        """Reads everything, from each of the nodes (all of them by default). AssertionError: what does not fit."""
        assert self.history.acknowledged > 0
        for node in nodes or self._cluster.nodes:
            read = {
                partition: [(offset, record.value) for offset, record in records]
                for partition, records in node.client.read(self._topic).items()
            }
            violations = self.history.violations(read)
            assert not violations, f"read from node {node.number}:\n" + "\n".join(violations)

    def _run(self, number, addresses):
        try:
            self._produce(number, addresses)
        except Exception as problem:  # whatever it is, the test should tell it
            self._problems.append(f"{type(problem).__name__}: {problem}")

    def _produce(self, number, addresses):
        def acknowledged(partition, records, base_offset):
            self._acknowledged[number] += len(records)
            self.history.on_acknowledged(partition, [record.value for record in records], base_offset)

        with (
            Brokers(addresses, patience_s=2 * PATIENCE_S) as brokers,
            Producer(brokers, self._topic, acknowledged) as producer,
        ):
            sent = [0] * producer.partition_count
            turn = 0
            while not self._stopping.is_set():
                partition = turn % producer.partition_count
                first = sent[partition]
                values = [value_of(producer.id, partition, first + i) for i in range(RECORDS_PER_BATCH)]
                self.history.on_sent(producer.id, partition, len(values))
                producer.send(partition, [records_pb2.Record(value=value) for value in values])
                sent[partition] += len(values)
                turn += 1
                time.sleep(PAUSE_S)
            producer.flush()
        self.longest_gap_s = max(self.longest_gap_s, producer.longest_gap_s)
        self.retries += producer.retries
