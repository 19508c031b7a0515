"""Real nodes, real clients, and somebody who kills, freezes, cuts off and fills up: rounds drawn from a seed.

    tests/torture/torture.py --rounds 20 --seed 7
    tests/torture/torture.py --rounds 1000 --minutes 60

A round hurts, heals, waits until all is well, reads every partition from its start, and checks it against all that
writers were told and readers saw. One line per round, and a table at the end. The first anomaly ends the run with 1: it
prints seed, round and the story of the record, and keeps logs and data directories.
"""
import argparse
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "cluster"))
os.environ.setdefault("FLOTILLA_CLUSTER_PATIENCE_S", "60")
# Nodes are started while gRPC works, which would wait for a quiet moment first. Children begin a program at once.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import grpc

import clocks
import machines as machinery
from final_read import read_from_every_replica
from ledger import Anomaly
from nemesis import ANYWHERE, DISK_RESERVE_BYTES, WITH_CLOCKS, WITH_MACHINES, Nemesis
from nodes import Cluster, Place, wait_until
from season import Season, show
from summary import Round, Summary

# Topics and their records live so many rounds; then every replica is read, and new ones begin.
ROUNDS_PER_SEASON = 5


class Torture:
    def __init__(self, options, directory):
        self._options = options
        self._directory = directory
        self._random = random.Random(options.seed)
        self._lives = 0
        self._seasons = 0
        self._cluster = self._machines = self._season = self._nemesis = None
        self._why_no_machines = machinery.why_impossible()
        self.round = 0
        self.summary = Summary()

    def run(self):
        faults = dict(ANYWHERE)
        for more, why_not in ((WITH_MACHINES, self._why_no_machines), (WITH_CLOCKS, clocks.why_impossible())):
            if why_not:
                print(f"skipped, {why_not}: {', '.join(more)}", flush=True)
            else:
                faults.update(more)
        if self._options.fault:
            faults = {name: 1 for name in self._options.fault.split(",")}
        deadline = time.monotonic() + self._options.minutes * 60
        while self.round < self._options.rounds and time.monotonic() < deadline:
            self.round += 1
            if self._cluster is None:
                self._found_cluster()
            if self._season is None:
                self._begin_season()
            fault = self._random.choices(list(faults), weights=list(faults.values()))[0]
            anomalies = self._one_round(fault)
            if anomalies:
                return anomalies
            if self._nemesis.wiped or self._nemesis.replaced or self.round % ROUNDS_PER_SEASON == 0:
                self._end_season()
                self._nemesis.replaced = False
            if self._nemesis.wiped:
                self.close()
        return []

    def _found_cluster(self):
        self._lives += 1
        directory = self._directory / f"cluster{self._lives}"
        directory.mkdir()
        settings = {"storage": {"disk_reserve": f"{DISK_RESERVE_BYTES >> 20}MiB", "well_for": "3s"}, "tls": {"insecure": "true"}}
        count = self._options.nodes + 1  # one to replace others with
        places = [Place()] * count
        if not self._why_no_machines:
            self._machines = machinery.Machines(directory, count)
            places = self._machines.places
        if not clocks.why_impossible():
            places = [clocks.PlaceWithClock(place, directory / f"clock{i}") for i, place in enumerate(places, 1)]
        self._cluster = Cluster(self._options.nodes, unused=1, settings=settings, places=places)
        self._nemesis = Nemesis(self._cluster, self._machines, self._random, {})
        self._cluster.start()
        # Seeds that were asked before they listened count as silent for a moment.
        wait_until("the cluster is founded", self._cluster.init)
        self._nemesis.wait_until_healthy()

    def _begin_season(self):
        self._seasons += 1
        self._season = Season(self._cluster, self._seasons, self._random.random())
        self._nemesis.topics = self._season.topics

    def _one_round(self, fault):
        season, nemesis = self._season, self._nemesis
        ledger = season.ledger
        season.begin()
        print(f"round {self.round}: {fault} ...", end="\r" if sys.stdout.isatty() else "\n", flush=True)
        what = nemesis.strike(fault)
        healing = time.monotonic()
        nemesis.heal()
        try:
            nemesis.wait_until_healthy()
        except AssertionError as problem:
            ledger.report("unhealthy", str(problem))
            return self._anomalies()
        healthy_s = time.monotonic() - healing
        gap_s = ledger.end_interval()
        ends = season.settle()
        if ends is None:
            return self._anomalies()
        ok, failed, unknown = ledger.outcomes()
        self.summary.add(Round(fault, gap_s, healthy_s, ok, failed, unknown))
        began = time.monotonic()
        readings = season.read(ends, self._random.choice(self._cluster.nodes).client)
        anomalies = self._anomalies(readings)
        print(
            f"round {self.round}: {what} | no acknowledgement for {gap_s:.1f} s | "
            f"{ok} batches ok, {failed} failed, {unknown} unknown | healthy after {healthy_s:.1f} s | "
            f"{sum(len(r.records) for r in readings)} read in {time.monotonic() - began:.1f} s",
            flush=True,
        )
        return anomalies

    def _anomalies(self, readings=()):
        self._nemesis.look_for_crashes()
        return [Anomaly("crash", text) for text in self._nemesis.crashes] + self._season.anomalies(readings)

    def _end_season(self):
        """Every replica in turn leads and is read: they have to be the same."""
        season, self._season = self._season, None
        season.end()
        if not self._nemesis.wiped:
            differences = read_from_every_replica(self._cluster, season.topics)
            if differences:
                raise AnomaliesFound([Anomaly("divergent value", text) for text in differences])
            season.delete_topics()

    def close(self):
        if self._season is not None:
            self._season.end()
        if self._cluster is not None:
            self._cluster.close()
        if self._machines is not None:
            self._machines.close()
        self._cluster = self._machines = self._season = None

    def keep(self):
        """Ends the nodes and keeps what they leave behind."""
        kept = pathlib.Path(tempfile.mkdtemp(prefix="flotilla_torture_evidence_"))
        if self._cluster is not None:
            for node in self._cluster.all_nodes:
                node.close()
            for node in self._cluster.all_nodes:
                shutil.copy(node.config_file, kept)
                if node.log_file.exists():
                    shutil.copy(node.log_file, kept)
                if node.data_dir.exists():
                    shutil.copytree(node.data_dir, kept / node.data_dir.name)
        return kept

    def abandon(self):
        """Everything is gone afterwards, also what hangs in calls to nodes that do not answer."""
        if self._season is not None:
            for worker in self._season.workers:
                worker.abandon()
        self._season = None
        self.close()


