#!/usr/bin/python3
"""The machines under the torture's clients and its checker: their power goes, their disks fill and fail, they stand still and
are cut off, drawn from a seed. What a machine has not synced is lost with its power.

    tests/deploy/torture_test.py --rounds 10 --seed 7

One line per round, and a table at the end. The first anomaly ends it with 1, and shows the journals.
"""
import argparse
import os
import pathlib
import random
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "cluster"), str(HERE.parent / "torture")]
os.environ.setdefault("FLOTILLA_CLUSTER_PATIENCE_S", "60")

import machines
from fleet import CONFIG, Fleet, flotilla, is_healthy, make_package

ROUNDS_PER_SEASON = 5
# Weight of each fault when one is drawn.
FAULTS = {
    "power_cut": 4,
    "power_cut_of_two": 3,
    "power_cut_of_all": 3,
    "cut_off": 2,
    "cut_one_way": 2,
    "stands_still": 2,
    "disk_full": 2,
    "disk_fails": 3,
    "kill": 2,
    "restart": 2,
    "reboot": 1,
}


class Nemesis:
    """Every fault hurts, lasts its time, and says what it did. heal() undoes whatever is left of it."""

    def __init__(self, all_machines, dice):
        self._machines = list(all_machines)
        self._random = dice
        self._full = []

    def strike(self, fault):
        began = time.monotonic()
        return f"{fault}: {getattr(self, fault)()}, {time.monotonic() - began:.1f} s"

    def heal(self):
        for machine in self._full:
            if machine.running:
                machine.free_disk()
        self._full.clear()
        for machine in self._machines:
            machine.thaw()
            machine.heal()
            if not machine.running:
                machine.boot()

    def _draw(self, count=1):
        return self._random.sample(self._machines, count)

    def _last(self, shortest_s=1.0, longest_s=8.0):
        """The time that a fault lasts: there is no condition to wait for."""
        time.sleep(self._random.uniform(shortest_s, longest_s))

    @staticmethod
    def _names(victims):
        return " and ".join(machine.name for machine in victims)

    def _lose_power(self, count):
        victims = self._draw(count)
        for machine in victims:
            machine.power_cut()
        self._last()
        return self._names(victims)

    def power_cut(self):
        return self._lose_power(1)

    def power_cut_of_two(self):
        return self._lose_power(2)

    def power_cut_of_all(self):
        return self._lose_power(3)

    def cut_off(self):
        (victim,) = self._draw()
        victim.cut()
        self._last()
        return victim.name

    def cut_one_way(self):
        victim, *others = self._draw(3)
        for other in others[: self._random.randint(1, 2)]:
            victim.cut_towards(other)
        self._last()
        return f"from {victim.name}"

    def stands_still(self):
        (victim,) = self._draw()
        victim.freeze()
        self._last()
        return victim.name

    def disk_full(self):
        (victim,) = self._draw()
        victim.fill_disk()
        self._full.append(victim)
        self._last()
        return victim.name

    def disk_fails(self):
        (victim,) = self._draw()
        victim.break_disk()
        self._last()
        victim.kill()
        return victim.name

    def kill(self):
        """systemd starts it again."""
        victims = self._draw(self._random.randint(1, 3))
        for machine in victims:
            machine.run("systemctl", "kill", "--kill-who=main", "-s", "KILL", "flotilla")
        self._last()
        return self._names(victims)

    def restart(self):
        victims = self._draw(self._random.randint(1, 3))
        for machine in victims:
            machine.run("systemctl", "restart", "flotilla")
        return self._names(victims)

    def reboot(self):
        (victim,) = self._draw()
        victim.run("systemctl", "stop", "flotilla")
        victim.kill()
        self._last(0, 3)
        return victim.name


