"""Topics, settings and the map of the cluster: made, listed, watched and deleted through any node."""
import concurrent.futures
import threading
import uuid

from calls import TIMEOUT_S, failing
from flotilla.v1 import admin_pb2, cluster_pb2, metadata_pb2
from nodes import wait_until
from scene import ClusterTest, main


class Watch:
    """Follows WatchMetadata of one node and keeps what it says."""

    def __init__(self, node, **request):
        self._call = node.client.cluster.WatchMetadata(cluster_pb2.WatchMetadataRequest(**request), timeout=60)
        self._lock = threading.Lock()
        self._topics, self._leaders, self._nodes = {}, {}, {}
        self.version = 0
        self.started_over = self.caught_up = False
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        try:
            for message in self._call:
                with self._lock:
                    self._apply(message)
        except Exception:  # cancelled at the end of the test
            pass

    def _apply(self, message):
        if message.starts_over:
            self._topics.clear()
            self._nodes.clear()
            self.started_over = True
        for topic in message.topics:
            self._topics[topic.topic.topic.topic_id] = topic
            for partition in topic.partitions:
                self._lead(
                    topic.topic.topic.name, partition.partition, partition.leader_node_id, partition.leader_epoch
                )
        for topic_id in message.removed_topic_ids:
            self._topics.pop(topic_id, None)
        for node in message.nodes:
            self._nodes[node.node_id] = node
        for hint in message.leaders:
            self._lead(hint.topic.name, hint.partition, hint.node_id, hint.leader_epoch)
        self.version = max(self.version, message.version)
        self.caught_up = self.caught_up or message.caught_up

    def _lead(self, topic, partition, node_id, epoch):
        if epoch >= self._leaders.get((topic, partition), (0, 0))[1]:
            self._leaders[topic, partition] = (node_id, epoch)

    def topic(self, name):
        with self._lock:
            return next((t for t in self._topics.values() if t.topic.topic.name == name), None)

    def leader(self, topic, partition=0):
        with self._lock:
            return self._leaders.get((topic, partition), (0, 0))[0]

    def nodes(self):
        with self._lock:
            return dict(self._nodes)

    def close(self):
        self._call.cancel()


