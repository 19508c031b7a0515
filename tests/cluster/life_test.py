"""How nodes and clusters begin and end: before init, wrong starts, a wiped disk, a later node."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from calls import TIMEOUT_S, failing
from flotilla.v1 import admin_pb2, cluster_pb2, metadata_pb2, produce_pb2
from nodes import Cluster, Node, cli, daemon, die_with_parent, free_ports, wait_until
from scene import ClusterTest, main


def info(node):
    return node.client.cluster.GetServerInfo(cluster_pb2.GetServerInfoRequest(), timeout=2)


class BeginningTest(ClusterTest):
    """Three nodes that were started and told nothing."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3)
        cls.cluster.start()

    def test_nodes_wait_say_so_and_become_a_cluster_when_told_once(self):
        # One scene, because a cluster begins once.
        for node in self.nodes:
            said = info(node)
            self.assertEqual((said.node_id, said.cluster_id), (0, ""))
            self.assertIn("init", said.status)
            self.assertTrue(said.node_uuid)
            for call in (
                lambda: node.client.create_topic("t"),
                lambda: node.client.produce.InitProducer(produce_pb2.InitProducerRequest(), timeout=TIMEOUT_S),
            ):
                with failing() as failure:
                    call()
                self.assert_error(failure.error, "NOT_INITIALIZED", text="init")
        checked = self.client.cluster.InitCluster(cluster_pb2.InitClusterRequest(validate_only=True), timeout=TIMEOUT_S)
        self.assertEqual(checked.cluster_id, "")
        self.assertEqual(info(self.nodes[0]).node_id, 0)

        born = self.nodes[1].client.cluster.InitCluster(cluster_pb2.InitClusterRequest(), timeout=TIMEOUT_S)
        self.assertEqual([n.client_address for n in born.nodes], [n.address for n in self.nodes])
        self.cluster.wait_until_healthy()
        self.assertEqual({info(node).cluster_id for node in self.nodes}, {born.cluster_id})
        self.assertEqual([info(node).node_id for node in self.nodes], [1, 2, 3])
        again = self.nodes[2].client.cluster.InitCluster(
            cluster_pb2.InitClusterRequest(if_needed=True), timeout=TIMEOUT_S
        )
        self.assertTrue(again.already_initialized)
        self.assertEqual(again.cluster_id, born.cluster_id)


class FoundingTest(ClusterTest):
    """Three nodes that are about to be started."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3)

    def test_init_waits_for_nodes_that_start(self):
        command = [cli(), "--brokers", self.cluster.addresses(), "cluster", "init"]
        init = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        self.addCleanup(init.communicate)
        self.assertIn("waiting: no broker can be reached", init.stderr.readline())
        for node in self.nodes:
            node.start()
        cluster_id, said = init.communicate(timeout=30)
        self.assertEqual(init.returncode, 0, said)
        self.assertIn("the cluster is founded", said)
        self.assertEqual({info(node).cluster_id for node in self.nodes}, {cluster_id.splitlines()[0]})


class MissingSeedTest(ClusterTest):
    """Of three seeds one does not run."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3)
        for node in cls.cluster.nodes[:2]:
            node.start()
            node.wait_until_it_answers()

    def test_a_seed_that_does_not_answer_is_named_and_nothing_is_begun(self):
        missing = self.nodes[2]
        with failing() as failure:
            self.client.cluster.InitCluster(cluster_pb2.InitClusterRequest(), timeout=TIMEOUT_S)
        self.assert_error(failure.error, "NO_LEADER", text=missing.peer_address)
        self.assertEqual([info(node).node_id for node in self.nodes[:2]], [0, 0])
        missing.start()
        missing.wait_until_it_answers()

        # The others may still stand by what they promised to the attempt before.
        def begun():
            self.client.cluster.InitCluster(cluster_pb2.InitClusterRequest(if_needed=True), timeout=TIMEOUT_S)
            return True

        wait_until("the cluster begins once all seeds answer", begun)
        self.cluster.wait_until_healthy()


