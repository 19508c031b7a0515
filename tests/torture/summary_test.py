"""The table at the end of a torture."""
import unittest

from ledger import Ledger
from summary import Round, Summary


class SummaryTest(unittest.TestCase):
    def test_faults_have_a_row_each_and_all_have_one(self):
        summary = Summary()
        summary.add(Round("kill_one", 1.0, 2.0, 100, 1, 2))
        summary.add(Round("kill_one", 3.0, 4.0, 200, 3, 4))
        summary.add(Round("drain", 0.5, 0.1, 10, 0, 0))
        lines = [line.split() for line in str(summary).split("\n")]
        self.assertEqual(lines[1], ["drain", "1", "0.5", "0.5", "0.1", "0.1", "10", "0", "0"])
        self.assertEqual(lines[2], ["kill_one", "2", "2.0", "3.0", "3.0", "4.0", "300", "4", "6"])
        self.assertEqual(lines[3], ["all", "3", "1.0", "3.0", "2.0", "4.0", "310", "4", "6"])

    def test_outcomes_are_those_of_the_interval(self):
        ledger = Ledger()
        writer = ledger.new_writer("plain", idempotent=False)
        ledger.acknowledge(ledger.begin(writer, 1, "orders", 0, 1), [(0, 0, 1)])
        ledger.begin_interval()
        ledger.acknowledge(ledger.begin(writer, 2, "orders", 0, 1), [(0, 1, 1)])
        ledger.refuse(ledger.begin(writer, 3, "orders", 0, 1))
        ledger.begin(writer, 4, "orders", 0, 1)
        ledger.begin(writer, 5, "orders", 0, 1)
        self.assertEqual(ledger.outcomes(), (1, 1, 2))


if __name__ == "__main__":
    unittest.main()
