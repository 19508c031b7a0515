"""A partition loses its majority for good: somebody looks at what is left, decides, and it goes on; what was given up stays so."""
import subprocess

from flotilla.v1 import errors_pb2
from nodes import PATIENCE_S, cli, wait_until
from operations import Operations, refused
from scene import ClusterTest, main


class RecoveryTest(ClusterTest):
    NODES = 5

    def setUp(self):
        super().setUp()
        self.op = Operations(self.cluster)
        self.cluster.heal()
        self.addCleanup(self.cluster.heal)

    def cli(self, *arguments):
        brokers = ",".join(node.address for node in self.nodes if node.running)
        return subprocess.run(
            [cli(), "--brokers", brokers, "partition", "unsafe-recover", *arguments], capture_output=True, text=True, timeout=60
        )

    def lose_the_majority(self, seen, missed):
        """A topic whose records `missed` are acknowledged and not on the one replica that is left: the nodes (left, lost...)."""
        self.create_topic()
        for value in seen:
            self.assert_written(self.client.write(self.topic, value))
        leader = self.cluster.leader_of(self.topic)
        ids = self.op.ids()
        replicas = self.op.replicas(self.topic)
        left, *lost = sorted((n for n in self.nodes if ids[n] in replicas), key=lambda node: node is leader)

        def has_all():
            state = self.op.partition(self.topic).partition.replicas
            return all(replica.lag_entries == 0 for replica in state)

        wait_until("all replicas have everything", has_all)
        left.kill()
        for value in missed:
            self.assert_written(lost[-1].client.write(self.topic, value))
        for node in lost:
            node.kill()
        left.start()
        left.wait_until_it_answers()
        return left, lost, ids

    def look(self, **options):
        """What would be lost, once the living nodes say so."""

        def looked():
            return self.op.recover(self.topic, validate_only=True, **options)

        return wait_until("living nodes say what they have", looked, timeout_s=3 * PATIENCE_S)

    def test_the_one_that_is_left_goes_on(self):
        seen, missed = [b"a", b"b", b"c"], [b"x", b"y"]
        left, lost, ids = self.lose_the_majority(seen, missed)
        plan = self.look()
        self.assertEqual(plan.recovery.kept_node_id, ids[left])
        self.assertEqual(sorted(plan.recovery.lost_node_ids), sorted(ids[node] for node in lost))
        self.assertEqual(plan.recovery.lost_from_offset, len(seen))
        self.assertEqual([replica.log_end_offset for replica in plan.replicas], [len(seen)])
        self.assert_error(refused(self.op.recover, self.topic), "INVALID_ARGUMENT", text="accept_data_loss", field="accept_data_loss")
        self.assertFalse(self.op.partition(self.topic).HasField("unsafe_recovery"), "it was only looked at")

        done = self.op.recover(self.topic, accept_data_loss=True)
        self.assertEqual(done.recovery.lost_from_offset, len(seen))
        client = left.client
        wait_until("it leads", lambda: self.cluster.leader_of(self.topic, via=left) is left)
        self.assertEqual(client.values(self.topic), seen)
        self.assert_written(client.write(self.topic, b"d"), base_offset=len(seen))
        # It gets its replicas back: two nodes are left that have none.
        wait_until("it has three replicas", lambda: len(self.op.replicas(self.topic)) == 3)
        self.op.wait_until_settled(self.topic)
        self.assertFalse({ids[node] for node in lost} & set(self.op.replicas(self.topic)))

        for node in lost:
            node.start()
            node.wait_until_it_answers()
        self.cluster.wait_until_healthy()
        for node in self.nodes:
            self.assertEqual(node.client.values(self.topic), [*seen, b"d"])
        self.assertEqual(self.op.partition(self.topic).unsafe_recovery, done.recovery)
        self.assert_error(refused(self.op.recover, self.topic, accept_data_loss=True), "QUORUM_ALIVE", topic=self.topic, partition=0)

    def test_by_hand(self):
        left, lost, ids = self.lose_the_majority([b"a", b"b"], [b"x"])
        self.look()
        looked = self.cli(self.topic + "/0")
        self.assertEqual(looked.returncode, 5, looked.stderr)
        self.assertIn("would be lost: every acknowledged record at offset 2 and above", looked.stderr)
        self.assertIn("nothing was done; add --i-accept-data-loss", looked.stderr)
        self.assertRegex(looked.stdout, rf"(?m)^{ids[left]} .* yes")
        done = self.cli(self.topic + "/0", "--i-accept-data-loss")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("given up: the replicas on nodes " + ",".join(str(n) for n in sorted(ids[node] for node in lost)), done.stderr)
        wait_until("it leads", lambda: self.cluster.leader_of(self.topic, via=left) is left)
        self.assertEqual(left.client.values(self.topic), [b"a", b"b"])

    def test_what_must_not_be_given_up(self):
        self.create_topic()
        self.assert_written(self.client.write(self.topic, b"a"))
        before = self.op.replicas(self.topic)
        ids = set(self.op.nodes())
        recover = {"accept_data_loss": True}
        self.assert_error(refused(self.op.recover, self.topic, **recover), "QUORUM_ALIVE")
        self.assert_error(refused(self.op.recover, self.topic, partition=7, **recover), "PARTITION_NOT_FOUND")
        self.assert_error(refused(self.op.recover, self.topic + "x", **recover), "TOPIC_NOT_FOUND")
        (first, *_), (spare, *_) = before, sorted(ids - set(before))
        # One is down: the two others are a majority, whoever is asked for.
        down = self.cluster.node_with_id(first)
        down.kill()

        def answered():
            error = refused(self.op.recover, self.topic, keep_node_id=spare, **recover)
            return error if error.reason != errors_pb2.ERROR_REASON_NO_LEADER else None

        self.assert_error(wait_until("the dead node is not asked any more", answered, timeout_s=3 * PATIENCE_S), "QUORUM_ALIVE")
        down.start()
        self.cluster.wait_until_healthy()
        self.assertEqual(self.op.replicas(self.topic), before)
        self.assertEqual(self.client.values(self.topic), [b"a"])


if __name__ == "__main__":
    main()
