"""What is done to the nodes. Every fault is a method that hurts, lasts its time, and says what it did; heal()
afterwards undoes whatever is left of it.

    nemesis.strike("pause")  ->  "pause of node 2 for 6.2 s"
"""
import time

import grpc

from flotilla.v1 import cluster_pb2, metadata_pb2
from nodes import PATIENCE_S, wait_until

# Weight of each fault when one is drawn.
ANYWHERE = {
    "kill_one": 4,
    "kill_two": 2,
    "kill_all": 2,
    "kill_leader": 3,
    "kill_again_and_again": 2,
    "pause_one": 3,
    "pause_two": 1,
    "pause_and_kill": 2,
    "restart_one": 2,
    "restart_all_in_turn": 2,
    "transfers": 2,
    "drain": 2,
    "replace": 2,
    "storm": 4,
    "wipe": 1,
}
WITH_CLOCKS = {"clock_jump": 2}
WITH_MACHINES = {
    "isolate": 3,
    "isolate_from_everybody": 2,
    "cut_one_way": 3,
    "cut_a_pair": 3,
    "flap": 2,
    "lossy": 2,
    "throttle": 1,
    "full_disk": 3,
}
# What a full disk or a dead node may leave in the health of a cluster that does all it can.
AFTER_WIPE = {"NODE_DEAD", "UNDER_REPLICATED"}
ALWAYS = {"INSECURE"}

DISK_RESERVE_BYTES = 64 << 20
# A node that was removed from its cluster ends so, and does not start again.
REMOVED = 78
# By how much clocks go wrong, forwards or backwards.
CLOCK_JUMPS_S = (2, 60, 3600, 86_400)


