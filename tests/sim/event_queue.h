// Virtual time: what happens next, and when. Things due at the same moment happen in the order in which they
// were scheduled, so a run depends on nothing but its seed.
//
//   EventQueue events;
//   events.After(3 * kMillisecond, [&] { node.Tick(); });
//   while (events.now() < end && events.RunOne()) ...
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace flotilla::sim {

// Microseconds since the start of the run.
using Time = int64_t;
inline constexpr Time kMicrosecond = 1;
inline constexpr Time kMillisecond = 1000;
inline constexpr Time kSecond = 1000 * kMillisecond;

class EventQueue {
 public:
  Time now() const { return now_; }
  bool empty() const { return heap_.empty(); }
  uint64_t executed() const { return executed_; }
  // When the next event is due. Not when empty.
  Time next() const { return heap_.front().at; }

  // `when` in the past means now.
  void At(Time when, std::function<void()> what);
  void After(Time delay, std::function<void()> what) { At(now_ + delay, std::move(what)); }
  // Moves time to the next event and runs it. False: there is none.
  bool RunOne();

 private:
  struct Event {
    Time at;
    uint64_t sequence;
    std::function<void()> what;
  };
  static bool Later(const Event& a, const Event& b) { return a.at != b.at ? a.at > b.at : a.sequence > b.sequence; }

  std::vector<Event> heap_;  // the earliest in front
  Time now_ = 0;
  uint64_t next_sequence_ = 0;
  uint64_t executed_ = 0;
};

}  // namespace flotilla::sim
