"""A majority of the metadata's voters is lost for good: a stopped node that is left goes on alone, and the cluster grows again around it."""
import os
import re
import subprocess
import unittest

from calls import TIMEOUT_S
from flotilla.v1 import admin_pb2, cluster_pb2, metadata_pb2
from nodes import PATIENCE_S, Cluster, daemon, wait_until
from operations import Operations
from scene import ClusterTest, main

NOTHING_DONE = 5
CONFIGURATION = 78


def recover(node, *arguments):
    command = [daemon(), "recover-metadata", str(node.data_dir), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def end_of_metadata(node):
    """Term and index, as the operator compares them."""
    return tuple(int(n) for n in re.search(r"ends at term (\d+), index (\d+)", recover(node).stdout).groups())


def topics_of(node):
    """As the node itself knows them."""
    return [topic.topic.topic.name for topic in node.client.cluster.GetMetadata(cluster_pb2.GetMetadataRequest(), timeout=2).topics]


class OneIsLeftTest(ClusterTest):
    """Of three nodes two lose their disks."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3, unused=2)
        cls.cluster.__enter__()

    def everything(self, node):
        return sorted(node.client.values(self.topic, 0) + node.client.values(self.topic, 1))

    def test_it_goes_on_and_gets_others(self):
        op = Operations(self.cluster)
        self.create_topic(partitions=2)
        values = [b"%d" % i for i in range(10)]
        for i, value in enumerate(values):
            self.assert_written(self.client.write(self.topic, value, partition=i % 2))
        ids = op.ids()
        left, *lost = self.nodes
        running = recover(left)
        self.assertEqual(running.returncode, 1, running)
        self.assertIn(f"in use by process {left.process.pid}", running.stderr)
        for node in lost:
            node.kill()
            node.wipe()
        self.assertEqual(left.stop(), 0)

        looked = recover(left)
        self.assertEqual(looked.returncode, NOTHING_DONE, looked)
        self.assertIn("voters 1,2,3", looked.stdout)
        self.assertIn("add --i-accept-data-loss", looked.stderr)
        self.assertEqual(recover(left).stdout, looked.stdout, "looking changes nothing")
        done = recover(left, "--i-accept-data-loss")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("goes on as the metadata's only voter", done.stdout)
        again = recover(left, "--i-accept-data-loss")
        self.assertEqual(again.returncode, NOTHING_DONE, again)
        self.assertIn("the only voter already", again.stderr)

        left.start()
        left.wait_until_it_answers()
        wait_until("it leads the metadata", lambda: op.controller() == ids[left])
        self.assertEqual(op.voters(), [ids[left]])
        # The partitions are without a majority still, and the command for them works now.
        for partition in range(2):
            wait_until("it says what it has", lambda: op.recover(self.topic, partition=partition, validate_only=True), 3 * PATIENCE_S)
            op.recover(self.topic, partition=partition, accept_data_loss=True)
            wait_until("it leads", lambda: self.cluster.leader_of(self.topic, partition, via=left) is left)
        self.assertEqual(self.everything(left), sorted(values))

        for node in lost:
            op.wait_until_dead(ids[node])
            op.remove(ids[node])
        self.cluster.nodes = [left]
        fresh = self.cluster.all_nodes[3:]
        for node in fresh:
            node.start()
        for node in fresh:
            node.wait_until_it_answers()
            wait_until("it has joined", lambda: op.id_of(node))
            self.assertGreater(op.id_of(node), 100, "ids that the lost ones may have given are left out")
        self.cluster.nodes = [left, *fresh]
        self.cluster.wait_until_healthy()
        wait_until("three vote", lambda: len(op.voters()) == 3)
        for partition in range(2):
            wait_until("three replicas", lambda: len(op.replicas(self.topic, partition)) == 3)
            op.wait_until_settled(self.topic, partition)
        self.assert_written(fresh[0].client.write(self.topic, b"new"))
        # It is a cluster like any other: without the one that was left it goes on.
        left.kill()
        wait_until("the others go on", lambda: not fresh[0].client.write(self.topic, b"newer").HasField("error"))
        left.start()
        self.cluster.wait_until_healthy()
        for node in self.nodes:
            self.assertEqual(self.everything(node), sorted([*values, b"new", b"newer"]))


class TwoAreLeftTest(ClusterTest):
    """Of five nodes, which all vote, three are lost."""

    NODES = 5

    @staticmethod
    def health(node):
        return node.client.cluster.GetHealth(cluster_pb2.GetHealthRequest(), timeout=2)

    def test_the_newest_goes_on_and_the_other_follows(self):
        op = Operations(self.cluster)
        wait_until("all vote", lambda: len(op.voters()) == 5)
        ids = op.ids()
        one, other, *lost = self.nodes
        # What the one misses, the other has.
        one.kill()
        other.client.create_topic(self.topic)
        wait_until("the other knows it", lambda: self.topic in topics_of(other))
        for node in [*lost, other]:
            node.kill()
        self.assertLess(end_of_metadata(one), end_of_metadata(other))
        self.assertEqual(recover(other, "--i-accept-data-loss").returncode, 0)
        for node in (one, other):
            node.start()
            node.wait_until_it_answers()
        for node in (one, other):
            wait_until("it knows who leads", lambda: self.health(node).controller_node_id == ids[other])
            wait_until("it lives", lambda: op.nodes()[ids[node]].state == metadata_pb2.NODE_STATE_ALIVE)
        wait_until("the one knows the topic", lambda: self.topic in topics_of(one))

        one.client.admin.DeleteTopic(admin_pb2.DeleteTopicRequest(topic={"name": self.topic}), timeout=TIMEOUT_S)  # it needs its nodes

        # One that was lost comes back after it was removed: it is told, and stops for good.
        back, *gone = lost
        for node in lost:
            op.wait_until_dead(ids[node])
            op.remove(ids[node])
        back.start()
        self.assertEqual(back.wait_for_its_end(), CONFIGURATION, back.last_words())
        self.cluster.nodes = [one, other]
        self.assertEqual(sorted(op.nodes()), sorted([ids[one], ids[other]]))


class AnOlderOneIsChosenTest(ClusterTest):
    def test_who_knows_more_stops(self):
        op = Operations(self.cluster)
        older, newer, _ = self.nodes
        older_id = op.id_of(older)
        older.kill()
        # What is committed is known on the disk with what is written after it.
        for i in range(3):
            newer.client.create_topic(f"{self.topic}.{i}", replication_factor=1)
        wait_until("the newer one knows them", lambda: len(topics_of(newer)) == 3)
        for node in self.cluster.others(older):
            node.kill()
        self.assertEqual(recover(older, "--i-accept-data-loss").returncode, 0)
        older.start()
        older.wait_until_it_answers()
        wait_until("it leads the metadata", lambda: op.controller() == older_id)
        newer.start()
        self.assertEqual(newer.wait_for_its_end(), 1, newer.last_words())
        self.assertRegex(newer.log(), "node_has_to_stop reason=.DATA_LOSS.*the logs diverge")
        self.cluster.nodes = [older]


class NothingToRecoverTest(unittest.TestCase):
    def test_a_node_in_no_cluster_and_a_node_alone(self):
        cluster = Cluster(1)
        self.addCleanup(cluster.close)
        (node,) = cluster.nodes
        said = recover(node, "--i-accept-data-loss")
        self.assertEqual(said.returncode, 1, "there is no directory")
        self.assertFalse((node.data_dir / "store").exists())
        cluster.start()
        node.stop()
        said = recover(node, "--i-accept-data-loss")
        self.assertEqual(said.returncode, 1, said)
        self.assertIn("is in no cluster", said.stderr)
        if os.geteuid() == 0:
            os.chown(node.data_dir, 65534, -1)
            said = recover(node, "--i-accept-data-loss")
            self.assertEqual(said.returncode, 1, said)
            self.assertIn("run this as nobody", said.stderr)
            os.chown(node.data_dir, 0, -1)
        node.start()
        node.wait_until_it_answers()
        cluster.init()
        cluster.wait_until_healthy()
        node.stop()
        said = recover(node, "--i-accept-data-loss")
        self.assertEqual(said.returncode, NOTHING_DONE, said)
        node.start()
        cluster.wait_until_healthy()


if __name__ == "__main__":
    main()
