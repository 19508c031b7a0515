"""Nodes are killed, frozen and restarted while producers write: nothing acknowledged is lost or there twice."""
import subprocess
import time
import uuid

from calls import TIMEOUT_S, failing, reason_name, text_of
from flotilla.v1 import cluster_pb2, common_pb2, consume_pb2, metadata_pb2, produce_pb2
from load import Load
from nodes import PATIENCE_S, cli, die_with_parent, wait_until
from scene import ClusterTest, main

# How long nobody gets an acknowledgement when a leader dies: elections take 1 to 2 seconds. Generous, because a test
# machine may be busy with something else.
FAILOVER_S_MAX = PATIENCE_S / 3


class FailuresTest(ClusterTest):
    def setUp(self):
        super().setUp()
        self.cluster.heal()
        self.create_topic(partitions=3)
        self.addCleanup(self.cluster.heal)

    def leader(self, partition=0):
        return self.cluster.leader_of(self.topic, partition)

    def settle(self, load):
        """Healthy again, and everything that was read from every node fits to what was told."""
        self.cluster.wait_until_healthy()
        load.check()

    def test_a_leader_is_killed_and_comes_back(self):
        with Load(self.cluster, self.topic) as load:
            load.wait_for(300)
            victim = self.leader()
            victim.kill()
            load.wait_for(300)
            victim.start()
            victim.wait_until_it_answers()
            load.wait_for(300)
        self.assertLess(load.longest_gap_s, FAILOVER_S_MAX)
        self.settle(load)

    def test_a_leader_is_frozen_and_awakes(self):
        with Load(self.cluster, self.topic, producers=len(self.nodes)) as load:
            load.wait_for(300)
            victim = self.leader()  # one of the producers talks to it
            old_epoch = self.epoch()
            victim.pause()
            wait_until("another node leads", lambda: self.epoch() > old_epoch)
            load.wait_for_each(100)
            victim.resume()
            load.wait_for_each(100)
        self.assertLess(load.longest_gap_s, FAILOVER_S_MAX)
        self.settle(load)

    def test_a_producer_of_the_library_leaves_a_frozen_leader(self):
        # It writes to the leader itself, whose connection looks well as long as the node is frozen.
        producer = subprocess.Popen(
            [cli(), "-b", self.cluster.addresses(), "produce", self.topic, "--partition", "0"],
            stdin=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )
        self.addCleanup(producer.kill)
        lines = [f"line {i}" for i in range(20)]

        def write(*some):
            producer.stdin.write("".join(line + "\n" for line in some))
            producer.stdin.flush()

        victim = self.leader()
        other = self.cluster.others(victim)[0]
        write(*lines[:10])
        wait_until("the first lines are there", lambda: other.client.place(self.topic) == 10)
        victim.pause()
        began = time.monotonic()
        for line in lines[10:]:
            write(line)
        producer.stdin.close()
        self.assertEqual(producer.wait(timeout=PATIENCE_S), 0)
        self.assertLess(time.monotonic() - began, FAILOVER_S_MAX)
        victim.resume()
        self.cluster.wait_until_healthy()
        for node in self.nodes:
            self.assertEqual(node.client.values(self.topic), [line.encode() for line in lines])

    def epoch(self):
        node = next(n for n in self.nodes if n.running and not n._paused)
        metadata = node.client.cluster.GetMetadata(
            cluster_pb2.GetMetadataRequest(topics=[{"name": self.topic}]), timeout=2
        )
        partition = metadata.topics[0].partitions[0]
        return partition.leader_epoch if partition.leader_node_id else 0

    def test_a_frozen_leader_does_not_serve_from_the_past_when_it_awakes(self):
        victim = self.leader()
        other, _ = self.cluster.others(victim)
        self.assert_written(other.client.write(self.topic, b"before"), base_offset=0)
        old_epoch = self.epoch()
        victim.pause()
        # A record that the frozen leader got might or might not come to life with it.
        wait_until("another node leads", lambda: self.epoch() > old_epoch)
        self.assert_written(other.client.write(self.topic, b"meanwhile", timeout=PATIENCE_S), base_offset=1)
        # Asked while it sleeps, answered when it is awake: it must have the news or say that it does not lead.
        place = consume_pb2.ListOffsetsItem(
            topic={"name": self.topic}, partition=0, position={"point": common_pb2.START_POINT_LATEST}
        )
        call = victim.client.consume.ListOffsets.future(
            consume_pb2.ListOffsetsRequest(items=[place]), timeout=TIMEOUT_S
        )
        victim.resume()
        result = call.result().results[0]
        self.assertFalse(result.HasField("error"), result.error)
        self.assertEqual(result.offsets.offset, 2)
        self.assertEqual(victim.client.values(self.topic), [b"before", b"meanwhile"])

    def test_a_leader_that_is_told_to_stop_hands_over(self):
        with Load(self.cluster, self.topic) as load:
            load.wait_for(300)
            victim = self.leader()
            self.assertEqual(victim.stop(), 0, victim.last_words())
            load.wait_for(300)
            victim.start()
            victim.wait_until_it_answers()
            load.wait_for(300)
        self.assertLess(load.longest_gap_s, FAILOVER_S_MAX)
        self.settle(load)

    def test_all_nodes_are_restarted_one_after_the_other(self):
        with Load(self.cluster, self.topic) as load:
            load.wait_for(200)
            for node in self.nodes:
                self.assertEqual(node.stop(), 0, node.last_words())
                node.start()
                self.cluster.wait_until_healthy()
                load.wait_for(200)
        self.settle(load)

    def test_all_nodes_are_killed_at_once(self):
        with Load(self.cluster, self.topic) as load:
            load.wait_for(300)
            for node in self.nodes:
                node.kill()
            for node in self.nodes:
                node.start()
            load.wait_for(300)
        self.settle(load)

    def test_without_a_majority_nothing_is_acknowledged_and_with_one_it_goes_on(self):
        survivor = self.leader()
        self.assert_written(survivor.client.write(self.topic, b"before"), base_offset=0)
        for node in self.cluster.others(survivor):
            node.kill()
        # Before the deadline, so that it can say what became of it.
        result = survivor.client.write(self.topic, b"alone", timeout=4)
        self.assertIn(reason_name(result.error), ("NO_LEADER", "OUTCOME_UNKNOWN"), text_of(result.error))
        health = survivor.client.cluster.GetHealth(cluster_pb2.GetHealthRequest(), timeout=TIMEOUT_S)
        self.assertEqual(health.status, cluster_pb2.HEALTH_STATUS_FAILED)
        self.cluster.heal()
        self.assert_written(survivor.client.write(self.topic, b"after", timeout=PATIENCE_S))
        values = [node.client.values(self.topic) for node in self.nodes]
        self.assertEqual(values[0], values[1])
        self.assertEqual(values[0], values[2])
        # The record without an answer is there or is not.
        self.assertIn(values[0], ([b"before", b"after"], [b"before", b"alone", b"after"]))

    def test_a_batch_that_is_sent_again_after_a_failover_is_there_once(self):
        producer = self.client.produce.InitProducer(produce_pb2.InitProducerRequest(), timeout=TIMEOUT_S)

        def write(node, sequence, *values):
            return node.client.write(
                self.topic,
                *values,
                timeout=PATIENCE_S,
                producer_id=producer.producer_id,
                producer_epoch=producer.producer_epoch,
                base_sequence=sequence
            )

        victim = self.leader()
        other = self.cluster.others(victim)[0]
        first = self.assert_written(write(other, 0, b"a", b"b"), base_offset=0)
        second = self.assert_written(write(other, 2, b"c"), base_offset=2)
        self.assertFalse(first.deduplicated or second.deduplicated)
        victim.kill()
        for sequence, values, offset in ((0, (b"a", b"b"), 0), (2, (b"c",), 2)):
            again = self.assert_written(write(other, sequence, *values), base_offset=offset)
            self.assertTrue(again.deduplicated)
        self.assertFalse(self.assert_written(write(other, 3, b"d"), base_offset=3).deduplicated)
        self.assert_error(write(other, 9, b"x").error, "OUT_OF_ORDER", expected=4, actual=9)
        self.cluster.heal()
        self.assertEqual(victim.client.values(self.topic), [b"a", b"b", b"c", b"d"])

    def test_a_subscription_survives_the_death_of_the_leader(self):
        victim = self.leader()
        other = self.cluster.others(victim)[0]
        topic = consume_pb2.SubscribeTopic(topic={"name": self.topic}, partitions=[0])
        events = other.client.consume.Subscribe(consume_pb2.SubscribeRequest(topics=[topic]), timeout=2 * PATIENCE_S)

        def next_value():
            return next(r.value for event in events for b in event.batches.batches for r in b.records.records)

        self.assert_written(other.client.write(self.topic, b"before"))
        self.assertEqual(next_value(), b"before")
        victim.kill()
        self.assert_written(other.client.write(self.topic, b"after", timeout=PATIENCE_S))
        self.assertEqual(next_value(), b"after")
        events.cancel()

    def test_the_metadata_goes_on_when_its_leader_dies(self):
        controller_id = self.client.cluster.GetHealth(
            cluster_pb2.GetHealthRequest(), timeout=TIMEOUT_S
        ).controller_node_id
        victim = self.cluster.node_with_id(controller_id)
        other = self.cluster.others(victim)[0]
        victim.kill()
        name = self.topic[:200] + ".new"
        request_id = str(uuid.uuid4())  # an attempt whose answer is lost may have made it

        # Three replicas: a single one might be put on the dead node, which is still taken for living.
        def created():
            other.client.create_topic(name, replication_factor=3, request_id=request_id)
            return True

        wait_until("a topic is created without the old leader of the metadata", created)
        self.assert_written(other.client.write(name, b"x", timeout=PATIENCE_S), base_offset=0)

    def test_a_dead_node_shows_as_dead_and_a_topic_with_three_replicas_is_refused_until_it_lives(self):
        victim, *others = self.nodes
        victim_id = victim.client.cluster.GetServerInfo(cluster_pb2.GetServerInfoRequest(), timeout=TIMEOUT_S).node_id
        victim.kill()

        def dead():
            node = others[0].client.cluster.GetNode(cluster_pb2.GetNodeRequest(node_id=victim_id), timeout=2).node
            return node.state == metadata_pb2.NODE_STATE_DEAD

        wait_until("the dead node is seen to be dead", dead)
        with failing() as failure:
            others[1].client.create_topic(self.topic + ".new", replication_factor=3)
        self.assert_error(failure.error, "NOT_ENOUGH_NODES", replication_factor=3, live_nodes=2)
        health = others[0].client.cluster.GetHealth(cluster_pb2.GetHealthRequest(), timeout=TIMEOUT_S)
        self.assertEqual((health.nodes, health.nodes_alive), (3, 2))
        self.assertIn(victim_id, [problem.node_id for problem in health.problems])
        self.cluster.heal()
        others[1].client.create_topic(self.topic + ".new", replication_factor=3)

    def test_a_restarted_node_has_everything_within_seconds(self):
        for i in range(50):
            self.assert_written(self.client.write(self.topic, b"%d" % i * 1000))
        began = time.monotonic()
        for node in self.nodes:
            node.kill()
        for node in self.nodes:
            node.start()
        self.cluster.wait_until_healthy()
        self.assertLess(time.monotonic() - began, PATIENCE_S)
        self.assertEqual(self.client.place(self.topic), 50)


if __name__ == "__main__":
    main()
