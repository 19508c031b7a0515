// Whether a node really works, as its watchdog wants to know: its clock ticks on the broker's thread, and its port answers calls.
// The disk is not asked: a slow one would turn into restarts, which make it slower.
#pragma once

#include <cstdint>
#include <functional>

namespace flotilla {

// One thread.
class Liveness {
 public:
  // Both only ever grow. `ask` has `answers` grow, some time later, if the port answers.
  struct Signs {
    std::function<uint64_t()> ticks;
    std::function<uint64_t()> answers;
    std::function<void()> ask;
  };
  explicit Liveness(Signs signs) : signs_(std::move(signs)), ticks_(signs_.ticks()), answers_(signs_.answers()) { signs_.ask(); }

  // Both have grown since this was last true. Asks again then; call it several times within the watchdog's time.
  bool Moved() {
    signs_.ask();
    const uint64_t ticks = signs_.ticks();
    const uint64_t answers = signs_.answers();
    if (ticks == ticks_ || answers == answers_) return false;
    ticks_ = ticks;
    answers_ = answers;
    return true;
  }

 private:
  const Signs signs_;
  uint64_t ticks_;
  uint64_t answers_;
};

}  // namespace flotilla