class SingleNodeTest(unittest.TestCase):
    def test_a_node_alone_founds_a_cluster_of_its_own(self):
        cluster = Cluster(1, settings={"cluster": {"bootstrap": "single"}})
        with contextlib.closing(cluster):
            cluster.start()
            cluster.wait_until_healthy()
            client = cluster.nodes[0].client
            created = client.admin.CreateTopic(
                admin_pb2.CreateTopicRequest(topic={"name": "orders"}), timeout=TIMEOUT_S
            )
            self.assertEqual(created.topic.replication_factor, 1)
            self.assertEqual(client.write("orders", b"x").placements[0].base_offset, 0)
            cluster.nodes[0].kill()
            cluster.nodes[0].start()
            cluster.wait_until_healthy()
            self.assertEqual(client.values("orders"), [b"x"])


class StartTest(unittest.TestCase):
    """What a node says when it cannot start: which thing, which value, what to do; and it ends with an error."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="flotilla_cluster_")
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name)

    def node(self, number=1, ports=None, settings=None):
        ports = ports or free_ports(3)
        node = Node(number, self.directory, ports, [f"127.0.0.1:{ports[1]}"], settings=settings)
        self.addCleanup(node.close)
        return node

    def assert_refuses_to_start(self, node, *words):
        node.start()
        code = node.wait_for_its_end()
        self.assertGreater(code, 0, f"ended with {code}, a crash or a success: {node.last_words()}")
        for word in words:
            self.assertIn(str(word), node.log())

    def test_a_port_that_is_taken(self):
        first = self.node(1)
        first.start()
        first.wait_until_it_answers()
        for i, what in enumerate(("client", "peer", "http")):
            with self.subTest(what):
                ports = free_ports(3)
                ports[i] = (first.client_port, first.peer_port, first.http_port)[i]
                self.assert_refuses_to_start(self.node(2 + i, ports), ports[i])
        self.assertTrue(first.running)

    def test_a_data_directory_that_somebody_else_uses(self):
        first = self.node(1)
        first.start()
        first.wait_until_it_answers()
        second = self.node(2, settings={"node": {"data_dir": first.data_dir}})
        self.assert_refuses_to_start(second, first.data_dir)
        self.assertTrue(first.running)

    def test_a_data_directory_that_cannot_be_written(self):
        # Also for root: nobody makes directories in sysfs.
        self.assert_refuses_to_start(self.node(1, settings={"node": {"data_dir": "/sys/flotilla"}}), "/sys/flotilla")

    def test_a_data_directory_that_is_a_file(self):
        file = self.directory / "file"
        file.write_text("not a directory")
        self.assert_refuses_to_start(self.node(1, settings={"node": {"data_dir": file}}), file)
        self.assertEqual(file.read_text(), "not a directory")

    def test_a_data_directory_of_another_program(self):
        node = self.node(1)
        node.data_dir.mkdir()
        (node.data_dir / "holiday.jpg").write_bytes(os.urandom(1000))
        self.assert_refuses_to_start(node, node.data_dir)
        self.assertTrue((node.data_dir / "holiday.jpg").exists())

    def test_settings_that_do_not_exist_and_values_that_cannot_be(self):
        for section, key, value, words in (
            ("node", "data_dri", "/tmp/x", ("data_dri", "data_dir")),
            ("listen", "client", "nowhere", ("listen.client", "nowhere")),
            ("limits", "inflight_bytes", "lots", ("inflight_bytes", "lots")),
        ):
            with self.subTest(key):
                node = self.node(1, settings={section: {key: value}})
                self.assert_refuses_to_start(node, f"{node.config_file}:", *words)
                self.assertEqual(node.process.returncode, 78)

    def test_a_configuration_that_is_not_there(self):
        node = self.node(1)
        node.config_file.unlink()
        self.assert_refuses_to_start(node, node.config_file)


class WipedDiskTest(ClusterTest):
    """A node loses its disk and comes back with an empty one."""

    def test_a_wiped_node_is_a_new_node_and_its_old_self_is_dead(self):
        self.create_topic()
        for i in range(20):
            self.assert_written(self.client.write(self.topic, b"%d" % i))
        victim = self.nodes[2]
        old = info(victim)
        victim.kill()
        victim.wipe()
        victim.start()
        new_id = wait_until(
            "the wiped node has joined as a new one",
            lambda: info(victim).node_id not in (0, old.node_id) and info(victim).node_id,
            timeout_s=60,
        )
        self.assertGreater(new_id, 3)
        self.assertEqual(info(victim).cluster_id, old.cluster_id)
        self.assertNotEqual(info(victim).node_uuid, old.node_uuid)

        def states():
            listed = self.client.cluster.ListNodes(cluster_pb2.ListNodesRequest(), timeout=2).nodes
            return {n.node_id: n.state for n in listed}

        alive, dead = metadata_pb2.NODE_STATE_ALIVE, metadata_pb2.NODE_STATE_DEAD
        wait_until(
            "the old one is dead and the new one lives",
            lambda: states() == {1: alive, 2: alive, old.node_id: dead, new_id: alive},
        )
        wait_until("the new one has the metadata", lambda: info(victim).metadata_version > 0)
        # What was acknowledged is served, by the new node too, and writing goes on with the majority that is left.
        for node in self.nodes:
            self.assertEqual(node.client.values(self.topic)[:20], [b"%d" % i for i in range(20)])
            self.assert_written(node.client.write(self.topic, b"more"))
        self.assertEqual(self.client.values(self.topic)[20:], [b"more"] * 3)
        # New topics use the new node.
        created = self.client.create_topic(self.topic + ".new", replication_factor=3)
        replicas = self.client.cluster.GetMetadata(
            cluster_pb2.GetMetadataRequest(topics=[{"name": created.topic.topic.name}]), timeout=TIMEOUT_S
        )
        self.assertEqual({r.node_id for r in replicas.topics[0].partitions[0].replicas}, {1, 2, new_id})


class CopiedDirectoryTest(ClusterTest):
    """A node's data directory is started at another address: a copy of a node that lives, or a node that has moved."""

    def elsewhere(self, number, settings=None):
        ports = free_ports(3)
        node = Node(number, self.cluster.directory, ports, self.cluster.seeds, settings=settings)
        self.addCleanup(node.close)
        return node

    def members(self):
        listed = self.client.cluster.ListNodes(cluster_pb2.ListNodesRequest(), timeout=TIMEOUT_S).nodes
        return {n.node_id: n.client_address for n in listed}

    def test_a_copy_is_refused_and_the_original_may_move(self):
        # One scene, because the node is at another address afterwards.
        self.create_topic()
        self.assert_written(self.client.write(self.topic, b"first"))
        original = self.nodes[2]
        before = self.members()
        copy = self.elsewhere(4)
        self.assertEqual(original.stop(), 0)
        shutil.copytree(original.data_dir, copy.data_dir)
        original.start()
        self.cluster.wait_until_healthy()

        copy.start()
        self.assertEqual(copy.wait_for_its_end(), 78, copy.last_words())
        self.assertIn("NODE_MISMATCH", copy.log())
        self.assertIn(original.peer_address, copy.log())
        self.assertIn(copy.peer_address, copy.log())
        self.assertEqual(self.members(), before)
        self.cluster.wait_until_healthy()
        self.assertEqual(original.client.values(self.topic), [b"first"])

        self.assertEqual(original.stop(), 0)
        moved = self.elsewhere(5, settings={"node": {"data_dir": original.data_dir}})
        moved.start()
        self.cluster.all_nodes[2] = self.cluster.nodes[2] = moved
        wait_until("the node is registered at its new address", lambda: self.members() == {**before, 3: moved.address})
        self.cluster.wait_until_healthy()
        self.assert_written(moved.client.write(self.topic, b"second"))
        self.assertEqual(moved.client.values(self.topic), [b"first", b"second"])

        # A copy that finds nobody where it ran last does not know better: the others do, and keep it out.
        copy.start()
        words = f"alive at {moved.peer_address}, and another process at {copy.peer_address}"
        wait_until("the copy is not registered", lambda: any("join_refused" in line and words in line for line in copy.log().splitlines()))
        wait_until("nobody talks to it", lambda: all(words in node.log() for node in self.nodes[:2]))
        copy.kill()
        self.assertEqual(self.members(), {**before, 3: moved.address})


