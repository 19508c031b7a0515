"""The checker sees what it is there to see."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))

from checker import Reading, check
from ledger import Ledger


class CheckerTest(unittest.TestCase):
    """Two batches of two records of one idempotent writer, the first one acknowledged at offset 0."""

    def setUp(self):
        self.ledger = Ledger()
        self.writer = self.ledger.new_writer("idempotent", idempotent=True)
        self.first = self.ledger.begin(self.writer, 0, "t", 0, 2)
        self.ledger.acknowledge(self.first, [(0, 0, 2)])
        self.second = self.ledger.begin(self.writer, 1, "t", 0, 2)

    def kinds(self, values, log_start=0, end=None, epochs=None):
        records = [(log_start + i, value, epochs[i] if epochs else 1) for i, value in enumerate(values)]
        end = log_start + len(records) if end is None else end
        return {anomaly.kind for anomaly in check(self.ledger, [Reading("t", 0, log_start, end, records)])}

    def test_what_was_acknowledged_may_be_all_there_is_and_what_was_sent_may_be_there(self):
        self.assertEqual(self.kinds(self.first.values(9)), set())
        self.assertEqual(self.kinds(self.first.values(9) + self.second.values(9)), set())

    def test_a_lost_write(self):
        self.assertIn("lost write", self.kinds(self.first.values(9)[:1]))
        self.assertIn("lost write", self.kinds(self.second.values(9) + self.first.values(9)))

    def test_more_was_trimmed_than_asked_for(self):
        self.assertIn("lost write", self.kinds(self.second.values(9), log_start=2))
        self.ledger.will_trim("t", 0, 2)
        self.assertEqual(self.kinds(self.second.values(9), log_start=2), set())

    def test_what_a_reader_had_is_gone(self):
        self.ledger.saw("t", 0, 2, self.second.values(9)[0], "a reader")
        self.assertIn("lost read", self.kinds(self.first.values(9)))

    def test_what_came_after_the_end_was_asked_for(self):
        """Of a call that was given up before: it is no loss. What a reader had by then and is gone is one."""
        self.ledger.saw("t", 0, 2, self.second.values(9)[0], "a reader")
        records = [(i, value, 1) for i, value in enumerate(self.first.values(9))]
        self.assertEqual(check(self.ledger, [Reading("t", 0, 0, 2, records, had=2)]), [])
        gone = check(self.ledger, [Reading("t", 0, 0, 2, records, had=3)])
        self.assertEqual([anomaly.kind for anomaly in gone], ["lost read"])

    def test_divergent_values(self):
        self.ledger.saw("t", 0, 2, self.second.values(9)[0], "a reader")
        self.ledger.saw("t", 0, 2, self.second.values(9)[1], "another")
        self.assertEqual([anomaly.kind for anomaly in self.ledger.anomalies], ["divergent value"])

    def test_an_aborted_read(self):
        self.ledger.refuse(self.second)
        self.assertEqual(self.kinds(self.first.values(9) + self.second.values(9)), {"aborted read"})

    def test_a_duplicate(self):
        self.assertIn("duplicate", self.kinds(self.first.values(9) + self.first.values(9)))

    def test_a_duplicate_of_a_call_that_was_made_once(self):
        batch = self.ledger.begin(self.ledger.new_writer("plain", idempotent=False), 0, "t", 0, 1)
        self.assertEqual(self.kinds(self.first.values(9) + 2 * batch.values(9)), {"duplicate"})

    def test_a_batch_that_was_left_out(self):
        third = self.ledger.begin(self.writer, 2, "t", 0, 1)
        self.assertEqual(self.kinds(self.first.values(9) + third.values(9)), {"write order"})

    def test_a_torn_batch(self):
        self.assertIn("gap", self.kinds(self.first.values(9) + self.second.values(9)[1:]))

    def test_a_call_that_began_later_stands_before_one_that_had_ended(self):
        one, other = (self.ledger.new_writer("plain", idempotent=False) for _ in range(2))
        early = self.ledger.begin(one, 0, "t", 0, 1)
        self.ledger.acknowledge(early, [(0, 3, 1)])
        late = self.ledger.begin(other, 0, "t", 0, 1)
        self.assertEqual(self.kinds(self.first.values(9) + late.values(9) + early.values(9)), {"write order"})

    def test_a_hole_in_the_offsets_an_end_that_is_not_reached_and_epochs_that_fall(self):
        self.assertEqual(self.kinds(self.first.values(9), end=3), {"gap"})
        self.assertEqual(self.kinds(self.first.values(9), epochs=[2, 1]), {"gap"})

    def test_a_record_that_nobody_sent(self):
        self.assertEqual(self.kinds(self.first.values(9) + [b"hello"]), {"unseen write"})
        elsewhere = self.ledger.begin(self.writer, 2, "t", 1, 1)
        self.assertIn("unseen write", self.kinds(self.first.values(9) + elsewhere.values(9)))


if __name__ == "__main__":
    unittest.main()
