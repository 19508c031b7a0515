"""Nodes join, are drained, stopped one after the other, decommissioned and removed while clients go on; and what is refused."""
import contextlib
import pathlib
import shutil
import tempfile
import unittest

import clocks
from calls import TIMEOUT_S, failing, text_of
from flotilla.v1 import admin_pb2, cluster_pb2, metadata_pb2
from load import Load
from nodes import PATIENCE_S, Cluster, Place, wait_until
from operations import CRAWL_BYTES_PER_S, Operations, refused
from scene import ClusterTest, main
from steady import Steady

# What a steady load may feel of a node that is drained, stopped and started. The goal on a quiet machine is 500 ms; here
# other programs want the same two cores.
P99_MS_MAX = 5000


class JoiningTest(ClusterTest):
    """Three nodes; two more come while a topic is full of records."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3, unused=2)
        cls.cluster.__enter__()
        cls.op = Operations(cls.cluster)

    def spread(self, topic):
        """{node id: replicas}, {node id: partitions it leads}"""
        replicas, leaders = {}, {}
        for details in self.op.partitions(topic):
            for replica in details.partition.replicas:
                replicas[replica.node_id] = replicas.get(replica.node_id, 0) + 1
            leaders[details.partition.leader_node_id] = leaders.get(details.partition.leader_node_id, 0) + 1
        return replicas, leaders

    def test_a_fourth_and_a_fifth_node_join_vote_and_take_their_share(self):
        # One scene, because a cluster grows once.
        self.create_topic(partitions=10)
        with Load(self.cluster, self.topic) as load:
            load.wait_for(300)
            self.cluster.join(1)
            self.assertEqual(self.op.id_of(self.nodes[3]), 4)
            wait_until("the fourth learns", lambda: 4 in self.members())
            self.assertEqual(self.op.voters(), [1, 2, 3], "an even number would not be safer")
            self.cluster.join(1)
            self.assertEqual(self.op.id_of(self.nodes[4]), 5)
            wait_until("all five vote", lambda: self.op.voters() == [1, 2, 3, 4, 5])

            planned = self.op.balance(validate_only=True)
            self.assertEqual(planned.move_count, 12, "six of ten partitions for each of five nodes")
            self.assertEqual(planned.metadata_version, 0)
            self.assertFalse(self.op.balancing().active)
            begun = self.op.balance()
            self.assertGreater(begun.metadata_version, 0)
            load.wait_for(300)
            wait_until("all is even", lambda: not self.op.balancing().active, timeout_s=4 * PATIENCE_S)
            self.op.wait_until_settled()
            wait_until(
                "each leads two", lambda: self.spread(self.topic) == ({i: 6 for i in range(1, 6)}, {i: 2 for i in range(1, 6)})
            )
            load.wait_for(300)
        self.cluster.wait_until_healthy()
        load.check()
        self.assertEqual(self.op.balance().move_count, 0, "nothing is left to be done")

    def members(self):
        quorum = self.client.cluster.GetQuorum(cluster_pb2.GetQuorumRequest(), timeout=TIMEOUT_S)
        return {member.node_id for member in quorum.members}


class CrewTest(ClusterTest):
    """Five nodes, of which three are the seeds."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3, unused=3)
        cls.cluster.__enter__()
        cls.cluster.join(2)
        cls.op = Operations(cls.cluster)
        wait_until("all five vote", lambda: len(cls.op.voters()) == 5)

    def setUp(self):
        super().setUp()
        self.cluster.heal()
        self.addCleanup(self.cluster.heal)
        self.addCleanup(self.op.put_back)

    def picture(self):
        """What may not change when something is refused."""
        nodes = {node_id: (node.state, node.mode) for node_id, node in self.op.nodes().items()}
        partitions = self.op.client().admin.ListPartitions(admin_pb2.ListPartitionsRequest(page_size=1000), timeout=TIMEOUT_S)
        replicas = {
            (details.topic.name, details.partition.partition): sorted(r.node_id for r in details.partition.replicas)
            for details in partitions.partitions
        }
        return nodes, replicas

    def leaders(self):
        return {details.partition.leader_node_id for details in self.op.partitions(self.topic)}


