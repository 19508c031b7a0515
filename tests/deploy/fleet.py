"""The package on machines, and the cluster that they are, for those who work with it."""
import json
import os
import pathlib
import subprocess

import machines

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["FLOTILLA_BUILD_DIR"])
UNHEALTHY = 9  # exit status of `cluster health`
CONFIG = """
node:
  name: {name}
cluster:
  name: deploy-test
  seeds: [10.99.0.1:9651, 10.99.0.2:9651, 10.99.0.3:9651]
listen:
  client: {ip}:9650
  peer: {ip}:9651
  http: {ip}:9652
tls:
  insecure: true
storage:
  well_for: 5s
"""


def make_package(directory):
    """The .deb; once more with a higher version, to upgrade to."""
    machines.call(ROOT / "deploy/package.sh", "--build-dir", BUILD, "--output", directory)
    deb = next(directory.glob("flotilla_*.deb"))
    machines.call("dpkg-deb", "-R", deb, directory / "next")
    control = directory / "next/DEBIAN/control"
    control.write_text(control.read_text().replace("Version: ", "Version: 9"))
    machines.call("dpkg-deb", "--root-owner-group", "-b", directory / "next", directory / "next.deb")
    return deb


class Node:
    """What load.py wants to know about a machine that runs a node."""

    def __init__(self, machine):
        self.machine = machine
        self.number = machine.number
        self.address = f"{machine.ip}:9650"
        self._client = None

    @property
    def client(self):
        if self._client is None:
            from calls import Client

            self._client = Client(self.address)
        return self._client

    def close(self):
        if self._client is not None:
            self._client.close()
            self._client = None


class Fleet:
    def __init__(self, all_machines):
        self.nodes = [Node(machine) for machine in all_machines]

    def addresses(self, first=0):
        return ",".join(node.address for node in self.nodes[first:] + self.nodes[:first])


def flotilla(node, *arguments):
    done = subprocess.run([BUILD / "client/cli/flotilla", "-b", node.address, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def health_at(node):
    """What `cluster health` says there. None: the node does not answer."""
    code, said = flotilla(node, "--timeout", "3s", "-o", "json", "cluster", "health")
    if code not in (0, UNHEALTHY):
        return None
    health = json.loads(said)
    # That these ports speak plain text is so by configuration.
    kinds = {problem["kind"] for problem in health.get("problems", [])} - {"INSECURE"}
    return {"code": code, "kinds": kinds, "controller": health.get("controller_node_id", 0), "nodes": health.get("nodes", 0),
            "alive": health.get("nodes_alive", 0)}


def is_healthy(node):
    health = health_at(node)
    return health is not None and not health["kinds"] and health["controller"] and health["alive"] == health["nodes"]