class Nemesis:
    def __init__(self, cluster, machines, random, topics):
        self._cluster = cluster
        self._machines = machines
        self._random = random
        self.topics = topics  # {name: partitions} whose leaders are worth hurting
        self.crashes = []  # nodes that ended although nobody ended them
        self.wiped = False
        self.replaced = False  # clients that know the nodes of before know one that is gone
        self._drained = []  # ids
        self._wrong_clocks = []
        self._may_end = False

    def strike(self, fault):
        began = time.monotonic()
        what = getattr(self, fault)()
        return f"{fault}: {what}, {time.monotonic() - began:.1f} s"

    def heal(self):
        """Everything that can run runs. Does not wait."""
        if self._machines:
            self._machines.heal()
        for node in self._wrong_clocks:
            node.place.set_clock(0)
        self._wrong_clocks.clear()
        self.look_for_crashes()
        for node in self._cluster.nodes:
            node.resume()
            if not node.running:
                node.start()
        self._may_end = False

    def look_for_crashes(self):
        for node in self._cluster.nodes:
            if not node.running and not node._ended_on_purpose and not self._may_end:
                self.crashes.append(
                    f"node {node.number} ended by itself with {node.process.returncode}: {node.last_words()}"
                )

    def wait_until_healthy(self):
        while self._drained:
            request = cluster_pb2.UndrainNodeRequest(node_id=self._drained[-1])
            wait_until("a node is taken back into use", lambda: self._ask("UndrainNode", request))
            self._drained.pop()
        tolerated = ALWAYS | (AFTER_WIPE if self.wiped else set())

        def healthy(node):
            assert node.running, f"node {node.number} ended with {node.process.returncode}: {node.last_words()}"
            health = node.client.cluster.GetHealth(cluster_pb2.GetHealthRequest(), timeout=2)
            problems = [f"{p.kind}: {p.message}" for p in health.problems if p.kind not in tolerated]
            if problems or health.nodes_alive < len(self._cluster.nodes):
                raise grpc_like(f"{health.nodes_alive} nodes alive; {problems}")
            return True

        for node in self._cluster.nodes:
            wait_until(f"node {node.number} finds the cluster healthy", lambda: healthy(node))

    # ---- Helpers

    def _draw(self, count=1):
        return self._random.sample(self._cluster.nodes, count)

    def _last(self, shortest_s=1.0, longest_s=8.0):
        """The time that a fault lasts: there is no condition to wait for."""
        time.sleep(self._random.uniform(shortest_s, longest_s))

    def _leader(self):
        topic = self._random.choice(sorted(self.topics))
        partition = self._random.randrange(self.topics[topic])
        return self._cluster.leader_of(topic, partition), f"{topic}/{partition}"

    @staticmethod
    def _names(nodes):
        return " and ".join(f"node {node.number}" for node in nodes)

    def _stop(self, node):
        code = node.stop()
        if code != 0:
            self.crashes.append(f"node {node.number} was told to stop and ended with {code}: {node.last_words()}")

    def _ask(self, method, request):
        """Any node that runs; fails as calls do."""
        node = self._random.choice([node for node in self._cluster.nodes if node.running and not node._paused])
        return getattr(node.client.cluster, method)(request, timeout=5)

    @staticmethod
    def _id_of(node):
        return node.client.cluster.GetServerInfo(cluster_pb2.GetServerInfoRequest(), timeout=5).node_id

    def _trouble(self):
        """What may happen to one of them while something else goes on; in words."""
        other = self._draw()[0]
        turn = self._random.random()
        if turn < 0.3:
            other.kill()
            self._last(0, 3)
            other.start()
            return f", {self._names([other])} was killed meanwhile"
        if turn < 0.6:
            other.pause()
            self._last(0.5, 8)
            other.resume()
            return f", {self._names([other])} slept meanwhile"
        return ""

    # ---- Operators

    def drain(self):
        """A node gives up what it leads and gets nothing to lead, until it is taken back into use."""
        victim = self._draw()[0]
        node_id = wait_until("a node says who it is", lambda: self._id_of(victim))
        wait_until("a node is drained", lambda: self._ask("DrainNode", cluster_pb2.DrainNodeRequest(node_id=node_id)))
        self._drained.append(node_id)
        self._last(0, 3)
        trouble = self._trouble()
        self._last(0, 3)
        return self._names([victim]) + trouble

    def replace(self):
        """A new node joins and another one leaves for good."""
        spare = next(node for node in self._cluster.all_nodes if node not in self._cluster.nodes)
        spare.start()
        spare.wait_until_it_answers()
        wait_until("the new node has joined", lambda: self._id_of(spare))
        victim = self._draw()[0]
        self._cluster.nodes = [*self._cluster.nodes, spare]
        node_id = wait_until("a node says who it is", lambda: self._id_of(victim))
        request = cluster_pb2.DecommissionNodeRequest(node_id=node_id)
        wait_until("a node is told to leave", lambda: self._ask("DecommissionNode", request))
        self._last(0, 3)
        trouble = self._trouble()

        def gone():
            nodes = self._ask("ListNodes", cluster_pb2.ListNodesRequest()).nodes
            return node_id not in [node.node_id for node in nodes]

        wait_until(f"{self._names([victim])} has left", gone, 2 * PATIENCE_S)
        self._cluster.nodes = [node for node in self._cluster.nodes if node is not victim]
        code = victim.wait_for_its_end()
        if code != REMOVED:
            self.crashes.append(f"node {victim.number} was removed and ended with {code}: {victim.last_words()}")
        victim.wipe()
        self.replaced = True
        return f"{self._names([victim])} by {self._names([spare])}{trouble}"

    def clock_jump(self):
        """A wall clock is wrong for a while, and then right again at once."""
        victim = self._draw()[0]
        ahead_s = self._random.choice(CLOCK_JUMPS_S) * self._random.choice((1, -1))
        self._wrong_clocks.append(victim)
        victim.place.set_clock(ahead_s)
        self._last(1, 6)
        trouble = self._trouble()
        self._last(0, 3)
        return f"of {self._names([victim])} by {ahead_s} s{trouble}"

    # ---- Processes

    def kill_one(self):
        return self._kill(1)

    def kill_two(self):
        return self._kill(2)

    def kill_all(self):
        return self._kill(len(self._cluster.nodes))

    def _kill(self, count):
        victims = self._draw(count)
        for node in victims:
            node.kill()
        if self._random.random() < 0.7:
            self._last()
        return self._names(victims)

    def kill_leader(self):
        victim, what = self._leader()
        victim.kill()
        self._last(0.5, 4)
        return f"{self._names([victim])}, which led {what}"

    def kill_again_and_again(self):
        victim = self._draw()[0]
        times = self._random.randint(3, 6)
        for i in range(times):
            victim.kill()
            self._last(0, 0.5)
            victim.start()
            self._last(0, 2)  # also before it is up
        return f"{self._names([victim])} {times} times"

    def pause_one(self):
        return self._pause(1)

    def pause_two(self):
        return self._pause(2)

    def _pause(self, count):
        victims = self._draw(count)
        for node in victims:
            node.pause()
        self._last(1, 15)
        for node in victims:
            node.resume()
        return self._names(victims)

    def pause_and_kill(self):
        """A leader sleeps, another one leads, that one dies while the first awakes."""
        victim, what = self._leader()
        victim.pause()
        self._last(1.5, 5)
        other = self._random.choice(self._cluster.others(victim))
        other.kill()
        victim.resume()
        self._last(0.5, 3)
        return f"{self._names([victim])} which led {what} slept, {self._names([other])} was killed"

    def restart_one(self):
        victim = self._draw()[0]
        self._stop(victim)
        self._last(0, 3)
        return self._names([victim])

    def restart_all_in_turn(self):
        order = self._draw(len(self._cluster.nodes))
        for node in order:
            self._stop(node)
            node.start()
            node.wait_until_it_answers()
            self._last(0, 1)
        return self._names(order)

    def transfers(self):
        done = refused = 0
        for _ in range(self._random.randint(5, 25)):
            request = cluster_pb2.TransferLeadershipRequest()
            if self._random.random() < 0.8:
                topic = self._random.choice(sorted(self.topics))
                request.partition.topic.name = topic
                request.partition.partition = self._random.randrange(self.topics[topic])
            try:
                self._draw()[0].client.cluster.TransferLeadership(request, timeout=5)
                done += 1
            except grpc.RpcError:
                refused += 1
        return f"{done} done, {refused} refused"

    def storm(self):
        """Everything at once: nodes die, sleep, come back and lose links to each other, two steps a second."""
        steps = self._random.randint(8, 25)
        for _ in range(steps):
            node = self._draw()[0]
            other = self._random.choice(self._cluster.others(node))
            turn = self._random.random()
            if not node.running:
                self.look_for_crashes()
                node.start()
            elif node._paused:
                node.resume()
            elif turn < 0.3:
                node.kill()
            elif turn < 0.5:
                node.pause()
            elif turn < 0.7 and self._machines:
                self._machines.cut(node.place, other.place)
            elif turn < 0.85 and self._machines:
                self._machines.heal()
            self._last(0, 1)
        return f"{steps} steps"

    def wipe(self):
        """A disk is lost. Its node comes back as a new one; the old one's replicas are gone for good, so this is
        the last thing that is done to a cluster."""
        victim = self._draw()[0]
        victim.kill()
        victim.wipe()
        self.wiped = True
        self._last(0, 3)
        victim.start()

        def joined():
            nodes = victim.client.cluster.ListNodes(cluster_pb2.ListNodesRequest(), timeout=2).nodes
            alive = [node for node in nodes if node.state == metadata_pb2.NODE_STATE_ALIVE]
            return len(nodes) == len(self._cluster.nodes) + 1 and len(alive) == len(self._cluster.nodes)

        wait_until("the wiped node is in the cluster as a new one", joined, 2 * PATIENCE_S)
        return self._names([victim])

    # ---- Links and disks

    def isolate(self):
        """From the other nodes; clients reach it."""
        victim = self._draw()[0]
        self._cut_off(victim)
        self._last(1, 12)
        return self._names([victim])

    def _cut_off(self, victim):
        for other in self._cluster.others(victim):
            self._machines.cut(victim.place, other.place)
            self._machines.cut(other.place, victim.place)

    def isolate_from_everybody(self):
        victim = self._draw()[0]
        self._cut_off(victim)
        self._machines.cut_from_clients(victim.place)
        self._last(1, 12)
        return self._names([victim])

    def cut_one_way(self):
        victim = self._draw()[0]
        deaf = self._random.random() < 0.5
        for other in self._cluster.others(victim):
            self._machines.cut(*((other.place, victim.place) if deaf else (victim.place, other.place)))
        self._last(1, 12)
        return f"{self._names([victim])} is {'deaf' if deaf else 'dumb'}"

    def cut_a_pair(self):
        one, other = self._draw(2)
        self._machines.cut(one.place, other.place)
        self._machines.cut(other.place, one.place)
        self._last(1, 12)
        return f"between {self._names([one, other])}"

    def flap(self):
        victim = self._draw()[0]
        times = self._random.randint(3, 8)
        for _ in range(times):
            self._cut_off(victim)
            self._last(0.2, 2.5)
            self._machines.heal()
            self._last(0.2, 1.5)
        return f"{self._names([victim])} {times} times"

    def lossy(self):
        victim = self._draw()[0]
        percent = self._random.choice((3, 10, 30))
        self._machines.lose(victim.place, percent)
        self._last(2, 10)
        return f"{percent} % of the frames of {self._names([victim])}"

    def throttle(self):
        victim = self._draw()[0]
        self._machines.throttle(victim.place, 100)
        self._last(2, 10)
        return f"{self._names([victim])} sends 100 kB/s at most"

    def full_disk(self):
        """Below the reserve, where writes are refused, or to the last byte, where the node may end."""
        victim = self._draw()[0]
        leave = self._random.choice((0, DISK_RESERVE_BYTES // 2))
        self._may_end = leave == 0
        victim.place.fill_disk(leave)
        self._last(3, 10)
        return f"{self._names([victim])} has {leave >> 20} MiB left"


def grpc_like(text):
    """wait_until takes a failed call as not yet, and shows its text in the end."""

    class NotYet(grpc.RpcError):
        def code(self):
            return "not yet"

        def details(self):
            return text

    return NotYet()