class DrainingTest(CrewTest):
    def test_each_node_in_turn_is_drained_stopped_and_started_and_no_call_fails(self):
        self.create_topic(partitions=6)
        with Load(self.cluster, self.topic + ".history", producers=2) if self.history() else contextlib.nullcontext() as load:
            with Steady(self.cluster, self.topic, partitions=6) as steady:
                load.wait_for(200)
                for node in self.nodes:
                    node_id = self.op.id_of(node)
                    self.op.drain(node_id)
                    self.op.wait_until_drained(node_id)
                    self.assertNotIn(node_id, self.leaders())
                    self.op.wait_until_safe(node_id)
                    with steady.resting(node):
                        self.assertEqual(node.stop(), 0, node.last_words())
                        load.wait_for(100)
                        node.start()
                        node.wait_until_it_answers()
                    self.assertEqual(self.op.nodes()[node_id].mode, metadata_pb2.NODE_MODE_DRAINING, "a start does not end it")
                    self.op.undrain(node_id)
                    self.cluster.wait_until_healthy()
                    load.wait_for(100)
        report = steady.report()
        print(f"draining, stopping, starting each of five nodes: {report}", flush=True)
        self.assertEqual(report["failed"], [])
        self.assertLess(report["p99_ms"], P99_MS_MAX)
        load.check()

    def history(self):
        self.client.create_topic(self.topic + ".history", partitions=3)
        return True

    def test_a_drained_node_gets_no_leaderships_until_it_is_in_use_again(self):
        self.create_topic(partitions=10)
        drained = self.op.id_of(self.nodes[1])
        checked = self.op.drain(drained, validate_only=True)
        self.assertEqual(checked.node.mode, metadata_pb2.NODE_MODE_ACTIVE)
        self.assertFalse(self.op.get(drained).HasField("evacuation"))
        self.assertEqual(self.op.drain(drained).node.mode, metadata_pb2.NODE_MODE_DRAINING)
        self.op.wait_until_drained(drained)
        evacuation = self.op.get(drained).evacuation
        self.assertEqual((evacuation.leaders_left, evacuation.replicas_left, evacuation.percent), (0, 0, 100))
        # Again: nothing to do, and no error.
        self.op.drain(drained)
        # A topic that is made meanwhile has replicas there, and leaders elsewhere.
        self.client.create_topic(self.topic + ".new", partitions=10)
        details = self.op.partitions(self.topic + ".new")
        self.assertIn(drained, {r.node_id for d in details for r in d.partition.replicas})
        self.assertNotIn(drained, {d.partition.leader_node_id for d in details})
        self.assert_written(self.nodes[1].client.write(self.topic, b"through the drained node"))
        self.assertEqual(self.op.undrain(drained).node.mode, metadata_pb2.NODE_MODE_ACTIVE)
        wait_until("it leads again", lambda: drained in self.leaders(), timeout_s=2 * PATIENCE_S)

    def test_a_node_that_leads_the_metadata_gives_it_away(self):
        controller = self.op.controller()
        self.op.drain(controller)
        self.op.wait_until_drained(controller)
        self.assertNotEqual(self.op.controller(), controller)

    def test_safe_to_stop_names_what_is_at_risk(self):
        self.create_topic()
        replicas = self.op.replicas(self.topic)
        self.op.wait_until_safe(replicas[0])
        dead = self.cluster.node_with_id(replicas[1])
        dead.kill()
        answer = wait_until("another one may not stop", lambda: self.unsafe(replicas[0]))
        self.assertIn((self.topic, 0), {(p.topic.name, p.partition) for p in answer.partitions_at_risk})
        self.assertGreaterEqual(answer.partitions_at_risk_count, 1)
        self.assertIn("majority", answer.reason)
        self.assertFalse(answer.metadata_at_risk, "three of five are left")
        dead.start()
        dead.wait_until_it_answers()
        self.op.wait_until_safe(replicas[0])

    def unsafe(self, node_id):
        answer = self.op.safe_to_stop(node_id)
        return None if answer.safe else answer

    def test_the_only_replica_is_told_and_does_not_hold_a_drain_up(self):
        self.create_topic(replication_factor=1)
        (owner,) = self.op.replicas(self.topic)
        answer = self.op.safe_to_stop(owner)
        self.assertFalse(answer.safe)
        self.assertEqual([p.topic.name for p in answer.partitions_at_risk], [self.topic])
        self.op.drain(owner)
        self.op.wait_until_drained(owner)
        evacuation = self.op.get(owner).evacuation
        self.assertEqual((evacuation.leaders_left, evacuation.leaders_stuck), (1, 1))
        self.assertIn(self.topic, evacuation.obstacles[0])
        self.assert_written(self.client.write(self.topic, b"it still serves"))


