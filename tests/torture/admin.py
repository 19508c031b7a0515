"""An administrator who knows exactly what he did: creates, grows, configures, deletes, trims, and finds it so through
any node."""
import time
import uuid

import grpc

from brokers import error_of
from calls import reason_name, text_of
from flotilla.v1 import admin_pb2, cluster_pb2, consume_pb2, errors_pb2
from nodes import wait_until
from writers import STUCK_AFTER_S, Violation, Worker

SIDE_TOPICS = 6
_CONFIG = "record_bytes_max"


class Refused(Exception):
    def __init__(self, error):
        super().__init__(text_of(error))
        self.error = error


class NodeHasLeft(Exception):
    """The one that was asked, and no other one will do."""


class Administrator(Worker):
    def __init__(self, cluster, ledger, seed, prefix, trimmed_topic, trimmed_partitions):
        self._prefix = prefix
        self._trimmed = trimmed_topic, trimmed_partitions
        self._version = 0  # of the metadata, with the last change
        self._topics = {}  # name: [partition count, record_bytes_max or None]
        super().__init__(f"administrator of {prefix}", cluster, ledger, seed)

    def turn(self):
        name = f"{self._prefix}{self._random.randrange(SIDE_TOPICS)}"
        if self._random.random() < 0.3:
            self._trim()
        elif name not in self._topics:
            self._create(name)
        else:
            self._random.choice((self._delete, self._grow, self._configure, self._look))(name)
        time.sleep(self._random.uniform(0, 0.5))

    def topics(self):
        """Names of those that there are."""
        return list(self._topics)

    def verify(self):
        """The topics there are, as any node lists them, against those that there have to be."""
        try:
            listed = self._call("ListTopics", admin_pb2.ListTopicsRequest(name_prefix=self._prefix))
        except (Refused, Violation) as problem:
            return self._ledger.report("unhealthy", str(problem))
        found = {topic.topic.name: topic.partition_count for topic in listed.topics}
        expected = {name: count for name, (count, _) in self._topics.items()}
        if found != expected:
            self._ledger.report("lost change", f"topics and their partitions are {found}, not {expected}")
        for name in sorted(expected.keys() & found.keys()):
            self._look(name)

    def _call(self, method, request, client=None):
        """Until there is an answer. Changes carry a request_id, so to repeat them does no harm."""
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = str(uuid.uuid4())
        deadline = time.monotonic() + STUCK_AFTER_S
        while True:
            try:
                stub = (client or self.any_client()).admin
                return getattr(stub, method)(request, timeout=self._random.choice((2, 5, 10)))
            except grpc.RpcError as failure:
                error = error_of(failure)
            if client is not None and self.has_left(client):
                raise NodeHasLeft
            if error.retry == errors_pb2.RETRY_NEVER:
                raise Refused(error)
            if time.monotonic() > deadline or self.ending:
                raise Violation("stuck", f"{method} has no answer for {STUCK_AFTER_S} s, last: {text_of(error)}")
            time.sleep(0.05)

    def _change(self, what, method, request):
        """Whether it was done. Refusals that nodes which are down explain are fine."""
        try:
            self._version = self._call(method, request).metadata_version
            return True
        except Refused as refused:
            if refused.error.reason != errors_pb2.ERROR_REASON_NOT_ENOUGH_NODES:
                self._ledger.report("outcome honesty", f"{what} is refused: {refused}")
            return False

    def _create(self, name):
        count = self._random.randint(1, 3)
        request = admin_pb2.CreateTopicRequest(topic={"name": name}, partition_count=count, replication_factor=3)
        if self._change(f"to create {name}, which is not there,", "CreateTopic", request):
            self._topics[name] = [count, None]
            self._look(name)

    def _delete(self, name):
        if not self._change(f"to delete {name}", "DeleteTopic", admin_pb2.DeleteTopicRequest(topic={"name": name})):
            return
        del self._topics[name]
        client = self.any_client()
        place = consume_pb2.FetchPartition(topic={"name": name}, partition=0)

        def refused():
            if self.has_left(client):
                return True
            fetched = client.consume.Fetch(consume_pb2.FetchRequest(partitions=[place], max_wait_ms=0), timeout=2)
            return fetched.partitions[0].HasField("error")

        # A node that leads a partition and is cut off from the metadata cannot know yet.
        try:
            wait_until(f"{client.address} does not read the deleted {name} any more", refused, STUCK_AFTER_S)
        except AssertionError as problem:
            self._ledger.report("stale read", str(problem))

    def _grow(self, name):
        count = self._topics[name][0] + 1
        request = admin_pb2.AddPartitionsRequest(topic={"name": name}, partition_count=count)
        if self._change(f"to grow {name} to {count} partitions", "AddPartitions", request):
            self._topics[name][0] = count
            self._look(name)

    def _configure(self, name):
        value = self._random.randrange(100_000, 1_000_000)
        request = admin_pb2.UpdateConfigRequest(resource={"topic": {"name": name}}, set_values={_CONFIG: str(value)})
        if self._change(f"to set {_CONFIG} of {name} to {value}", "UpdateConfig", request):
            self._topics[name][1] = value
            self._look(name)

    def _look(self, name):
        """That a topic exists is found through any node at once; what it is like, by a node that has that version."""
        count, value = self._topics[name]
        client = self.any_client()
        get_topic = admin_pb2.GetTopicRequest(topic={"name": name})
        get_config = admin_pb2.GetConfigRequest(resource={"topic": {"name": name}})
        try:
            self._call("GetTopic", get_topic, client)
            if not self._has_version(client):
                return
            topic = self._call("GetTopic", get_topic, client).topic
            entries = self._call("GetConfig", get_config, client).entries
        except NodeHasLeft:
            return
        except Refused as refused:
            return self._ledger.report("stale read", f"{name} was created, {client.address} says: {refused}")
        found = next(int(entry.value) for entry in entries if entry.name == _CONFIG)
        if topic.partition_count < count:
            self._ledger.report(
                "stale read", f"{name} has {count} partitions; {client.address} found {topic.partition_count}"
            )
        if value is not None and found != value:
            self._ledger.report("stale read", f"{_CONFIG} of {name} is {value}; {client.address} found {found}")

    def _has_version(self, client):
        """Waits a while for the version of the last change."""
        request = cluster_pb2.GetMetadataRequest(nodes_only=True, min_version=self._version)
        try:
            client.cluster.GetMetadata(request, timeout=2)
            return True
        except grpc.RpcError:
            return False  # cut off, dead, asleep

    def _trim(self):
        topic, partitions = self._trimmed
        partition = self._random.randrange(partitions)
        end = self._ledger.acknowledged_end(topic, partition)
        before = self._random.randint(0, end)
        self._ledger.will_trim(topic, partition, before)
        try:
            answer = self._call(
                "TrimPartition",
                admin_pb2.TrimPartitionRequest(
                    partition={"topic": {"name": topic}, "partition": partition}, before_offset=before
                ),
            )
        except Refused as refused:
            what = reason_name(refused.error)
            return self._ledger.report(
                "outcome honesty",
                f"{what} for a trim of {topic}/{partition} to {before}, {end} was acknowledged: {refused}",
            )
        if answer.log_start_offset > self._ledger.trim_asked(topic, partition):
            self._ledger.report(
                "lost write", f"{topic}/{partition} begins at {answer.log_start_offset}, asked: {before}"
            )
