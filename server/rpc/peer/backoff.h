// How long to wait before the next attempt: doubles up to a bound, and half of it is chance, so that many
// peers do not come back at once.
#pragma once

#include <algorithm>

#include "storage/base/clock.h"
#include "storage/base/random.h"

namespace flotilla::rpc {

class Backoff {
 public:
  Backoff(Duration min, Duration max, Random random) : min_(min), max_(max), next_(min), random_(random) {}

  // Between a half and all of the current bound.
  Duration Next() {
    const Duration bound = next_;
    next_ = std::min(max_, next_ * 2);
    return bound / 2 + Duration(static_cast<Duration::rep>(random_.Below(static_cast<uint64_t>(bound.count() / 2 + 1))));
  }
  // It went well.
  void Reset() { next_ = min_; }

 private:
  const Duration min_;
  const Duration max_;
  Duration next_;
  Random random_;
};

}  // namespace flotilla::rpc