class RefusalTest(CrewTest):
    """Everything that cannot be: a clear error, and nothing changed."""

    def setUp(self):
        super().setUp()
        self.create_topic(partitions=3)

    def assert_refused(self, reason, call, *arguments, text=(), but=(), **options):
        before = self.picture()
        error = refused(call, *arguments, **options)
        metadata = dict(but)
        self.assert_error(error, reason, text=text, **metadata)
        self.assertEqual(self.picture(), before, "something changed")
        return error

    def test_a_node_that_does_not_exist(self):
        for call in (
            self.op.drain,
            self.op.undrain,
            self.op.decommission,
            self.op.recommission,
            self.op.remove,
            self.op.safe_to_stop,
            self.op.get,
        ):
            for node_id in (77, 0, -1):
                with self.subTest(call=call.__name__, node=node_id):
                    self.assert_refused("NODE_NOT_FOUND", call, node_id, text=node_id, but={"node_id": node_id})

    def test_a_feature_level_that_nodes_do_not_know(self):
        level = self.op.client().cluster.GetServerInfo(cluster_pb2.GetServerInfoRequest(), timeout=TIMEOUT_S).feature_level
        known = {node.feature_level_max for node in self.op.nodes().values()}
        self.assertEqual(known, {level}, "all run the same version, and the cluster was founded with what it knows")
        done = self.op.raise_level()
        self.assertEqual((done.previous_feature_level, done.feature_level), (level, level))
        error = self.assert_refused("PROTOCOL_MISMATCH", self.op.raise_level, level + 1, text="upgrade them first")
        for node in self.op.nodes().values():
            self.assertIn(f"node {node.node_id} ", error.message)
        self.assert_refused("PROTOCOL_MISMATCH", self.op.raise_level, level + 1, text=level + 1, validate_only=True)
        self.assert_refused("INVALID_ARGUMENT", self.op.raise_level, -1, text="-1")

    def test_the_last_node_in_use_is_not_drained(self):
        *others, last = sorted(self.op.nodes())
        for node_id in others:
            self.op.drain(node_id)
        self.assert_refused("NOT_ENOUGH_NODES", self.op.drain, last, text="node")
        self.assert_refused("NOT_ENOUGH_NODES", self.op.drain, last, text="node", validate_only=True)
        for partition in range(3):
            self.assert_written(self.client.write(self.topic, b"it goes on", partition=partition))

    def test_a_decommission_that_the_replication_factor_forbids(self):
        wide = "on_five_nodes"
        self.client.create_topic(wide, replication_factor=5)
        self.addCleanup(self.client.admin.DeleteTopic, admin_pb2.DeleteTopicRequest(topic={"name": wide}), timeout=TIMEOUT_S)
        for validate_only in (True, False):
            self.assert_refused("NOT_ENOUGH_NODES", self.op.decommission, 5, text=wide, validate_only=validate_only)

    def test_a_decommission_of_what_has_no_majority(self):
        single = "on_one_node"
        self.client.create_topic(single, replication_factor=1)
        (owner,) = self.op.replicas(single)
        self.cluster.node_with_id(owner).kill()
        self.op.wait_until_dead(owner)
        error = self.assert_refused("QUORUM_AT_RISK", self.op.decommission, owner, text=single)
        self.assertIn(f"{single}/0", error.metadata["partitions"])
        self.assert_refused("QUORUM_AT_RISK", self.op.remove, owner, text=single)
        self.cluster.heal()
        self.client.admin.DeleteTopic(admin_pb2.DeleteTopicRequest(topic={"name": single}), timeout=TIMEOUT_S)

    def test_a_living_node_is_not_removed(self):
        for validate_only in (True, False):
            self.assert_refused("NODE_ALIVE", self.op.remove, 4, text="decommission", but={"node_id": 4}, validate_only=validate_only)

    def test_a_node_that_is_being_decommissioned_is_not_just_undrained(self):
        # There has to be something that takes its time.
        node_id = self.op.replicas(self.topic)[0]
        for _ in range(24):  # the newest 4 MiB are in memory, and are copied at once
            self.assert_written(self.client.write(self.topic, b"x" * 500_000))
        self.op.set_rate(CRAWL_BYTES_PER_S)
        self.op.decommission(node_id)
        self.assert_error(refused(self.op.undrain, node_id), "NODE_DECOMMISSIONING", text="recommission", node_id=node_id)
        self.op.recommission(node_id)
        self.op.set_rate(1 << 30)
        self.op.wait_until_settled()
        self.assertEqual(self.op.nodes()[node_id].mode, metadata_pb2.NODE_MODE_ACTIVE)


