"""Replicas move, are called off, rebuilt and balanced while clients write: every acknowledged record is there once, in order, and at
no time are there fewer copies than before."""
import threading
import time
import uuid

from calls import TIMEOUT_S, Client
from flotilla.v1 import admin_pb2, cluster_pb2, metadata_pb2
from load import Load
from nodes import PATIENCE_S, Cluster, wait_until
from operations import CRAWL_BYTES_PER_S, FULL_BYTES_PER_S, Operations, refused
from scene import ClusterTest, main

RECORD = b"x" * 500_000
# What is copied at a rate: the newest 4 MiB of a log are in memory, and new replicas get them at once.
MEGABYTES = 12
# Slow enough to be looked at while it goes on, quick enough to wait for.
WALK_BYTES_PER_S = 2 << 20


class Copies:
    """Looks all the time how many replicas of a partition vote, as its leader says.

    with Copies(node, "orders", partition=0) as copies: ...
    copies.fewest
    """

    def __init__(self, node, topic, partition=0):
        self._client = Client(node.address)
        self._topic, self._partition = topic, partition
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.fewest = None
        self.looks = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join(timeout=TIMEOUT_S)
        self._client.close()

    def _run(self):
        request = admin_pb2.ListPartitionsRequest(topic={"name": self._topic}, page_size=1000)
        while not self._stopping.is_set():
            for details in self._client.admin.ListPartitions(request, timeout=TIMEOUT_S).partitions:
                if details.partition.partition != self._partition or not details.leader_answered:
                    continue
                count = sum(replica.role == metadata_pb2.REPLICA_ROLE_VOTER for replica in details.partition.replicas)
                self.looks += 1
                self.fewest = count if self.fewest is None else min(self.fewest, count)
            time.sleep(0.02)


