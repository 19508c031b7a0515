// Gives memory that nobody uses any more back to the machine. The C library keeps in its pools what ten thousand connections needed
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
  // `free_bytes` of the pools: also those that were given back, which stay in them as addresses.
  bool IsWorthIt(uint64_t free_bytes);

  MonotonicTime looked_at_;
  Duration cpu_time_{};
  uint64_t free_bytes_min_ = 0;  // since it was given back
};

}  // namespace flotilla