class GoingTest(ClusterTest):
    """Four nodes at first; some go for good, each in a scene of its own."""

    def setUp(self):
        super().setUp()
        self.cluster = type(self).cluster = Cluster(3, unused=2)
        self.cluster.__enter__()
        self.addCleanup(self.cluster.close)
        self.cluster.join(1)
        self.op = Operations(self.cluster)

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def place_on(self, node_id):
        """A topic of which the node has replicas, and some data in it."""
        self.create_topic(partitions=4)
        found = {r.node_id for d in self.op.partitions(self.topic) for r in d.partition.replicas}
        self.assertIn(node_id, found)
        for partition in range(4):
            self.assert_written(self.client.write(self.topic + "", b"x" * 100_000, partition=partition))

    def replicas_of(self, topic):
        return {d.partition.partition: sorted(r.node_id for r in d.partition.replicas) for d in self.op.partitions(topic)}

    def forget(self, node):
        """The test does not count on it any more."""
        node.close()
        self.cluster.nodes = [n for n in self.cluster.nodes if n is not node]
        self.cluster.all_nodes = [n for n in self.cluster.all_nodes if n is not node]

    def test_a_living_node_is_decommissioned_under_load(self):
        going = self.nodes[3]
        self.place_on(4)
        self.client.create_topic(self.topic + ".load", partitions=3)
        with Load(self.cluster, self.topic + ".load") as load:
            load.wait_for(200)
            self.assertEqual(self.op.decommission(4).node.mode, metadata_pb2.NODE_MODE_DECOMMISSIONING)
            load.wait_for(200)
            self.op.wait_until_gone(4)
            self.op.wait_until_settled()
            self.assertEqual(set(self.replicas_of(self.topic).values().__iter__().__next__()), {1, 2, 3})
            load.wait_for(200)
        self.assertEqual(sorted(self.op.nodes()), [1, 2, 3])
        wait_until("three vote", lambda: self.op.voters() == [1, 2, 3])
        self.assert_error(refused(self.op.get, 4), "NODE_NOT_FOUND")
        self.forget(going)
        self.cluster.wait_until_healthy()
        load.check()
        # It comes back only as another one.
        self.comes_back_as_a_new_node(going)

    def comes_back_as_a_new_node(self, old):
        self.cluster.all_nodes.append(old)
        old.start()
        old.wait_until_it_answers() if old.running else None
        wait_until("it says that it was removed", lambda: not old.running or "removed" in self.status_of(old))
        self.assertEqual(sorted(self.op.nodes()), [1, 2, 3], "nobody takes it back")
        if old.running:
            old.stop()
        old.wipe()
        old.start()
        old.wait_until_it_answers()
        wait_until("it is a new node", lambda: sorted(self.op.nodes()) == [1, 2, 3, 5])

    def status_of(self, node):
        return self.op.info(node).status

    def test_a_dead_node_is_removed_and_its_replicas_are_built_elsewhere(self):
        victim = self.nodes[0]
        victim_id = self.op.id_of(victim)
        self.place_on(victim_id)
        before = {p: self.client.values(self.topic, p) for p in range(4)}
        victim.kill()
        self.op.wait_until_dead(victim_id)
        checked = self.op.remove(victim_id, validate_only=True)
        self.assertFalse(checked.removed)
        answer = self.op.remove(victim_id)
        self.assertFalse(answer.removed, "it has replicas, which come first")
        self.op.wait_until_gone(victim_id)
        self.forget(victim)
        self.op.wait_until_settled()
        self.cluster.wait_until_healthy()
        for partition, nodes in self.replicas_of(self.topic).items():
            self.assertEqual(nodes, [2, 3, 4], partition)
        wait_until("the metadata is voted on by who is left", lambda: self.op.voters() == [2, 3, 4])
        for node in self.nodes:
            self.assertEqual({p: node.client.values(self.topic, p) for p in range(4)}, before)
        # Once more: it is not there.
        self.assert_error(refused(self.op.remove, victim_id), "NODE_NOT_FOUND", node_id=victim_id)

    def test_a_dead_node_without_replicas_goes_at_once(self):
        victim = self.nodes[3]
        victim.kill()
        self.op.wait_until_dead(4)
        self.assertTrue(self.op.remove(4, validate_only=True).removed)
        self.assertIn(4, self.op.nodes())
        self.assertTrue(self.op.remove(4).removed)
        self.assertNotIn(4, self.op.nodes())
        self.forget(victim)

    def test_a_wiped_node_takes_the_place_of_its_former_self(self):
        # What deploy/README.md tells an operator whose disk is lost.
        victim = self.nodes[2]
        victim_id = self.op.id_of(victim)
        self.create_topic(partitions=3)
        with Load(self.cluster, self.topic) as load:
            load.wait_for(200)
            victim.kill()
            victim.wipe()
            victim.start()
            victim.wait_until_it_answers()
            new_id = wait_until("it has joined anew", lambda: self.op.id_of(victim))
            self.op.wait_until_dead(victim_id)
            self.op.remove(victim_id)
            self.op.wait_until_gone(victim_id)
            self.op.wait_until_settled()
            load.wait_for(200)
        self.assertGreater(new_id, 4)
        self.cluster.wait_until_healthy()
        load.check()
        health = self.client.cluster.GetHealth(cluster_pb2.GetHealthRequest(), timeout=TIMEOUT_S)
        self.assertEqual(health.status, cluster_pb2.HEALTH_STATUS_OK, health)