class MovesTest(ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3, unused=1)
        cls.cluster.__enter__()
        cls.cluster.join(1)
        cls.op = Operations(cls.cluster)

    def setUp(self):
        super().setUp()
        self.cluster.heal()
        self.op.put_back()
        self.addCleanup(self.cluster.heal)
        self.addCleanup(self.op.put_back)

    def topic_with_spare(self, megabytes=0, partitions=1):
        """A topic on three of the four nodes: its name, its nodes, and the one that is left over for partition 0."""
        self.create_topic(partitions=partitions)
        for _ in range(megabytes * 2):
            self.assert_written(self.client.write(self.topic, RECORD))
        nodes = self.op.replicas(self.topic)
        (spare,) = set(self.op.nodes()) - set(nodes)
        return nodes, spare

    def refuses(self, reason, call, *arguments, **options):
        before = self.op.replicas(self.topic)
        error = refused(call, *arguments, **options)
        self.assert_error(error, reason)
        self.assertEqual(self.op.replicas(self.topic), before)
        return error

    # ---- moving

    def test_each_replica_moves_under_load(self):
        nodes, spare = self.topic_with_spare(megabytes=MEGABYTES)
        self.client.create_topic(self.topic + ".load")
        with Load(self.cluster, self.topic + ".load") as load, Copies(self.nodes[0], self.topic + ".load") as copies:
            wait_until("somebody has looked", lambda: copies.looks)
            load.wait_for(200)
            topic = self.topic + ".load"
            for _ in range(4):
                at = self.op.replicas(topic)
                (to,) = set(self.op.nodes()) - set(at)
                leader = wait_until("somebody leads", lambda: self.op.partition(topic).partition.leader_node_id)
                move = self.op.move(topic, from_=leader, to=to).move
                self.assertEqual((list(move.from_node_ids), list(move.to_node_ids)), ([leader], [to]))
                self.assertEqual(move.reason, admin_pb2.MOVE_REASON_REQUESTED)
                self.op.wait_until_settled(topic)
                self.assertEqual(self.op.replicas(topic), sorted({*at, to} - {leader}))
                load.wait_for(200)
        self.assertGreaterEqual(copies.fewest, 3, "fewer copies than before")
        self.cluster.wait_until_healthy()
        load.check()

    def test_how_far_a_move_is(self):
        nodes, spare = self.topic_with_spare(megabytes=MEGABYTES)
        values = self.client.values(self.topic)
        self.op.set_rate(WALK_BYTES_PER_S)
        # Leaders measure their logs every few seconds.
        wait_until(
            "it is known how large the log is",
            lambda: self.op.move(self.topic, from_=nodes[0], validate_only=True).move.bytes_total > MEGABYTES * 7e5,
        )
        move = self.op.move(self.topic, from_=nodes[0], to=spare).move
        self.assertAlmostEqual(move.bytes_total, MEGABYTES * 1e6, delta=MEGABYTES * 3e5)
        copying = self.op.wait_for_stage(self.topic, admin_pb2.MOVE_STAGE_COPYING)
        self.assertIsNotNone(copying, "some megabytes at a rate take their time")
        details = self.op.partition(self.topic).partition
        self.assertTrue(details.moving)
        roles = {replica.node_id: (replica.role, replica.leaving) for replica in details.replicas}
        self.assertEqual(roles[spare], (metadata_pb2.REPLICA_ROLE_LEARNER, False))
        self.assertEqual(roles[nodes[0]], (metadata_pb2.REPLICA_ROLE_VOTER, True))
        seen = []

        def further():
            moves = self.op.moves(self.topic, node_id=spare)
            seen.extend((m.percent, m.bytes_left, m.remaining_ms) for m in moves)
            return not moves

        wait_until("the move is done", further, timeout_s=2 * PATIENCE_S)
        percents = [percent for percent, _, _ in seen]
        self.assertEqual(percents, sorted(percents), "it goes one way")
        self.assertTrue(any(0 < percent < 100 for percent in percents), seen)
        self.assertTrue(any(0 < remaining < 60_000 for _, _, remaining in seen), seen)
        self.assertEqual(self.op.replicas(self.topic), sorted({*nodes, spare} - {nodes[0]}))
        for node in self.nodes:
            self.assertEqual(node.client.values(self.topic), values)

    def test_a_move_to_the_best_place_is_chosen_by_the_broker(self):
        nodes, spare = self.topic_with_spare()
        checked = self.op.move(self.topic, from_=nodes[1], validate_only=True)
        self.assertEqual((list(checked.move.to_node_ids), checked.metadata_version), ([spare], 0))
        self.assertEqual(self.op.moves(self.topic), [])
        request_id = str(uuid.uuid4())
        first = self.op.move(self.topic, from_=nodes[1], request_id=request_id)
        again = self.op.move(self.topic, from_=nodes[1], request_id=request_id)
        self.assertEqual(list(first.move.to_node_ids), [spare])
        self.assertLessEqual(again.metadata_version, first.metadata_version + 1)
        self.op.wait_until_settled(self.topic)
        self.assertEqual(self.op.replicas(self.topic), sorted({*nodes, spare} - {nodes[1]}))

    def test_a_move_that_is_called_off_leaves_all_as_it_was(self):
        nodes, spare = self.topic_with_spare(megabytes=MEGABYTES)
        self.op.set_rate(CRAWL_BYTES_PER_S)
        self.op.move(self.topic, from_=nodes[0], to=spare)
        self.assertIsNotNone(self.op.wait_for_stage(self.topic, admin_pb2.MOVE_STAGE_COPYING))
        self.refuses("MOVE_UNDER_WAY", self.op.move, self.topic, from_=nodes[1], to=spare)
        self.assertEqual(self.op.cancel(self.topic).move.reason, admin_pb2.MOVE_REASON_CANCELLED)
        self.op.wait_until_settled(self.topic)
        self.assertEqual(self.op.replicas(self.topic), nodes)
        self.refuses("MOVE_NOT_FOUND", self.op.cancel, self.topic)
        self.assert_written(self.client.write(self.topic, b"after"))
        # Once more, to its end: what was left behind by the first one does not stand in the way.
        self.op.set_rate(FULL_BYTES_PER_S)
        self.op.move(self.topic, from_=nodes[0], to=spare)
        self.op.wait_until_settled(self.topic)
        self.assertEqual(self.op.replicas(self.topic), sorted({*nodes, spare} - {nodes[0]}))
        self.assertEqual(self.cluster.node_with_id(spare).client.values(self.topic)[-1], b"after")

    def test_moves_that_cannot_be(self):
        nodes, spare = self.topic_with_spare()
        self.refuses("REPLICA_EXISTS", self.op.move, self.topic, from_=nodes[0], to=nodes[1])
        self.refuses("REPLICA_EXISTS", self.op.move, self.topic, from_=nodes[0], to=nodes[0])
        self.refuses("REPLICA_NOT_FOUND", self.op.move, self.topic, from_=spare, to=nodes[0])
        for node_id in (77, -1):
            self.refuses("NODE_NOT_FOUND", self.op.move, self.topic, from_=nodes[0], to=node_id)
            self.refuses("NODE_NOT_FOUND", self.op.move, self.topic, from_=node_id, to=spare)
        self.refuses("NODE_NOT_FOUND", self.op.move, self.topic, to=spare)
        self.refuses("PARTITION_NOT_FOUND", self.op.move, self.topic, 9, from_=nodes[0], to=spare)
        self.refuses("TOPIC_NOT_FOUND", self.op.move, self.topic + ".not", from_=nodes[0], to=spare)
        self.refuses("MOVE_NOT_FOUND", self.op.cancel, self.topic)
        self.refuses("REPLICA_NOT_FOUND", self.op.rebuild, self.topic, node=spare)
        self.assert_error(refused(self.op.moves, page_size=1001), "INVALID_ARGUMENT", text="1001")
        self.assert_error(refused(self.op.moves, page_token="x"), "INVALID_ARGUMENT")
        self.assert_error(refused(self.op.moves, node_id=77), "NODE_NOT_FOUND", text=77)
        no_partition = admin_pb2.MovePartitionRequest(from_node_id=1)
        self.assert_error(refused(self.client.admin.MovePartition, no_partition, timeout=TIMEOUT_S), "INVALID_ARGUMENT", field="partition")

    def test_a_move_to_a_dead_node(self):
        nodes, spare = self.topic_with_spare()
        self.cluster.node_with_id(spare).kill()
        self.op.wait_until_dead(spare)
        self.refuses("NOT_ENOUGH_NODES", self.op.move, self.topic, from_=nodes[0], to=spare)
        self.refuses("NOT_ENOUGH_NODES", self.op.move, self.topic, from_=nodes[0])

    # ---- rebuilding

    def test_a_replica_is_built_anew_from_the_others(self):
        nodes, _ = self.topic_with_spare(megabytes=MEGABYTES)
        values = self.client.values(self.topic)
        for node_id in nodes:
            move = self.op.rebuild(self.topic, node=node_id).move
            self.assertEqual((list(move.to_node_ids), list(move.from_node_ids)), ([node_id], [node_id]))
            self.assertEqual(move.reason, admin_pb2.MOVE_REASON_REBUILD)
            self.op.wait_until_settled(self.topic)
            self.assertEqual(self.op.replicas(self.topic), nodes)
            self.cluster.wait_until_healthy()
        for node in self.nodes:
            self.assertEqual(node.client.values(self.topic), values)

    def test_a_rebuild_that_would_cost_the_majority_and_one_that_cannot_be_called_off(self):
        nodes, _ = self.topic_with_spare(megabytes=MEGABYTES)
        self.cluster.node_with_id(nodes[0]).kill()
        self.op.wait_until_dead(nodes[0])
        error = self.refuses("QUORUM_AT_RISK", self.op.rebuild, self.topic, node=nodes[1])
        self.assertIn(f"{self.topic}/0", error.metadata["partitions"])
        self.cluster.heal()
        self.op.set_rate(CRAWL_BYTES_PER_S)
        self.op.rebuild(self.topic, node=nodes[1])
        self.refuses("MOVE_NOT_FOUND", self.op.cancel, self.topic)
        self.op.set_rate(FULL_BYTES_PER_S)
        self.op.wait_until_settled(self.topic)

    # ---- balancing

    def lopsided(self):
        """Ten partitions with nothing on the fourth node."""
        self.create_topic(partitions=10)
        (odd,) = set(self.op.nodes()) - {1, 2, 3}
        for details in self.op.partitions(self.topic):
            if odd in {replica.node_id for replica in details.partition.replicas}:
                self.op.move(self.topic, details.partition.partition, from_=odd)
        self.op.wait_until_settled()
        for partition in range(10):
            for _ in range(10):
                self.assert_written(self.client.write(self.topic, RECORD, partition=partition))
        return odd

    def on(self, node_id):
        return sum(node_id in {r.node_id for r in d.partition.replicas if not r.leaving} for d in self.op.partitions(self.topic))

    def test_balancing_is_planned_watched_and_called_off(self):
        odd = self.lopsided()
        self.op.set_rate(CRAWL_BYTES_PER_S)
        plan = self.op.balance(validate_only=True)
        self.assertGreater(plan.move_count, 3)
        self.assertTrue(all(move.to_node_id == odd for move in plan.moves), plan)
        begun = self.op.balance()
        # Leaders tell how large their logs are now and then: the second plan may know more than the first.
        self.assertGreater(begun.move_count, 3)
        self.assert_error(refused(self.op.balance), "BALANCE_UNDER_WAY")
        self.assert_error(refused(self.op.balance, validate_only=True), "BALANCE_UNDER_WAY")

        def runs():
            state = self.op.balancing()
            return state.active and state.moves_running and state

        state = wait_until("moves have begun", runs)
        self.assertEqual(state.moves_planned, begun.move_count)
        self.assertGreater(state.start_time_ms, 0)
        self.assertTrue(all(m.reason == admin_pb2.MOVE_REASON_BALANCE for m in self.op.moves()))
        cancelled = self.op.cancel_balance()
        self.assertGreater(cancelled.moves_cancelled, 0)
        self.assertEqual(self.op.cancel_balance().metadata_version, 0, "there is none any more")
        self.op.wait_until_settled()
        self.assertFalse(self.op.balancing().active)
        self.assertLess(self.on(odd), plan.move_count)

    def test_balancing_comes_to_its_end_although_leaders_die(self):
        odd = self.lopsided()
        self.op.set_rate(WALK_BYTES_PER_S)
        plan = self.op.balance()
        controller = self.cluster.node_with_id(self.op.controller())
        wait_until("moves have begun", lambda: self.op.balancing().moves_running)
        controller.kill()
        wait_until("another one leads the metadata", lambda: self.op.controller() and self.op.balancing())
        controller.start()
        controller.wait_until_it_answers()
        self.op.set_rate(FULL_BYTES_PER_S)
        wait_until("all is even", lambda: not self.op.balancing().active, timeout_s=4 * PATIENCE_S)
        self.op.wait_until_settled()
        self.assertEqual(self.op.balance().move_count, 0)
        self.assertGreater(self.on(odd), 0)
        self.assertGreater(plan.move_count, 0)
        self.cluster.wait_until_healthy()


if __name__ == "__main__":
    main()