class StoppedNodeTest(unittest.TestCase):
    """flotillad verify and dump-log: what is in a stopped node's directory, and nothing of it changes."""

    def run_daemon(self, *arguments):
        return subprocess.run([daemon(), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_a_stopped_node_is_looked_into(self):
        with Cluster(1) as cluster:
            (node,) = cluster.nodes
            node.client.create_topic("orders", replication_factor=1)
            for i in range(20):
                node.client.write("orders", b"%d" % i * 1000)
            said = self.run_daemon("verify", node.data_dir)
            self.assertEqual(said.returncode, 1, said)
            self.assertIn(f"in use by process {node.process.pid}", said.stderr)
            self.assertEqual(node.stop(), 0)

            said = self.run_daemon("verify", node.data_dir)
            self.assertEqual(said.returncode, 0, said)
            self.assertIn("all is well", said.stdout)
            groups = self.run_daemon("dump-log", node.data_dir).stdout
            self.assertIn("voters 1", groups)
            (group,) = [line.split()[0] for line in groups.splitlines() if "orders/0" in line]
            dump = self.run_daemon("dump-log", node.data_dir, "--group", group, "--payloads").stdout
            self.assertEqual(dump.count("value_bytes="), 20)
            self.assertEqual(len(self.run_daemon("dump-log", node.data_dir, "--group", group, "--from", 3, "--count", 2).stdout.splitlines()), 2)
            self.assertEqual(self.run_daemon("dump-log", node.data_dir, "--group", 77).returncode, 1)
            self.assertEqual(self.run_daemon("verify", cluster.directory).returncode, 1, "no data directory")

            # It starts as if nobody had looked.
            node.start()
            cluster.wait_until_healthy()
            self.assertEqual(len(node.client.values("orders")), 20)
            node.stop()
            (node.data_dir / "NODE").write_bytes((node.data_dir / "NODE").read_bytes()[:-1] + b"?")
            said = self.run_daemon("verify", node.data_dir)
            self.assertEqual(said.returncode, 65, said)
            self.assertIn("NODE is damaged", said.stdout)


class LaterNodeTest(unittest.TestCase):
    def test_a_node_that_comes_later_joins_through_the_seeds_and_serves(self):
        with Cluster(3, unused=1) as cluster:
            late = cluster.all_nodes[3]
            late.start()
            late.wait_until_it_answers()
            wait_until("the late node has joined", lambda: info(late).node_id == 4)
            cluster.nodes[0].client.create_topic("orders")
            wait_until(
                "it serves what it has no replica of", lambda: not late.client.write("orders", b"x").HasField("error")
            )
            self.assertEqual(cluster.nodes[1].client.values("orders")[:1], [b"x"])

    def test_a_node_of_a_cluster_with_another_name_is_not_taken(self):
        with Cluster(1) as cluster:
            stranger = Node(9, cluster.directory, free_ports(3), cluster.seeds, cluster_name="other")
            cluster.all_nodes.append(stranger)
            stranger.start()
            stranger.wait_until_it_answers()
            wait_until("the stranger says why", lambda: "other" in stranger.log() and "test" in stranger.log())
            self.assertEqual(info(stranger).node_id, 0)
            listed = cluster.nodes[0].client.cluster.ListNodes(cluster_pb2.ListNodesRequest(), timeout=TIMEOUT_S).nodes
            self.assertEqual(len(listed), 1)


if __name__ == "__main__":
    main()
