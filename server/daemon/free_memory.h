// Gives memory that nobody uses any more back to the machine. The allocator keeps in its pools what ten thousand connections needed
// when they have gone; a node would weigh for ever what its worst moment weighed.
#pragma once

#include <cstdint>

#include "storage/base/clock.h"

namespace flotilla {

class FreeMemory {
 public:
  // Every few seconds. Gives back when enough was freed since it last did, and the process has little to do: it costs tens of
  // milliseconds in which others wait for memory.
  void Look(MonotonicTime now);

 private:
  friend class FreeMemoryTest;
  // `cpu_time` of the whole process, so far.
  bool IsAtRest(MonotonicTime now, Duration cpu_time);
  // `free` in the pools may count bytes that were given back, too; they are resident again when they are used. Either may have grown.
  struct Reading {
    uint64_t resident = 0;
    uint64_t free = 0;
  };
  static Reading Read();
  bool IsWorthIt(const Reading& now);

  MonotonicTime looked_at_;
  Duration cpu_time_{};
  // Right after it last gave back, or less since. At first it never has.
  Reading low_;
};

}  // namespace flotilla
