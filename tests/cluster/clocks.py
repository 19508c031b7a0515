"""Wall clocks of nodes that are wrong, and can be set while the nodes run.

    place = PlaceWithClock(Place(), directory / "clock1")
    Cluster(1, places=[place])
    place.set_clock(3600)            # an hour ahead, from now on
"""
import os
import struct

from nodes import preload


def why_impossible():
    """A sentence, or None."""
    return None if os.environ.get("FLOTILLA_CLOCK_SHIFT") else "FLOTILLA_CLOCK_SHIFT is not set"


class PlaceWithClock:
    """Like another place, with a clock of its own."""

    def __init__(self, place, file, ahead_s=0):
        self._place = place
        self._file = file
        file.touch()
        self.set_clock(ahead_s)

    def __getattr__(self, name):
        return getattr(self._place, name)

    def set_clock(self, ahead_s):
        with open(self._file, "r+b") as file:
            file.write(struct.pack("=q", ahead_s))

    def enter(self):
        self._place.enter()
        preload(os.environ["FLOTILLA_CLOCK_SHIFT"])
        os.environ["FLOTILLA_CLOCK_SHIFT_FILE"] = str(self._file)