class AnomaliesFound(Exception):
    def __init__(self, anomalies):
        super().__init__(f"{len(anomalies)} anomalies")
        self.anomalies = anomalies


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--minutes", type=float, default=1e6, help="no new round after that")
    parser.add_argument("--nodes", type=int, default=3, choices=(3, 5))
    parser.add_argument(
        "--fault", help="only these faults, separated by commas: " + ", ".join({**ANYWHERE, **WITH_CLOCKS, **WITH_MACHINES})
    )
    return parser.parse_args(arguments)


def main():
    options = options_of(sys.argv[1:])
    if "--seed" not in sys.argv:
        sys.argv += ["--seed", str(options.seed)]  # the same one after entering the namespaces
    if machinery.why_impossible() is None:
        machinery.reenter_in_own_namespaces()
    print(f"seed {options.seed}, {options.nodes} nodes", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))  # what is below cleans up
    with tempfile.TemporaryDirectory(prefix="flotilla_torture_", ignore_cleanup_errors=True) as directory:
        torture = Torture(options, pathlib.Path(directory))
        try:
            anomalies = run(torture)
            if anomalies:
                print(f"\nseed {options.seed}, round {torture.round}: {len(anomalies)} anomalies")
                show(anomalies)
                print(f"logs and data are kept in {torture.keep()}", flush=True)
        finally:
            torture.abandon()
    if torture.summary.rounds:
        print(f"\n{torture.summary}\n")
    print(f"{torture.round} rounds, {len(anomalies)} anomalies (seed {options.seed})", flush=True)
    os._exit(1 if anomalies else 0)  # threads may hang in calls to nodes that are gone


def run(torture):
    try:
        return torture.run()
    except AnomaliesFound as found:
        return found.anomalies
    except AssertionError as problem:  # of something that was waited for
        return [Anomaly("unhealthy", str(problem))]
    except grpc.RpcError as failure:  # of a call to a cluster that had said that it is healthy
        return [Anomaly("unhealthy", "".join(traceback.format_exception(failure)))]


if __name__ == "__main__":
    main()
