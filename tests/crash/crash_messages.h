// What the dying process tells the surviving one, over a pipe, in writes that a pipe keeps whole.
#pragma once

#include <cstdint>

namespace flotilla::storage {

inline constexpr uint64_t kCrashGroups = 5;
// Tasks of one group that wait at the same time: how far a group may be ahead of what was reported.
inline constexpr uint64_t kCrashOutstanding = 6;

// Task `token` of `group` is durable.
struct Durable {
  uint64_t group = 0;
  uint64_t token = 0;
};

}  // namespace flotilla::storage
