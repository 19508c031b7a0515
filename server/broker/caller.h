// Who calls, and for how long.
#pragma once

#include <string>

#include "storage/base/clock.h"

namespace flotilla::broker {

struct Caller {
  // As the edge authenticated it. Empty: nobody in particular.
  std::string principal;
  // Where the call came from, for logs.
  std::string address;
  // Always set: the edge gives calls without one a deadline of its own.
  MonotonicTime deadline;
  // The client would rather be told where the leader is than be forwarded: NOT_LEADER with its address.
  bool require_leader = false;
};

}  // namespace flotilla::broker
