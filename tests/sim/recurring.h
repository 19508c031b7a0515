// Things that happen again and again at random times, until they are stopped.
#pragma once

#include <functional>
#include <utility>

#include "storage/base/random.h"
#include "tests/sim/event_queue.h"

namespace flotilla::sim {

class Recurring {
 public:
  Recurring(EventQueue& events, Random random) : events_(events), random_(random) {}
  Recurring(const Recurring&) = delete;
  Recurring& operator=(const Recurring&) = delete;

  // On average once in `mean`; 0: never.
  void Every(Time mean, std::function<void()> what) {
    if (mean != 0) Schedule(mean, std::move(what));
  }
  void Stop() { stopped_ = true; }
  Random& random() { return random_; }

 private:
  void Schedule(Time mean, std::function<void()> what) {
    const Time wait = 1 + static_cast<Time>(random_.Below(static_cast<uint64_t>(2 * mean)));
    events_.After(wait, [this, mean, what = std::move(what)]() mutable {
      if (stopped_) return;
      what();
      Schedule(mean, std::move(what));
    });
  }
  EventQueue& events_;
  Random random_;
  bool stopped_ = false;
};

}  // namespace flotilla::sim
