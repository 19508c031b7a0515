#!/usr/bin/python3
"""Three real machines, the package, and everything that can break while producers write: nothing acknowledged is lost, the
cluster heals by itself, and `cluster health` says what was wrong."""
import json
import os
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "cluster"))

import machines
from fleet import CONFIG, UNHEALTHY, Fleet, flotilla, health_at, is_healthy, make_package


class DeployTest(unittest.TestCase):
    """One cluster for all scenes; each begins and ends with a healthy one."""

    @classmethod
    def setUpClass(cls):
        cls.machines = machines.Machines(3, WORK)
        for machine in cls.machines:
            machine.boot()
            machine.copy_in(os.environ["FLOTILLA_DEB"], "/var/tmp/flotilla.deb")
            machine.copy_in(WORK / "next.deb", "/var/tmp/next.deb")
            machine.run("dpkg", "-i", "/var/tmp/flotilla.deb")
        cls.fleet = Fleet(cls.machines)
        cls.nodes = cls.fleet.nodes

        for machine in cls.machines:
            machine.run("systemctl", "start", "flotilla")
            state = machine.run("systemctl", "show", "-P", "ConditionResult", "-P", "ActiveState", "flotilla")
            assert state.split() == ["inactive", "no"] or state.split() == ["no", "inactive"], f"it starts without a configuration: {state}"
            machine.write("/etc/flotilla/flotilla.yaml", CONFIG.format(name=machine.name, ip=machine.ip))
        # In any order, one by one: a unit that waited for a quorum would not come up.
        for machine in (cls.machines[2], cls.machines[0], cls.machines[1]):
            machine.run("systemctl", "start", "flotilla")
            state = machine.run("systemctl", "show", "-P", "StatusText", "flotilla")
            assert "init" in state, f"the status of a node without a cluster does not say what to do: {state}"
        code, said = flotilla(cls.nodes[1], "cluster", "init")
        assert code == 0, said
        cls.wait_until_healthy()

    @classmethod
    def wait_until_healthy(cls):
        # Every node says so: one that was cut off may still believe what was.
        for node in cls.nodes:
            machines.wait_for(f"node {node.number} finds the cluster healthy", lambda: is_healthy(node), timeout_s=90)

    def load(self):
        from load import Load

        self.create_topic()
        return Load(self.fleet, self.topic)

    def settle(self, load):
        self.wait_until_healthy()
        self.check(load)

    def check(self, load):
        """Every acknowledged record is there once and in order, read from each node."""
        from calls import Client

        assert load.history.acknowledged > 0
        for node in self.nodes:
            client = Client(node.address)
            try:
                everything = client.read(self.topic)
            finally:
                client.close()
            read = {partition: [(offset, record.value) for offset, record in records] for partition, records in everything.items()}
            violations = load.history.violations(read)
            self.assertFalse(violations, f"read from node {node.number}:\n" + "\n".join(violations))

    def unhealthy(self, asked, *kinds):
        """`cluster health`, asked at a node that is well, names such a problem, and ends with the exit status for it."""
        def says():
            health = health_at(asked)
            return health and health["code"] == UNHEALTHY and health["kinds"] & set(kinds)

        machines.wait_for(f"health names one of {kinds}", says)

    def setUp(self):
        self.wait_until_healthy()
        self.topic = self._testMethodName

    def create_topic(self):
        code, said = flotilla(self.nodes[2], "topic", "create", self.topic, "-p", "3", "-r", "3")
        assert code == 0, said

    def tearDown(self):
        for node in self.nodes:
            node.close()
        if any(error for _, error in self._outcome.result.errors + self._outcome.result.failures):
            for machine in self.machines:
                print(f"---- {machine.name}\n{machine.journal()}", file=sys.stderr)
        for machine in self.machines:
            machine.thaw()
            machine.heal()
            if not machine.running:
                machine.boot()

    def test_1_hardening_watchdog_and_status_are_in_force(self):
        machine = self.machines[0]
        exposure = machine.run("systemd-analyze", "security", "--threshold=20", "flotilla.service", check=False)
        self.assertIn("OK", exposure.splitlines()[-1])
        self.assertEqual(machine.run("stat", "-c", "%U %a", "/var/lib/flotilla").strip(), "flotilla 700")
        self.assertIn("joined", machine.run("systemctl", "show", "-P", "StatusText", "flotilla"))
        watchdog = lambda: machine.run("systemctl", "show", "-P", "WatchdogTimestampMonotonic", "flotilla").strip()
        first = watchdog()
        machines.wait_for("the watchdog is fed", lambda: watchdog() != first)

    def test_2_a_reload_with_a_wrong_file_keeps_the_old_settings(self):
        machine = self.machines[0]
        good = CONFIG.format(name=machine.name, ip=machine.ip)
        machine.write("/etc/flotilla/flotilla.yaml", good + "log:\n  level: loud\n")
        machine.run("systemctl", "reload", "flotilla")
        status = lambda: machine.run("systemctl", "show", "-P", "StatusText", "flotilla")
        machines.wait_for("the status says so", lambda: "not reloaded" in status())
        machine.write("/etc/flotilla/flotilla.yaml", good)
        machine.run("systemctl", "reload", "flotilla")
        machines.wait_for("the status is as before", lambda: "not reloaded" not in status())

    def test_3_power_cut(self):
        with self.load() as load:
            load.wait_for(500)
            self.machines[0].power_cut()
            load.wait_for(500)
            self.unhealthy(self.nodes[1], "NODE_DEAD")
            self.machines[0].boot()
            load.wait_for(500)
        self.settle(load)

    def test_4_cut_off(self):
        with self.load() as load:
            load.wait_for(500)
            self.machines[1].cut()
            self.unhealthy(self.nodes[0], "NODE_DEAD")
            self.machines[1].heal()
            load.wait_for(500)
        self.settle(load)

    def test_5_one_direction_is_cut(self):
        with self.load() as load:
            load.wait_for(500)
            self.machines[1].cut_towards(self.machines[2])
            self.machines[1].cut_towards(self.machines[0])
            self.unhealthy(self.nodes[0], "NODE_DEAD", "UNDER_REPLICATED", "LEADERLESS")
            self.machines[1].heal()
            load.wait_for(500)
        self.settle(load)

    def test_6_a_machine_stands_still(self):
        with self.load() as load:
            load.wait_for(500)
            self.machines[2].freeze()
            self.unhealthy(self.nodes[0], "NODE_DEAD")
            self.machines[2].thaw()
            load.wait_for(500)
        self.settle(load)

    def test_6b_a_process_that_hangs_is_started_again(self):
        machine = self.machines[0]
        machine.write("/run/systemd/system/flotilla.service.d/quick.conf", "[Service]\nWatchdogSec=4s\nTimeoutAbortSec=2s\n")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", "flotilla")
        self.wait_until_healthy()
        restarts = lambda: int(machine.run("systemctl", "show", "-P", "NRestarts", "flotilla"))
        before = restarts()
        with self.load() as load:
            load.wait_for(300)
            machine.run("systemctl", "kill", "--kill-who=main", "-s", "STOP", "flotilla")
            machines.wait_for("the watchdog has it started again", lambda: restarts() > before)
            load.wait_for(300)
        machine.run("rm", "-r", "/run/systemd/system/flotilla.service.d")
        machine.run("systemctl", "daemon-reload")
        self.settle(load)

    def test_7_the_disk_is_full(self):
        with self.load() as load:
            load.wait_for(500)
            self.machines[0].fill_disk()
            self.unhealthy(self.nodes[1], "DISK_NEARLY_FULL", "NODE_DEAD")
            self.machines[0].free_disk()
            load.wait_for(500)
        self.settle(load)

    def test_8_the_disk_fails(self):
        with self.load() as load:
            load.wait_for(500)
            self.machines[1].break_disk()
            self.unhealthy(self.nodes[0], "NODE_DEAD")
            load.wait_for(500)
            self.machines[1].kill()
            self.machines[1].boot()
            load.wait_for(500)
        self.settle(load)

    def test_9a_all_at_once(self):
        with self.load() as load:
            load.wait_for(500)
            for machine in self.machines:
                machine.power_cut()
            for machine in self.machines:
                machine.boot()
            load.wait_for(500)
        self.settle(load)

    def mode_of(self, number):
        return json.loads(flotilla(self.nodes[0], "-o", "json", "node", "describe", str(number))[1])["node"]["mode"]

    def test_9b_upgrade_node_by_node(self):
        """The package drains each node, and puts it back into use unless somebody else had drained it."""
        with self.load() as load:
            load.wait_for(300)
            for machine, by_hand in zip(self.machines, (False, False, True)):
                if by_hand:
                    self.assertEqual(flotilla(self.nodes[0], "node", "drain", str(machine.number), "--watch")[0], 0)
                before = machine.run("systemctl", "show", "-P", "MainPID", "flotilla")
                said = machine.run("dpkg", "-i", "/var/tmp/next.deb")
                drained = f"flotilla: draining node {machine.number} at {machine.ip}:9650"
                (self.assertNotIn if by_hand else self.assertIn)(drained, said)
                self.assertNotIn("not safe to stop", said)
                self.assertEqual(self.mode_of(machine.number), "NODE_MODE_DRAINING" if by_hand else "NODE_MODE_ACTIVE")
                self.assertNotEqual(machine.run("systemctl", "show", "-P", "MainPID", "flotilla"), before, "the upgrade restarts nothing")
                self.assertIn("9", machine.run("dpkg-query", "-W", "-f", "${Version}", "flotilla"))
                if by_hand:
                    self.assertEqual(flotilla(self.nodes[0], "node", "undrain", str(machine.number))[0], 0)
                self.wait_until_healthy()
                load.wait_for(300)
        self.assertLess(load.longest_gap_s, 10)
        self.settle(load)

    def test_9c_removal_keeps_data_and_configuration(self):
        machine = self.machines[2]
        self.assertIn("flotilla: draining node 3", machine.run("dpkg", "-r", "flotilla"))
        self.assertEqual(self.mode_of(3), "NODE_MODE_ACTIVE")
        self.assertEqual(machine.run("pgrep", "-c", "flotillad", check=False).strip(), "0")
        machine.run("dpkg", "-P", "flotilla")
        machine.run("test", "-s", "/etc/flotilla/flotilla.yaml")
        machine.run("test", "-s", "/var/lib/flotilla/NODE")
        machine.run("dpkg", "-i", "/var/tmp/next.deb")
        self.assertEqual(machine.run("pgrep", "-c", "flotillad", check=False).strip(), "0", "an installation starts nothing")
        machine.run("systemctl", "start", "flotilla")
        self.wait_until_healthy()

    def test_9d_an_empty_disk(self):
        """A node is replaced as README.md tells: it comes back as another one, and the old one is removed."""
        with self.load() as load:
            load.wait_for(300)
            self.machines[2].kill()
            self.machines[2].new_disk()
            self.machines[2].boot()
            machines.wait_for("the new node is in the cluster", lambda: (health_at(self.nodes[2]) or {}).get("nodes") == 4, timeout_s=90)
            self.assertIn("joined as node 4", self.machines[2].run("systemctl", "show", "-P", "StatusText", "flotilla"))
            self.unhealthy(self.nodes[0], "NODE_DEAD")
            load.wait_for(300)
            code, said = flotilla(self.nodes[0], "--yes", "--timeout", "60s", "node", "remove", "3", "--watch")
            self.assertEqual(code, 0, said)
            self.assertIn("node 3 is removed", said)
            load.wait_for(300)
        self.settle(load)
        self.assertEqual(health_at(self.nodes[0])["nodes"], 3)

    def test_9e_wrong_variables_of_the_unit(self):
        """They are told with their name, and the unit is not started again and again with them."""
        machine = self.machines[0]
        before = machine.run("cat", "/etc/default/flotilla")
        machine.write("/etc/default/flotilla", "FLOTILLA_LIMITS__MAX_STREEMS=1\n")
        machine.run("systemctl", "restart", "flotilla", check=False)
        show = lambda what: machine.run("systemctl", "show", "-P", what, "flotilla").strip()
        self.assertEqual((show("ActiveState"), show("ExecMainStatus")), ("failed", "78"))
        self.assertIn("MAX_STREEMS", machine.journal())
        machine.write("/etc/default/flotilla", before)
        machine.run("systemctl", "start", "flotilla")
        self.wait_until_healthy()


if __name__ == "__main__":
    WORK = machines.enter(make_package)
    unittest.main(verbosity=2)
