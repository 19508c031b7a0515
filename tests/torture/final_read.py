"""Reads whole partitions, through any node or from each replica in turn."""
import time

import grpc

from calls import REQUIRE_LEADER, text_of
from checker import Reading
from flotilla.v1 import cluster_pb2, consume_pb2, errors_pb2
from nodes import PATIENCE_S, wait_until

BYTES_PER_FETCH = 8 << 20
NO_REPLICA = "no replica"


class LedByAnother(Exception):
    pass


def ends_of(client, topic, partitions):
    """The end of each partition, by number."""
    items = [
        consume_pb2.ListOffsetsItem(topic={"name": topic}, partition=partition, position={"last_records": 0})
        for partition in range(partitions)
    ]

    def ends():
        results = client.consume.ListOffsets(consume_pb2.ListOffsetsRequest(items=items), timeout=5).results
        if any(result.HasField("error") for result in results):
            return None
        return [result.offsets.high_watermark for result in results]

    return wait_until(f"the ends of {topic} are known", ends)


def read_partition(client, topic, partition, end, metadata=None):
    """A Reading of all there is up to `end`. LedByAnother: only with REQUIRE_LEADER."""
    records = []
    log_start = position = None
    deadline = time.monotonic() + PATIENCE_S
    while position is None or position < end:
        place = consume_pb2.FetchPartition(topic={"name": topic}, partition=partition)
        if position is not None:
            place.start.offset = position
        request = consume_pb2.FetchRequest(partitions=[place], max_wait_ms=0, max_bytes=BYTES_PER_FETCH)
        try:
            fetched = client.consume.Fetch(request, timeout=10, metadata=metadata).partitions[0]
            problem = text_of(fetched.error) if fetched.HasField("error") else None
            if fetched.error.reason == errors_pb2.ERROR_REASON_NOT_LEADER:
                raise LedByAnother(problem)
        except grpc.RpcError as failure:
            problem = f"{failure.code()}: {failure.details()}"
        if problem is None:
            if position is None:
                log_start = position = fetched.start_offset
            for batch in fetched.batches:
                for i, record in enumerate(batch.records.records):
                    if position <= batch.base_offset + i < end:
                        records.append((batch.base_offset + i, record.value, batch.leader_epoch))
            position = fetched.next_offset
        if time.monotonic() > deadline:
            raise AssertionError(f"{topic}/{partition} cannot be read from {position} to {end}: {problem}")
    return Reading(topic, partition, log_start, end, records)


def read_from_every_replica(cluster, topics):
    """What differs, in words."""
    differences = []
    for topic, partitions in topics.items():
        ends = ends_of(cluster.nodes[0].client, topic, partitions)
        for partition in range(partitions):
            first = None
            for node in cluster.nodes:
                reading = wait_until(
                    f"node {node.number} leads {topic}/{partition} for as long as it takes to read it",
                    lambda: _read_from(cluster, node, topic, partition, ends[partition]),
                )
                if reading is NO_REPLICA:
                    continue
                if first is not None and reading != first:
                    differences.append(
                        f"{topic}/{partition}: node {node.number} has {_first_difference(reading, first)}"
                    )
                first = first or reading
    return differences


def _read_from(cluster, node, topic, partition, end):
    """NO_REPLICA; None when another node took over meanwhile: leaders go home by themselves."""
    node_id = node.client.cluster.GetServerInfo(cluster_pb2.GetServerInfoRequest(), timeout=5).node_id
    quorum_request = cluster_pb2.GetQuorumRequest(partition={"topic": {"name": topic}, "partition": partition})
    members = wait_until(
        f"the replicas of {topic}/{partition} are known",
        lambda: node.client.cluster.GetQuorum(quorum_request, timeout=5).members,
    )
    if node_id not in [member.node_id for member in members]:
        return NO_REPLICA
    request = cluster_pb2.TransferLeadershipRequest(
        partition={"topic": {"name": topic}, "partition": partition}, to_node_id=node_id
    )
    wait_until(
        f"node {node.number} leads {topic}/{partition}",
        lambda: node.client.cluster.TransferLeadership(request, timeout=5).leader_node_id == node_id,
    )
    try:
        return read_partition(node.client, topic, partition, end, metadata=REQUIRE_LEADER)
    except LedByAnother:
        return None


def _first_difference(reading, other):
    for mine, theirs in zip(reading.records, other.records):
        if mine != theirs:
            return (
                f"at offset {mine[0]} {mine[1][:40]!r} (epoch {mine[2]}), another one {theirs[1][:40]!r} at {theirs[0]}"
            )
    return (
        f"{len(reading.records)} records from {reading.log_start}, another one {len(other.records)} from "
        f"{other.log_start}"
    )
