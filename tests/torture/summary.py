"""What rounds were like, by fault: a line for each round, and a table at the end."""
import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Round:
    fault: str
    gap_s: float  # the longest time in which a partition acknowledged nothing
    healthy_s: float  # from the end of the fault until every node said that all is well
    ok: int  # batches that were acknowledged
    failed: int  # of which every answer said that nothing was applied
    unknown: int  # of which nobody can say


class Summary:
    def __init__(self):
        self.rounds = []

    def add(self, of_round):
        self.rounds.append(of_round)

    def __str__(self):
        """Times are medians and maxima, seconds; batches are sums."""
        header = ("FAULT", "ROUNDS", "NO ACK", "MAX", "HEALTHY", "MAX", "OK", "FAILED", "UNKNOWN")
        rows = [header]
        for fault in sorted({one.fault for one in self.rounds}):
            rows.append(_row(fault, [one for one in self.rounds if one.fault == fault]))
        if len(rows) > 2:
            rows.append(_row("all", self.rounds))
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        lines = []
        for row in rows:
            cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
            lines.append("  ".join(cells))
        return "\n".join(lines)


def _row(name, rounds):
    gaps = [one.gap_s for one in rounds]
    healthy = [one.healthy_s for one in rounds]
    sums = [sum(getattr(one, of) for one in rounds) for of in ("ok", "failed", "unknown")]
    times = [statistics.median(gaps), max(gaps), statistics.median(healthy), max(healthy)]
    return (name, str(len(rounds)), *(f"{seconds:.1f}" for seconds in times), *(str(count) for count in sums))
