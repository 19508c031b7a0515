"""A steady load with default deadlines, and what it was told: calls that failed, and how long they took.

    with Steady(cluster, "orders") as steady:
        ...
    steady.report()      # {"requests": 4711, "failed": [], "p50_ms": 3.1, "p99_ms": 42.0, ...}

Two kinds of clients at once. Those of generated code, one for each node, write and read with unary calls through that node,
10 seconds of deadline, nothing repeated; a node that is told to stop is left alone meanwhile (`resting`), as a client does that
reads GOAWAY. And, with FLOTILLA set, the client library (`flotilla perf produce` at a rate): it knows all nodes, and every record counts
from when it was due.
"""
import contextlib
import json
import os
import signal
import subprocess
import threading
import time

import grpc

from calls import Client, text_of
from flotilla.v1 import common_pb2, consume_pb2, produce_pb2, records_pb2

DEADLINE_S = 10
PAUSE_S = 0.02  # between the calls of one client: a steady load and not the machine's limit
PERF_RATE = 200


def quantile(sorted_values, part):
    return sorted_values[min(len(sorted_values) - 1, int(part * len(sorted_values)))] if sorted_values else float("nan")


class Steady:
    def __init__(self, cluster, topic, partitions=1):
        self._topic, self._partitions = topic, partitions
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._latencies = []
        self.failed = []
        self._idle = {node: threading.Event() for node in cluster.nodes}
        self._resting = set()
        self._threads = [threading.Thread(target=self._run, args=(node,), daemon=True) for node in cluster.nodes]
        self._addresses = cluster.addresses()
        self._perf = None
        self.perf = None

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        if os.environ.get("FLOTILLA"):
            self._perf = subprocess.Popen(
                [os.environ["FLOTILLA"], "-b", self._addresses, "-o", "json", "perf", "produce", self._topic]
                + ["--rate", str(PERF_RATE), "--size", "100", "--seconds", "600"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=2 * DEADLINE_S)
        if self._perf is not None:
            self._perf.send_signal(signal.SIGINT)
            try:
                out, err = self._perf.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                self._perf.kill()
                raise
            self.perf = json.loads(out)
            if self.perf["failed"]:
                self.failed.append(f"client library: {self.perf['failed']} records: {err.strip()}")

    @contextlib.contextmanager
    def resting(self, node):
        """Nobody of generated code calls the node meanwhile."""
        with self._lock:
            self._idle[node].clear()
            self._resting.add(node)
        assert self._idle[node].wait(timeout=2 * DEADLINE_S), "a call does not come back"
        yield
        with self._lock:
            self._resting.discard(node)

    def report(self):
        latencies = sorted(self._latencies)
        report = {"requests": len(latencies), "failed": self.failed}
        for name, part in (("p50_ms", 0.5), ("p99_ms", 0.99), ("p99.9_ms", 0.999)):
            report[name] = round(quantile(latencies, part) * 1000, 1)
        report["max_ms"] = round(latencies[-1] * 1000, 1) if latencies else float("nan")
        if self.perf is not None:
            report["library"] = {"records": self.perf["records"], "failed": self.perf["failed"], **self.perf["latency_ms"]}
        return report

    def _run(self, node):
        client = Client(node.address)
        turn = 0
        while not self._stopping.is_set():
            with self._lock:
                resting = node in self._resting
            if resting:
                self._idle[node].set()
                time.sleep(PAUSE_S)
                continue
            self._call(node, self._write if turn % 4 else self._read, client, turn % self._partitions)
            turn += 1
            time.sleep(PAUSE_S)
        client.close()

    def _call(self, node, call, *arguments):
        began = time.monotonic()
        try:
            problem = call(*arguments)
        except grpc.RpcError as failure:
            problem = f"{failure.code().name}: {failure.details()}"
        took = time.monotonic() - began
        with self._lock:
            self._latencies.append(took)
            if problem:
                self.failed.append(f"node {node.number}, after {took:.3f} s: {problem}")

    def _write(self, client, partition):
        batch = records_pb2.RecordBatch(records={"records": [records_pb2.Record(value=b"steady" * 20)]})
        item = produce_pb2.ProduceItem(partition=partition, batch=batch)
        request = produce_pb2.ProduceRequest(topic={"name": self._topic}, items=[item])
        result = client.produce.Produce(request, timeout=DEADLINE_S).results[0]
        return text_of(result.error) if result.HasField("error") else None

    def _read(self, client, partition):
        item = consume_pb2.ListOffsetsItem(topic={"name": self._topic}, partition=partition, position={"point": common_pb2.START_POINT_LATEST})
        result = client.consume.ListOffsets(consume_pb2.ListOffsetsRequest(items=[item]), timeout=DEADLINE_S).results[0]
        return text_of(result.error) if result.HasField("error") else None
