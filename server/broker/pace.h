// How long things take that get less: remembered from look to look, for as many as fit.
//
//   Pace pace = paces.Look({.what = group, .since = epoch}, bytes_left, clock.Now());
//   pace.remaining_ms      // -1: not known
//
// Executor only.
#pragma once

#include <cstdint>
#include <map>

#include "storage/base/clock.h"

namespace flotilla::broker {

struct Pace {
  int64_t remaining_ms = -1;
  // The most that was ever left.
  uint64_t most = 0;
};

class Paces {
 public:
  struct Key {
    uint64_t what = 0;
    // When it began, or the how manieth: another one is another thing.
    int64_t since = 0;
    auto operator<=>(const Key&) const = default;
  };
  // Beyond `kept_max` what was not looked at for the longest time is forgotten.
  explicit Paces(size_t kept_max) : kept_max_(kept_max) {}

  Pace Look(const Key& key, uint64_t left, MonotonicTime now);
  size_t size() const { return seen_.size(); }

 private:
  struct Seen {
    uint64_t most = 0;
    // From here on the speed is measured.
    uint64_t left = 0;
    MonotonicTime at;
    double per_second = -1;  // below 0: never measured
    MonotonicTime looked_at;
  };
  void MakeRoom();

  const size_t kept_max_;
  std::map<Key, Seen> seen_;
};

}  // namespace flotilla::broker
