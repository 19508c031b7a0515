"""Disks that get slow or full: their nodes hand over what others can lead, and no partition goes without a leader for it."""
import os
import re
import unittest
import urllib.request

from flotilla.v1 import cluster_pb2
from load import Load
from nodes import Cluster, Place, preload, wait_until
from operations import Operations
from scene import ClusterTest, main

SLOW_MS = 500
SETTINGS = {"storage": {"slow_sync": "250ms", "slow_for": "2s", "well_for": "2s"}}
PARTITIONS = 6


class SlowDisk(Place):
    """A node whose syncs take longer while the test wants it."""

    def data_dir(self, directory, number):
        self._told = directory / f"slow{number}"
        return super().data_dir(directory, number)

    def enter(self):
        preload(os.environ["FLOTILLA_SLOW_DISK_LIBRARY"])
        os.environ["FLOTILLA_SLOW_DISK"] = str(self._told)

    def set_ms(self, more):
        new = self._told.with_suffix(".new")
        new.write_text(f"{more}\n")
        new.rename(self._told)


class DiskTest(ClusterTest):
    @classmethod
    def setUpClass(cls):
        if not os.environ.get("FLOTILLA_SLOW_DISK_LIBRARY"):
            raise unittest.SkipTest("FLOTILLA_SLOW_DISK_LIBRARY is not set")
        cls.cluster = Cluster(3, settings=SETTINGS, places=[SlowDisk() for _ in range(3)])
        cls.cluster.__enter__()
        cls.op = Operations(cls.cluster)

    def setUp(self):
        super().setUp()
        self.addCleanup(self.mend)
        self.create_topic(partitions=PARTITIONS)

    def mend(self):
        for node in self.nodes:
            node.place.set_ms(0)
        self.cluster.heal()
        wait_until("all nodes are fit to lead", lambda: not self.unfit(), timeout_s=60)

    def unfit(self):
        """Ids, as the metadata has it."""
        return sorted(node_id for node_id, node in self.op.nodes().items() if node.unfit_to_lead)

    def leaders(self):
        return [p.partition.leader_node_id for p in self.op.partitions(self.topic)]

    def told(self, kind):
        """Ids of the nodes of which health says so."""
        health = self.op.client().cluster.GetHealth(cluster_pb2.GetHealthRequest(), timeout=2)
        return sorted(problem.node_id for problem in health.problems if problem.kind == kind)

    @staticmethod
    def metric(node, reason):
        with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/metrics", timeout=5) as page:
            found = re.search(rf'^flotilla_disk_unfit{{reason="{reason}"}} (\d)$', page.read().decode(), re.M)
        return int(found[1])

    def test_a_slow_disk_costs_its_node_the_leaderships(self):
        with Load(self.cluster, self.topic) as load:
            load.wait_for(200)
            sick = self.cluster.leader_of(self.topic)
            sick_id = self.op.id_of(sick)
            self.assertEqual(self.metric(sick, "slow"), 0)
            sick.place.set_ms(SLOW_MS)
            wait_until("the metadata has it", lambda: self.unfit() == [sick_id])
            wait_until("it leads nothing", lambda: sick_id not in self.leaders())
            wait_until("the metadata is led by another one, too", lambda: self.op.controller() != sick_id)
            wait_until("health says so", lambda: self.told("DISK_SICK") == [sick_id])
            wait_until("its metric says so", lambda: self.metric(sick, "slow") == 1)
            self.assertEqual(self.metric(sick, "full"), 0)
            load.wait_for(200)
            self.assertEqual(self.unfit(), [sick_id])
            self.assertNotIn(sick_id, self.leaders())
            sick.place.set_ms(0)
            wait_until("it is fit again", lambda: not self.unfit())
            wait_until("health says nothing of it any more", lambda: not self.told("DISK_SICK"))
            load.wait_for(200)
        self.cluster.wait_until_healthy()
        load.check()
        self.assertEqual(sick.log().count("disk_unfit slow=1"), 1, "one line per change")

    def test_when_all_disks_are_slow_leading_goes_on_and_leaders_are_elected(self):
        with Load(self.cluster, self.topic) as load:
            load.wait_for(200)
            for node in self.nodes:
                node.place.set_ms(SLOW_MS)
            wait_until("all are unfit", lambda: len(self.unfit()) == len(self.nodes), timeout_s=60)
            load.wait_for(60)
            victim = self.cluster.leader_of(self.topic)
            victim_id = self.op.id_of(victim)
            victim.kill()
            wait_until("others lead in its place", lambda: {*self.leaders()}.isdisjoint({0, victim_id}))
            load.wait_for(60)
            for node in self.nodes:
                node.place.set_ms(0)
            victim.start()
            load.wait_for(200)
        self.cluster.wait_until_healthy()
        load.check()

    def test_a_disk_below_its_reserve_is_unfit_and_still_read(self):
        with Load(self.cluster, self.topic) as load:
            load.wait_for(200)
        full = self.cluster.leader_of(self.topic)
        full_id = self.op.id_of(full)
        roomy = full.config_file.read_text()
        full.stop()
        full.config_file.write_text(roomy.replace("storage:\n", "storage:\n  disk_reserve: 1TiB\n"))
        full.start()
        full.wait_until_it_answers()
        wait_until("the metadata has it", lambda: self.unfit() == [full_id])
        wait_until("health says so", lambda: self.told("DISK_FULL") == [full_id])
        wait_until("its metric says so", lambda: self.metric(full, "full") == 1)
        self.assertEqual(self.metric(full, "slow"), 0)
        self.assertNotIn(full_id, self.leaders())
        load.check()
        with Load(self.cluster, self.topic) as more:
            more.wait_for(200)
        full.stop()
        full.config_file.write_text(roomy)
        full.start()
        self.cluster.wait_until_healthy()
        wait_until("it is fit again", lambda: not self.unfit())


if __name__ == "__main__":
    main()
