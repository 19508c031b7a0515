"""Topics, everybody who works on them, and the check of all that they were told: for whatever kind of nodes.

    season = Season(cluster, 1, seed)     # cluster.nodes, each with an address and a client (calls.Client)
    season.begin()
    ...                                   # something goes wrong, and is well again
    ends = season.settle()
    anomalies = season.anomalies(season.read(ends, client))
"""
import random

from admin import Administrator
from checker import check
from final_read import ends_of, read_partition
from flotilla.v1 import admin_pb2
from ledger import Ledger
from nodes import PATIENCE_S, wait_until
from readers import EndAsker, Fetcher, Subscriber
from writers import ConditionalWriter, IdempotentWriter, PlainWriter, StreamWriter, TopicSequenceWriter

PARTITIONS = {"orders": 4, "trimmed": 2}
# How long the workload has, after all is well, to finish what it waits for, and readers to reach the ends.
SETTLE_S = 90
# Acknowledged before anything is done to the nodes.
WARM_RECORDS = 300
SHOWN_OF_A_KIND = 5


class Season:
    """Topics of their own, and everybody who works on them."""

    def __init__(self, cluster, number, seed):
        self.cluster = cluster
        self.ledger = Ledger()
        self._seed = random.Random(seed)
        self.topics = {f"{name}-{number}": count for name, count in PARTITIONS.items()}
        for name, count in self.topics.items():
            cluster.nodes[0].client.create_topic(name, count)
        orders, trimmed = self.topics
        self.writers = [
            self._worker(kind, topic)
            for topic, kinds in (
                (orders, (IdempotentWriter, IdempotentWriter, TopicSequenceWriter, StreamWriter, StreamWriter)),
                (orders, (PlainWriter, ConditionalWriter)),
                (trimmed, (IdempotentWriter, PlainWriter)),
            )
            for kind in kinds
        ]
        self.readers = [self._worker(kind, topic) for topic in self.topics for kind in (Subscriber, Fetcher, EndAsker)]
        self.readers.append(self._worker(Subscriber, orders))
        self._had = {}  # (topic, partition): one past the last offset that readers had when the ends were asked for
        self.administrator = Administrator(
            cluster, self.ledger, self._draw(), f"side-{number}-", trimmed, self.topics[trimmed]
        )

    def _draw(self):
        return self._seed.randrange(1 << 32)

    def _worker(self, kind, topic):
        return kind(self.cluster, self.ledger, self._draw(), topic, self.topics[topic])

    @property
    def workers(self):
        return [*self.writers, *self.readers, self.administrator]

    def begin(self):
        """Everybody works; from here on something may go wrong."""
        before = self.ledger.acknowledged
        for worker in self.workers:
            worker.resume()
        wait_until(
            "records are acknowledged",
            lambda: self.ledger.anomalies or self.ledger.acknowledged > before + WARM_RECORDS,
            timeout_s=SETTLE_S,
        )
        self.ledger.begin_interval()

    def settle(self):
        """Writers finish what they wait for and rest; readers reach the ends. The ends, or None with anomalies told."""
        quiet = [*self.writers, self.administrator]
        for worker in quiet:
            worker.pause()
        try:
            wait_until("all writers have their answers", lambda: all(w.is_resting for w in quiet), SETTLE_S)
        except AssertionError:
            names = [worker.name for worker in quiet if not worker.is_resting]
            self.ledger.report("stuck", f"{SETTLE_S} s after all was well these still wait: {names}")
            return None
        self.administrator.verify()
        client = self.cluster.nodes[0].client
        self._had = {
            (topic, partition): self.ledger.seen_end(topic, partition)
            for topic, count in self.topics.items()
            for partition in range(count)
        }
        ends = {topic: ends_of(client, topic, count) for topic, count in self.topics.items()}

        def behind():
            return [str(cursor) for reader in self.readers for cursor in reader.lagging(ends[reader.topic])]

        try:
            wait_until("all readers have reached the ends", lambda: not behind(), SETTLE_S)
        except AssertionError:
            self.ledger.report("stuck", f"readers do not reach the ends {ends}: {behind()}")
        return ends

    def read(self, ends, client):
        """Readings of all that there is."""
        return [
            read_partition(client, topic, partition, end)._replace(had=self._had[topic, partition])
            for topic in ends
            for partition, end in enumerate(ends[topic])
        ]

    def anomalies(self, readings=()):
        return self.ledger.anomalies + (check(self.ledger, readings) if readings else [])

    def end(self):
        for worker in self.workers:
            worker.abandon()
        for worker in self.workers:
            worker.end()

    def delete_topics(self):
        for name in (*self.topics, *self.administrator.topics()):
            request = admin_pb2.DeleteTopicRequest(topic={"name": name})
            self.cluster.nodes[0].client.admin.DeleteTopic(request, timeout=PATIENCE_S)


def show(anomalies):
    for kind in dict.fromkeys(anomaly.kind for anomaly in anomalies):  # in the order of finding
        of_kind = [anomaly for anomaly in anomalies if anomaly.kind == kind]
        for anomaly in of_kind[:SHOWN_OF_A_KIND]:
            print(f"  {anomaly}")
        if len(of_kind) > SHOWN_OF_A_KIND:
            print(f"  ... {len(of_kind)} of these")
