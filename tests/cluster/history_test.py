"""The history checker sees what it is there to see."""
import unittest

import wire
from history import History, value_of


def records(*numbers, producer=1, partition=0, first_offset=0):
    return [(first_offset + i, value_of(producer, partition, number)) for i, number in enumerate(numbers)]


class HistoryTest(unittest.TestCase):
    def setUp(self):
        self.history = History()
        self.history.on_sent(1, 0, 4)
        self.history.on_acknowledged(0, [value_of(1, 0, 0), value_of(1, 0, 1)], base_offset=0)

    def violations(self, read):
        return "\n".join(self.history.violations({0: read}))

    def test_what_was_acknowledged_may_be_all_there_is(self):
        self.assertEqual(self.violations(records(0, 1)), "")

    def test_what_was_sent_without_an_answer_may_be_there(self):
        self.assertEqual(self.violations(records(0, 1, 2)), "")

    def test_a_lost_record_is_seen(self):
        self.assertIn("acknowledged and not there at offset 1", self.violations(records(0)))

    def test_a_record_at_another_offset_than_told_is_seen(self):
        other = [(0, value_of(2, 0, 0))] + records(0, 1, first_offset=1)
        self.history.on_sent(2, 0, 1)
        self.assertIn("not there at offset 0", self.violations(other))

    def test_a_duplicate_is_seen(self):
        self.assertIn("number 1 twice", self.violations(records(0, 1, 1)))

    def test_disorder_is_seen(self):
        self.assertIn("number 3 after a gap, 2 comes next", self.violations(records(0, 1, 3, 2)))

    def test_a_hole_in_the_offsets_is_seen(self):
        self.assertIn("offset 3 where 2 comes next", self.violations(records(0, 1) + [(3, value_of(1, 0, 2))]))

    def test_a_record_that_nobody_sent_is_seen(self):
        self.assertIn("nobody sent", self.violations(records(0, 1) + [(2, b"hello")]))
        self.assertIn("nobody sent", self.violations(records(0, 1) + [(2, value_of(1, 0, 9))]))
        self.assertIn("nobody sent", self.violations(records(0, 1) + [(2, value_of(1, 1, 2))]))


class WireTest(unittest.TestCase):
    def test_the_checksum_is_that_of_its_specification(self):
        self.assertEqual(wire.crc32c(b"123456789"), 0xE3069283)

    def test_a_request_by_hand_is_what_generated_code_reads(self):
        from flotilla.v1 import produce_pb2, records_pb2

        content = records_pb2.RecordSet(records=[{"value": b"x" * 300}]).SerializeToString()
        request = produce_pb2.ProduceRequest.FromString(
            wire.produce_request("logs", content, partition=200, batch_fields=wire.fixed32(10, 7))
        )
        self.assertEqual((request.topic.name, request.items[0].partition), ("logs", 200))
        self.assertEqual(request.items[0].batch.crc32c, 7)
        self.assertEqual(request.items[0].batch.records.records[0].value, b"x" * 300)


if __name__ == "__main__":
    unittest.main()
