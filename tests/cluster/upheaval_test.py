"""Leaders, metadata leaders and targets are killed while replicas move and nodes go: it ends in the old or in the new state, and
no acknowledged record is lost.

The points at which somebody dies are driven: once in each stage that is seen, and then at random moments, whose seed is printed
(FLOTILLA_CLUSTER_SEED repeats it)."""
import os
import random
import time

from flotilla.v1 import admin_pb2
from load import Load
from nodes import PATIENCE_S, Cluster, wait_until
from operations import Operations
from scene import ClusterTest, main

SEED = int(os.environ.get("FLOTILLA_CLUSTER_SEED", random.SystemRandom().randrange(1 << 32)))
RECORD = b"x" * 500_000
# What is copied at a rate is all but the newest 4 MiB, which are in memory: about two seconds.
RATE = 4 << 20
MEGABYTES = 12
LONGEST_S = 3.0

LEADER, CONTROLLER, TARGET, SOURCE = "leader", "metadata leader", "target", "source"
STAGES = (admin_pb2.MOVE_STAGE_DECIDED, admin_pb2.MOVE_STAGE_COPYING, admin_pb2.MOVE_STAGE_SWITCHING, admin_pb2.MOVE_STAGE_FINISHING)


class UpheavalTest(ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3, unused=1)
        cls.cluster.__enter__()
        cls.cluster.join(1)
        cls.op = Operations(cls.cluster)
        print(f"FLOTILLA_CLUSTER_SEED={SEED}", flush=True)

    def setUp(self):
        super().setUp()
        self.random = random.Random(f"{SEED} {self._testMethodName}")
        self.cluster.heal()
        self.op.put_back()
        self.op.set_rate(RATE)
        self.create_topic()
        for _ in range(MEGABYTES * 2):
            self.assert_written(self.client.write(self.topic, RECORD))
        self.before = self.client.values(self.topic)
        self.client.create_topic(self.topic + ".load")
        self.addCleanup(self.cluster.heal)
        self.addCleanup(self.op.put_back)

    def victim(self, who, source, target):
        ids = {
            LEADER: lambda: self.op.partition(self.topic).partition.leader_node_id,
            CONTROLLER: self.op.controller,
            TARGET: lambda: target,
            SOURCE: lambda: source,
        }
        found = wait_until(f"there is a {who}", ids[who])
        return wait_until(f"the {who} runs", lambda: self.cluster.node_with_id(found))

    def one_life(self, who, wait):
        """A move, somebody who dies when `wait` says so, and what it came to."""
        at = self.op.replicas(self.topic)
        (target,) = set(self.op.nodes()) - set(at)
        source = self.random.choice(at)
        self.op.move(self.topic, from_=source, to=target)
        wait()
        victim = self.victim(who, source, target)
        victim.kill()
        time.sleep(self.random.random())  # how long it is away
        victim.start()
        victim.wait_until_it_answers()
        self.op.wait_until_settled(self.topic)
        after = self.op.replicas(self.topic)
        # It was decided, so it is what comes in the end; whoever dies only delays it.
        self.assertEqual(after, sorted({*at, target} - {source}), f"seed {SEED}: {who} died")

    def check_data(self):
        self.cluster.wait_until_healthy()
        for node in self.nodes:
            self.assertEqual(node.client.values(self.topic), self.before)

    def at_stage(self, stage):
        return lambda: self.op.wait_for_stage(self.topic, *(s for s in STAGES if s >= stage))

    def test_somebody_dies_in_each_stage_of_a_move(self):
        with Load(self.cluster, self.topic + ".load") as load:
            for stage in (admin_pb2.MOVE_STAGE_DECIDED, admin_pb2.MOVE_STAGE_COPYING, admin_pb2.MOVE_STAGE_SWITCHING):
                for who in (LEADER, CONTROLLER, TARGET):
                    with self.subTest(stage=admin_pb2.MoveStage.Name(stage), dies=who):
                        self.one_life(who, self.at_stage(stage))
                        load.wait_for(50)
        self.check_data()
        load.check()

    def test_somebody_dies_at_any_moment_of_a_move(self):
        with Load(self.cluster, self.topic + ".load") as load:
            for turn in range(6):
                who = self.random.choice((LEADER, CONTROLLER, TARGET, SOURCE))
                moment = self.random.random() * LONGEST_S
                with self.subTest(turn=turn, dies=who, after_s=round(moment, 3)):
                    self.one_life(who, lambda: time.sleep(moment))
                    load.wait_for(50)
        self.check_data()
        load.check()

    def test_a_move_is_called_off_at_any_moment(self):
        for turn in range(4):
            at = self.op.replicas(self.topic)
            (target,) = set(self.op.nodes()) - set(at)
            source = self.random.choice(at)
            moment = self.random.random() * LONGEST_S
            with self.subTest(turn=turn, after_s=round(moment, 3)):
                self.op.move(self.topic, from_=source, to=target)
                time.sleep(moment)
                called_off = True
                try:
                    self.op.cancel(self.topic)
                except Exception as late:  # it is done already
                    self.assertIn("move", str(late).lower())
                    called_off = False
                victim = self.victim(self.random.choice((LEADER, CONTROLLER, TARGET)), source, target)
                victim.kill()
                victim.start()
                victim.wait_until_it_answers()
                self.op.wait_until_settled(self.topic)
                after = self.op.replicas(self.topic)
                self.assertEqual(after, at if called_off else sorted({*at, target} - {source}), f"seed {SEED}")
        self.check_data()

    def test_somebody_dies_while_a_node_is_decommissioned(self):
        # Called off at the end, so that the cluster is there for the other scenes.
        with Load(self.cluster, self.topic + ".load") as load:
            for turn, who in enumerate((LEADER, CONTROLLER, TARGET)):
                at = self.op.replicas(self.topic)
                going = self.random.choice(at)
                (target,) = set(self.op.nodes()) - set(at)
                moment = self.random.random() * LONGEST_S
                with self.subTest(dies=who, going=going, after_s=round(moment, 3)):
                    self.op.decommission(going)
                    time.sleep(moment)
                    victim = self.victim(who, going, target)
                    victim.kill()
                    # Back into use before it is gone; whatever has begun ends in the old or in the new state.
                    there = going in self.op.nodes()
                    if there and turn < 2:
                        self.op.recommission(going)
                    victim.start()
                    if turn < 2:
                        victim.wait_until_it_answers()
                        self.op.wait_until_settled()
                        self.assertIn(self.op.replicas(self.topic), (at, sorted({*at, target} - {going})))
                        self.cluster.wait_until_healthy()
                    else:
                        self.op.wait_until_gone(going, timeout_s=4 * PATIENCE_S)
                        self.assertEqual(self.op.replicas(self.topic), sorted({*at, target} - {going}))
                        gone = next(n for n in self.nodes if f"as node {going}" in n.log() or n.number == going)
                        self.cluster.nodes = [n for n in self.nodes if n is not gone]
                    load.wait_for(50)
        self.check_data()
        load.check()


if __name__ == "__main__":
    main()