class TopicsTest(ClusterTest):
    def test_every_node_creates_describes_lists_and_deletes(self):
        for i, node in enumerate(self.nodes):
            name = f"{self.topic}.{i}"
            other = self.nodes[(i + 1) % 3].client
            created = node.client.create_topic(name, partitions=2, replication_factor=3)
            self.assertEqual(created.topic.state, metadata_pb2.TOPIC_STATE_READY)
            self.assertEqual(uuid.UUID(created.topic.topic.topic_id).version, 4)
            # metadata_version is what to wait for at another node.
            seen = other.cluster.GetMetadata(
                cluster_pb2.GetMetadataRequest(topics=[{"name": name}], min_version=created.metadata_version),
                timeout=TIMEOUT_S,
            )
            self.assertEqual(seen.topics[0].topic.topic.topic_id, created.topic.topic.topic_id)
            self.assertEqual(len({r.node_id for r in seen.topics[0].partitions[0].replicas}), 3)
            described = other.admin.GetTopic(admin_pb2.GetTopicRequest(topic={"name": name}), timeout=TIMEOUT_S).topic
            self.assertEqual((described.partition_count, described.replication_factor), (2, 3))
            deleted = other.admin.DeleteTopic(admin_pb2.DeleteTopicRequest(topic={"name": name}), timeout=TIMEOUT_S)
            self.assertEqual(deleted.topic.topic.name, name)
            for last in self.nodes:
                wait_until(
                    f"node {last.number} knows that {name} is gone", lambda: name not in self.names(last, self.topic)
                )

    def names(self, node, prefix, page_size=0):
        names, token = [], ""
        while True:
            page = node.client.admin.ListTopics(
                admin_pb2.ListTopicsRequest(name_prefix=prefix, page_size=page_size, page_token=token),
                timeout=TIMEOUT_S,
            )
            names += [topic.topic.name for topic in page.topics]
            token = page.next_page_token
            if not token:
                return names

    def test_two_hundred_topics_come_and_go(self):
        names = [f"{self.topic}.{i:03}" for i in range(200)]

        def create(name):
            node = self.nodes[int(name[-3:]) % 3]
            return node.client.create_topic(name, partitions=1, replication_factor=3)

        def delete(name):
            node = self.nodes[(int(name[-3:]) + 1) % 3]
            return node.client.admin.DeleteTopic(admin_pb2.DeleteTopicRequest(topic={"name": name}), timeout=TIMEOUT_S)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            ids = {created.topic.topic.topic_id for created in pool.map(create, names)}
            self.assertEqual(len(ids), 200)
            for node in self.nodes:
                wait_until(f"node {node.number} lists all", lambda: self.names(node, self.topic, page_size=70) == names)
            for name in names[::40]:
                self.assert_written(self.client.write(name, b"x"), base_offset=0)
            list(pool.map(delete, names))
        for node in self.nodes:
            wait_until(f"node {node.number} lists none", lambda: self.names(node, self.topic) == [])

    def test_a_topic_that_comes_again_under_its_name_is_another_one(self):
        first = self.client.create_topic(self.topic).topic.topic
        self.client.write(self.topic, b"old")
        self.client.admin.DeleteTopic(admin_pb2.DeleteTopicRequest(topic=first), timeout=TIMEOUT_S)
        second = self.client.create_topic(self.topic).topic.topic
        self.assertNotEqual(first.topic_id, second.topic_id)
        for node in self.nodes:
            wait_until(f"node {node.number} serves the new one", lambda: node.client.values(self.topic) == [])
            with failing() as failure:
                node.client.admin.GetTopic(admin_pb2.GetTopicRequest(topic=first), timeout=TIMEOUT_S)
            self.assert_error(failure.error, "TOPIC_NOT_FOUND")

    def test_a_request_that_comes_again_is_done_once(self):
        request = admin_pb2.CreateTopicRequest(topic={"name": self.topic}, request_id=str(uuid.uuid4()))
        answers = [node.client.admin.CreateTopic(request, timeout=TIMEOUT_S) for node in self.nodes]
        self.assertEqual(len({answer.topic.topic.topic_id for answer in answers}), 1)
        request.partition_count = 7
        with failing() as failure:
            self.client.admin.CreateTopic(request, timeout=TIMEOUT_S)
        self.assert_error(failure.error, "REQUEST_ID_REUSED", request_id=request.request_id)

    def test_to_validate_changes_nothing(self):
        self.client.admin.CreateTopic(
            admin_pb2.CreateTopicRequest(topic={"name": self.topic}, validate_only=True), timeout=TIMEOUT_S
        )
        with failing() as failure:
            self.client.admin.GetTopic(admin_pb2.GetTopicRequest(topic={"name": self.topic}), timeout=TIMEOUT_S)
        self.assert_error(failure.error, "TOPIC_NOT_FOUND", topic=self.topic)

    def test_a_topic_grows_and_only_from_the_number_that_was_expected(self):
        self.create_topic(partitions=2)
        grow = admin_pb2.AddPartitionsRequest(topic={"name": self.topic}, partition_count=4, expected_partition_count=3)
        with failing() as failure:
            self.nodes[1].client.admin.AddPartitions(grow, timeout=TIMEOUT_S)
        self.assert_error(failure.error, "VERSION_MISMATCH", expected=3, actual=2)
        grow.expected_partition_count = 2
        self.assertEqual(self.nodes[1].client.admin.AddPartitions(grow, timeout=TIMEOUT_S).topic.partition_count, 4)
        self.assert_written(self.nodes[2].client.write(self.topic, b"x", partition=3), base_offset=0)

    def test_settings_are_shown_changed_and_used(self):
        self.create_topic()
        resource = {"topic": {"name": self.topic}}
        shown = self.nodes[1].client.admin.GetConfig(admin_pb2.GetConfigRequest(resource=resource), timeout=TIMEOUT_S)
        entry = next(e for e in shown.entries if e.name == "record_bytes_max")
        self.assertEqual((entry.value, entry.source), (entry.default_value, admin_pb2.CONFIG_SOURCE_DEFAULT))
        self.assertTrue(all(e.documentation and e.range for e in shown.entries))
        update = admin_pb2.UpdateConfigRequest(
            resource=resource, set_values={"record_bytes_max": "1000"}, expected_version=shown.version
        )
        changed = self.nodes[2].client.admin.UpdateConfig(update, timeout=TIMEOUT_S)
        self.assertEqual(changed.version, shown.version + 1)
        refused = wait_until("the limit is in force", lambda: self.too_large(b"x" * 2000))
        self.assert_error(refused, "RECORD_TOO_LARGE", limit=1000)
        with failing() as failure:
            self.client.admin.UpdateConfig(update, timeout=TIMEOUT_S)
        self.assert_error(failure.error, "VERSION_MISMATCH", expected=shown.version, actual=shown.version + 1)

    def too_large(self, value):
        result = self.client.write(self.topic, value)
        return result.error if result.HasField("error") else None

    # --- who is where

    def test_every_node_lists_the_nodes_and_knows_a_controller(self):
        for node in self.nodes:
            listed = node.client.cluster.ListNodes(cluster_pb2.ListNodesRequest(), timeout=TIMEOUT_S).nodes
            self.assertEqual([n.client_address for n in listed], [n.address for n in self.nodes])
            self.assertEqual({n.state for n in listed}, {metadata_pb2.NODE_STATE_ALIVE})
            health = node.client.cluster.GetHealth(cluster_pb2.GetHealthRequest(), timeout=TIMEOUT_S)
            self.assertEqual((health.nodes, health.nodes_alive, health.partitions_leaderless), (3, 3, 0))
            quorum = node.client.cluster.GetQuorum(cluster_pb2.GetQuorumRequest(), timeout=TIMEOUT_S)
            self.assertEqual(quorum.leader_node_id, health.controller_node_id)
            self.assertEqual(len(quorum.members), 3)

    def test_a_leadership_is_handed_over_and_writing_goes_on(self):
        self.create_topic()
        leader = self.cluster.leader_of(self.topic)
        target = self.cluster.others(leader)[0]
        target_id = target.client.cluster.GetServerInfo(cluster_pb2.GetServerInfoRequest(), timeout=TIMEOUT_S).node_id
        moved = self.client.cluster.TransferLeadership(
            cluster_pb2.TransferLeadershipRequest(
                partition={"topic": {"name": self.topic}, "partition": 0}, to_node_id=target_id
            ),
            timeout=TIMEOUT_S,
        )
        self.assertEqual(moved.leader_node_id, target_id)
        for node in self.nodes:
            self.assert_written(node.client.write(self.topic, b"x"))
        self.assertEqual(self.client.place(self.topic), 3)

    def test_partitions_are_listed_as_their_leaders_see_them(self):
        self.create_topic(partitions=3)
        for partition in range(3):
            self.client.write(self.topic, *[b"x"] * (partition + 1), partition=partition)
        for node in self.nodes:
            listed = node.client.admin.ListPartitions(
                admin_pb2.ListPartitionsRequest(topic={"name": self.topic}), timeout=TIMEOUT_S
            ).partitions
            self.assertEqual([(p.partition.partition, p.high_watermark) for p in listed], [(0, 1), (1, 2), (2, 3)])
            self.assertTrue(all(p.leader_answered and len(p.partition.replicas) == 3 for p in listed))

    # --- watching

    def test_a_watch_at_any_node_follows_topics_and_leaders(self):
        watches = [Watch(node) for node in self.nodes]
        for watch in watches:
            self.addCleanup(watch.close)
            wait_until("the watch has caught up", lambda: watch.caught_up)
            self.assertTrue(watch.started_over)
            self.assertEqual(sorted(watch.nodes()), [1, 2, 3])
        created = self.client.create_topic(self.topic, partitions=2)
        for watch in watches:
            wait_until("the new topic is told", lambda: watch.topic(self.topic) is not None)
            self.assertGreaterEqual(watch.version, created.metadata_version)
            self.assertEqual(len(watch.topic(self.topic).partitions), 2)
            wait_until("its leaders are told", lambda: watch.leader(self.topic, 0) and watch.leader(self.topic, 1))
        old = watches[0].leader(self.topic)
        moved = self.client.cluster.TransferLeadership(
            cluster_pb2.TransferLeadershipRequest(
                partition={"topic": {"name": self.topic}, "partition": 0}, to_node_id=old % 3 + 1
            ),
            timeout=TIMEOUT_S,
        )
        for watch in watches:
            wait_until("the new leader is told", lambda: watch.leader(self.topic) == moved.leader_node_id)
        self.client.admin.DeleteTopic(admin_pb2.DeleteTopicRequest(topic={"name": self.topic}), timeout=TIMEOUT_S)
        for watch in watches:
            wait_until("the deletion is told", lambda: watch.topic(self.topic) is None)

    def test_a_watch_goes_on_where_another_one_ended(self):
        first = Watch(self.nodes[0])
        wait_until("the watch has caught up", lambda: first.caught_up)
        first.close()
        self.create_topic()
        second = Watch(self.nodes[1], after_version=first.version)
        self.addCleanup(second.close)
        wait_until("what came since is told", lambda: second.topic(self.topic) is not None)
        self.assertFalse(second.started_over)

    def test_a_watch_of_one_topic_says_nothing_of_others(self):
        watch = Watch(self.nodes[2], topics=[{"name": self.topic}])
        self.addCleanup(watch.close)
        wait_until("the watch has caught up", lambda: watch.caught_up)
        other = self.topic[:200] + ".other"
        self.client.create_topic(other)
        self.create_topic()
        wait_until("the topic is told", lambda: watch.topic(self.topic) is not None)
        self.assertIsNone(watch.topic(other))

    def test_the_metadata_comes_in_pages(self):
        names = [f"{self.topic[:200]}.{i}" for i in range(5)]
        for name in names:
            self.client.create_topic(name, replication_factor=1)
        found, token = [], ""
        while True:
            page = self.client.cluster.GetMetadata(
                cluster_pb2.GetMetadataRequest(page_size=2, page_token=token), timeout=TIMEOUT_S
            )
            self.assertLessEqual(len(page.topics), 2)
            found += [topic.topic.topic.name for topic in page.topics]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual([name for name in found if name in names], names)
        self.assertEqual(len(found), len(set(found)))


if __name__ == "__main__":
    main()