class ClockTest(ClusterTest):
    @classmethod
    def setUpClass(cls):
        if clocks.why_impossible():
            raise unittest.SkipTest(clocks.why_impossible())
        files = tempfile.TemporaryDirectory(prefix="flotilla_clocks_")
        cls.addClassCleanup(files.cleanup)
        wrong = [
            clocks.PlaceWithClock(Place(), pathlib.Path(files.name) / name, ahead_s) for name, ahead_s in (("fast", 3600), ("slow", -3600))
        ]
        cls.cluster = Cluster(3, places=[Place(), *wrong])
        cls.cluster.__enter__()
        cls.op = Operations(cls.cluster)

    def test_clocks_that_are_an_hour_apart_are_told(self):
        ours, fast, slow = self.nodes
        now = self.op.info(ours).time_ms
        self.assertAlmostEqual(self.op.info(fast).time_ms - now, 3_600_000, delta=60_000)
        self.assertAlmostEqual(self.op.info(slow).time_ms - now, -3_600_000, delta=60_000)

        def told():
            health = self.client.cluster.GetHealth(cluster_pb2.GetHealthRequest(), timeout=2)
            return {problem.node_id for problem in health.problems if problem.kind == "CLOCK_SKEW"}

        wait_until("health names those that differ from the metadata leader", lambda: len(told()) == 2)
        for node in self.nodes:
            self.assertEqual(self.op.nodes()[self.op.id_of(node)].state, metadata_pb2.NODE_STATE_ALIVE)


class StrangerTest(unittest.TestCase):
    """Nodes that come with what is not theirs."""

    def test_a_node_that_starts_with_another_clusters_directory(self):
        with Cluster(3) as ours, Cluster(3) as theirs:
            stranger = ours.nodes[0]
            for node in (stranger, *theirs.nodes):
                node.kill()
            stranger.wipe()
            shutil.copytree(theirs.nodes[0].data_dir, stranger.data_dir)
            op = Operations(ours)
            ours.nodes = ours.nodes[1:]
            before = sorted(op.nodes())
            stranger.start()
            stranger.wait_until_it_answers()
            foreign = op.info(stranger).cluster_id
            self.assertNotEqual(foreign, op.info(ours.nodes[0]).cluster_id)
            # Both sides say it: who was asked, and who asked.
            words = f"this node belongs to cluster {foreign}, the caller"
            for node in (stranger, *ours.nodes):
                wait_until(f"node {node.number} says that it is of another cluster", lambda: words in node.log())
            op.wait_until_dead(1)
            self.assertEqual(sorted(op.nodes()), before)
            ours.nodes[0].client.create_topic("orders", replication_factor=1)


if __name__ == "__main__":
    main()
