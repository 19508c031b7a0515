"""What the scenes share: one healthy cluster per class, a topic of its own per test, evidence when a test failed."""
import re
import unittest

from calls import reason_name, text_of
from nodes import Cluster


class ClusterTest(unittest.TestCase):
    NODES = 3

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(cls.NODES)
        cls.cluster.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def setUp(self):
        self.topic = re.sub(r"[^A-Za-z0-9._-]", "_", self.id())[-200:]

    def tearDown(self):
        self.cluster.check_alive()

    @property
    def nodes(self):
        return self.cluster.nodes

    @property
    def client(self):
        return self.nodes[0].client

    def create_topic(self, partitions=1, replication_factor=3, **options):
        self.client.create_topic(self.topic, partitions, replication_factor, **options)
        return self.topic

    def assert_written(self, result, base_offset=None):
        self.assertFalse(result.HasField("error"), text_of(result.error))
        if base_offset is not None:
            self.assertEqual(result.placements[0].base_offset, base_offset)
        return result.placements[0]

    def assert_error(self, error, reason, text=(), **metadata):
        """The reason, the details that programs look at, and what the text has to say (words or numbers)."""
        self.assertEqual(reason_name(error), reason, text_of(error))
        self.assertTrue(error.message, text_of(error))
        for key, value in metadata.items():
            self.assertEqual(error.metadata.get(key), str(value), f"{key} of {text_of(error)}")
        for part in text if isinstance(text, (list, tuple)) else [text]:
            self.assertIn(str(part), error.message)


class _Result(unittest.TextTestResult):
    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._keep(test)

    def addError(self, test, err):
        super().addError(test, err)
        self._keep(test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._keep(test)

    @staticmethod
    def _keep(test):
        cluster = getattr(test, "cluster", None)
        if cluster is not None and cluster.directory.exists():
            cluster.keep_evidence(test.id())


def main():
    unittest.main(testRunner=unittest.TextTestRunner(resultclass=_Result, verbosity=2))