def found(all_machines):
    for machine in all_machines:
        machine.boot()
        machine.copy_in(os.environ["FLOTILLA_DEB"], "/var/tmp/flotilla.deb")
        machine.run("dpkg", "-i", "/var/tmp/flotilla.deb")
        machine.write("/etc/flotilla/flotilla.yaml", CONFIG.format(name=machine.name, ip=machine.ip))
        # Started again after a crash at once, however often; and with the machine.
        machine.write("/etc/systemd/system/flotilla.service.d/torture.conf", "[Service]\nRestartSec=200ms\n")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "enable", "--now", "flotilla")
    fleet = Fleet(all_machines)
    code, said = flotilla(fleet.nodes[0], "cluster", "init")
    assert code == 0, said
    wait_until_healthy(fleet)
    return fleet


def wait_until_healthy(fleet):
    for node in fleet.nodes:
        machines.wait_for(f"node {node.number} finds the cluster healthy", lambda: is_healthy(node), timeout_s=120)


class Torture:
    def __init__(self, options, all_machines):
        from summary import Summary

        self._options = options
        self._random = random.Random(options.seed)
        self._nemesis = Nemesis(all_machines, self._random)
        self._fleet = found(all_machines)
        self.summary = Summary()
        self.round = 0

    def run(self):
        from season import Season

        faults = {name: 1 for name in self._options.fault.split(",")} if self._options.fault else FAULTS
        season = None
        while self.round < self._options.rounds:
            self.round += 1
            if season is None:
                season = Season(self._fleet, self.round, self._random.random())
            anomalies = self._one_round(season, self._random.choices(list(faults), weights=list(faults.values()))[0])
            if anomalies:
                return anomalies
            if self.round % ROUNDS_PER_SEASON == 0:
                season.end()
                season.delete_topics()
                season = None
        return []

    def _one_round(self, season, fault):
        from summary import Round

        season.begin()
        what = self._nemesis.strike(fault)
        healing = time.monotonic()
        self._nemesis.heal()
        try:
            wait_until_healthy(self._fleet)
        except AssertionError as problem:
            season.ledger.report("unhealthy", str(problem))
            return season.anomalies()
        healthy_s = time.monotonic() - healing
        gap_s = season.ledger.end_interval()
        ends = season.settle()
        if ends is None:
            return season.anomalies()
        ok, failed, unknown = season.ledger.outcomes()
        self.summary.add(Round(fault, gap_s, healthy_s, ok, failed, unknown))
        # Each node in turn says what it has.
        readings = season.read(ends, self._fleet.nodes[self.round % len(self._fleet.nodes)].client)
        anomalies = season.anomalies(readings)
        print(
            f"round {self.round}: {what} | no acknowledgement for {gap_s:.1f} s | {ok} batches ok, {failed} failed, "
            f"{unknown} unknown | healthy after {healthy_s:.1f} s | {sum(len(r.records) for r in readings)} read",
            flush=True,
        )
        return anomalies


def run(torture):
    from ledger import Anomaly

    try:
        return torture.run()
    except Exception:  # whatever was waited for in vain, or failed: threads still hang in calls, and the journals say why
        return [Anomaly("unhealthy", traceback.format_exc())]


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--fault", help="only these, separated by commas: " + ", ".join(FAULTS))
    return parser.parse_args(arguments)


def main():
    options = options_of(sys.argv[1:])
    if "--seed" not in sys.argv:
        sys.argv += ["--seed", str(options.seed)]  # the same one inside
    work = machines.enter(make_package)
    from season import show

    print(f"seed {options.seed}", flush=True)
    all_machines = machines.Machines(3, work)
    torture = Torture(options, all_machines)
    anomalies = run(torture)
    if anomalies:
        print(f"\nseed {options.seed}, round {torture.round}: {len(anomalies)} anomalies")
        show(anomalies)
        for machine in all_machines:
            print(f"---- {machine.name}\n{machine.journal(lines=60)}")
    print(f"\n{torture.summary}\n\n{torture.round} rounds, {len(anomalies)} anomalies (seed {options.seed})", flush=True)
    os._exit(1 if anomalies else 0)  # threads may hang in calls to nodes that are gone


if __name__ == "__main__":
    main()
