"""What operators do with nodes and replicas, and what they wait for; through any node that runs.

    op = Operations(cluster)
    op.move("orders", 0, from_=1, to=4)
    op.wait_until_settled("orders")
    op.replicas("orders")            # [2, 3, 4]
"""
import uuid

from calls import TIMEOUT_S, failing
from flotilla.v1 import admin_pb2, cluster_pb2, metadata_pb2
from nodes import PATIENCE_S, wait_until

# The slowest that moves may be told to be.
CRAWL_BYTES_PER_S = 64 << 10
FULL_BYTES_PER_S = 100 << 20


class Operations:
    def __init__(self, cluster):
        self._cluster = cluster

    # ---- whom to ask

    def client(self, *but):
        """Of a node that runs; `but`: not of these."""
        return next(n.client for n in self._cluster.nodes if n.running and not n._paused and n not in but)

    @staticmethod
    def info(node):
        return node.client.cluster.GetServerInfo(cluster_pb2.GetServerInfoRequest(), timeout=2)

    def id_of(self, node):
        return self.info(node).node_id

    def ids(self):
        return {node: self.id_of(node) for node in self._cluster.nodes if node.running}

    def controller(self):
        """The id of the node that leads the metadata."""

        def found():
            health = self.client().cluster.GetHealth(cluster_pb2.GetHealthRequest(), timeout=2)
            return health.controller_node_id

        return wait_until("somebody leads the metadata", found)

    # ---- nodes

    def nodes(self):
        """{id: Node}"""
        listed = self.client().cluster.ListNodes(cluster_pb2.ListNodesRequest(), timeout=TIMEOUT_S).nodes
        return {node.node_id: node for node in listed}

    def get(self, node_id, timeout=TIMEOUT_S):
        return self.client().cluster.GetNode(cluster_pb2.GetNodeRequest(node_id=node_id), timeout=timeout)

    def drain(self, node_id, **options):
        return self.client().cluster.DrainNode(cluster_pb2.DrainNodeRequest(node_id=node_id, **options), timeout=TIMEOUT_S)

    def raise_level(self, level=0, **options):
        request = cluster_pb2.RaiseFeatureLevelRequest(feature_level=level, **options)
        return self.client().cluster.RaiseFeatureLevel(request, timeout=TIMEOUT_S)

    def undrain(self, node_id, **options):
        return self.client().cluster.UndrainNode(cluster_pb2.UndrainNodeRequest(node_id=node_id, **options), timeout=TIMEOUT_S)

    def decommission(self, node_id, **options):
        return self.client().cluster.DecommissionNode(
            cluster_pb2.DecommissionNodeRequest(node_id=node_id, **options), timeout=TIMEOUT_S
        )

    def recommission(self, node_id, **options):
        return self.client().cluster.RecommissionNode(
            cluster_pb2.RecommissionNodeRequest(node_id=node_id, **options), timeout=TIMEOUT_S
        )

    def remove(self, node_id, **options):
        return self.client().cluster.RemoveNode(cluster_pb2.RemoveNodeRequest(node_id=node_id, **options), timeout=TIMEOUT_S)

    def safe_to_stop(self, node_id):
        return self.client().cluster.CheckSafeToStop(
            cluster_pb2.CheckSafeToStopRequest(node_id=node_id), timeout=TIMEOUT_S
        )

    def wait_until_safe(self, node_id):
        return wait_until(f"node {node_id} may stop", lambda: self.safe_to_stop(node_id).safe)

    def wait_until_drained(self, node_id):
        return wait_until(f"node {node_id} is drained", lambda: self.get(node_id, timeout=2).evacuation.complete)

    def wait_until_gone(self, node_id, timeout_s=3 * PATIENCE_S):
        def gone():
            return node_id not in self.nodes()

        return wait_until(f"node {node_id} is removed", gone, timeout_s=timeout_s)

    def wait_until_dead(self, node_id):
        dead = metadata_pb2.NODE_STATE_DEAD
        return wait_until(f"node {node_id} is seen to be dead", lambda: self.nodes()[node_id].state == dead)

    def voters(self):
        """Ids of those who vote on the metadata."""
        quorum = self.client().cluster.GetQuorum(cluster_pb2.GetQuorumRequest(), timeout=TIMEOUT_S)
        return sorted(m.node_id for m in quorum.members if m.role == metadata_pb2.REPLICA_ROLE_VOTER)

    # ---- replicas

    def partitions(self, topic):
        """As the metadata leader knows them: a node that has just started may not have heard the latest."""
        request = admin_pb2.ListPartitionsRequest(topic={"name": topic}, page_size=1000)

        def asked():
            node = self._cluster.node_with_id(self.controller())
            return node and node.client.admin.ListPartitions(request, timeout=TIMEOUT_S).partitions

        return wait_until(f"the metadata leader lists {topic}", asked)

    def partition(self, topic, partition=0):
        return next(p for p in self.partitions(topic) if p.partition.partition == partition)

    def replicas(self, topic, partition=0):
        """Node ids, sorted; those that are about to go left out."""
        return sorted(r.node_id for r in self.partition(topic, partition).partition.replicas if not r.leaving)

    def move(self, topic, partition=0, from_=0, to=0, **options):
        return self.client().admin.MovePartition(
            admin_pb2.MovePartitionRequest(
                partition={"topic": {"name": topic}, "partition": partition},
                from_node_id=from_,
                to_node_id=to,
                **{"request_id": str(uuid.uuid4()), **options},
            ),
            timeout=TIMEOUT_S,
        )

    def cancel(self, topic, partition=0, **options):
        return self.client().admin.CancelMove(
            admin_pb2.CancelMoveRequest(partition={"topic": {"name": topic}, "partition": partition}, **options),
            timeout=TIMEOUT_S,
        )

    def rebuild(self, topic, partition=0, node=0, **options):
        return self.client().admin.RebuildReplica(
            admin_pb2.RebuildReplicaRequest(
                partition={"topic": {"name": topic}, "partition": partition}, node_id=node, **options
            ),
            timeout=TIMEOUT_S,
        )

    def recover(self, topic, partition=0, **options):
        return self.client().admin.UnsafeRecoverPartition(
            admin_pb2.UnsafeRecoverPartitionRequest(
                partition={"topic": {"name": topic}, "partition": partition}, **{"request_id": str(uuid.uuid4()), **options}
            ),
            timeout=TIMEOUT_S,
        )

    def moves(self, topic=None, **request):
        moves = self.client().admin.ListMoves(admin_pb2.ListMovesRequest(**request), timeout=TIMEOUT_S).moves
        return [move for move in moves if topic in (None, move.partition.topic.name)]

    def wait_until_settled(self, topic=None, timeout_s=3 * PATIENCE_S):
        def settled():
            return not self.moves(topic)

        wait_until(f"no replica of {topic or 'anything'} moves any more", settled, timeout_s=timeout_s)

    def wait_for_stage(self, topic, *stages):
        """The move, once it is in one of these stages; None when it came to its end before."""

        def reached():
            moves = self.moves(topic)
            return not moves or (moves[0].stage in stages and moves)

        found = wait_until(f"the move of {topic} is in one of the stages {stages}", reached)
        return None if found is True else found[0]

    # ---- balancing

    def balance(self, **options):
        return self.client().cluster.StartBalance(cluster_pb2.StartBalanceRequest(**options), timeout=TIMEOUT_S)

    def balancing(self):
        return self.client().cluster.GetBalance(cluster_pb2.GetBalanceRequest(), timeout=TIMEOUT_S)

    def cancel_balance(self):
        return self.client().cluster.CancelBalance(cluster_pb2.CancelBalanceRequest(), timeout=TIMEOUT_S)

    # ---- settings

    def set_rate(self, bytes_per_s):
        self.client().admin.UpdateConfig(
            admin_pb2.UpdateConfigRequest(
                resource={"cluster": True}, set_values={"move_rate_bytes": str(bytes_per_s)}, request_id=str(uuid.uuid4())
            ),
            timeout=TIMEOUT_S,
        )

    # ---- the way back

    def put_back(self):
        """Every node is in use, and nothing moves or is about to."""
        self.set_rate(FULL_BYTES_PER_S)
        self.cancel_balance()
        for node_id, node in self.nodes().items():
            if node.mode == metadata_pb2.NODE_MODE_DRAINING:
                self.undrain(node_id)
            elif node.mode == metadata_pb2.NODE_MODE_DECOMMISSIONING:
                self.recommission(node_id)
        self.wait_until_settled()


def refused(call, *arguments, **options):
    """The Error of a call that has to fail."""
    with failing() as failure:
        call(*arguments, **options)
    return failure.error
