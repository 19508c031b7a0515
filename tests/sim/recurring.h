// Things that happen again and again at random times, until they are stopped. Each time is a part of the run (parts.h), and stands for
// itself: when it happens, and what it draws, depends on the seed, its name and its number, and on no other.
//
//   Recurring recurring(events, parts, random.Fork(), dice);
//   recurring.Every("kill", 5 * kSecond, [&] { Kill(dice.Below(3)); });
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "storage/base/random.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/parts.h"

namespace flotilla::sim {

class Recurring {
 public:
  // `dice` is made anew before each time. References outlive it.
  Recurring(EventQueue& events, Parts& parts, Random random, Random& dice)
      : events_(events), parts_(parts), seed_(random.Next()), dice_(dice) {}
  Recurring(const Recurring&) = delete;
  Recurring& operator=(const Recurring&) = delete;

  // On average once in `mean`; 0: never. A name is used once.
  void Every(const std::string& name, Time mean, std::function<void()> what) { Begin(name, mean, std::move(what), false); }
  // The same, but it is no part: no run goes without it.
  void Always(const std::string& name, Time mean, std::function<void()> what) { Begin(name, mean, std::move(what), true); }
  void Stop() { stopped_ = true; }

 private:
  struct Kind {
    std::string name;
    Time mean;
    std::function<void()> what;
    bool always;
    uint64_t seed;
    Random when;
    uint64_t times = 0;
  };

  void Begin(const std::string& name, Time mean, std::function<void()> what, bool always) {
    if (mean == 0) return;
    uint64_t seed = seed_;
    for (const char letter : name) seed = (seed ^ static_cast<unsigned char>(letter)) * 0x100000001B3ULL;
    Schedule(std::make_shared<Kind>(
        Kind{.name = name, .mean = mean, .what = std::move(what), .always = always, .seed = seed, .when = Random(seed)}));
  }
  void Schedule(const std::shared_ptr<Kind>& kind) {
    const Time wait = 1 + static_cast<Time>(kind->when.Below(static_cast<uint64_t>(2 * kind->mean)));
    events_.After(wait, [this, kind] {
      if (stopped_) return;
      const uint64_t number = ++kind->times;
      if (kind->always || parts_.Take(kind->name, number)) {
        dice_ = Random(kind->seed + number);
        kind->what();
      }
      Schedule(kind);
    });
  }

  EventQueue& events_;
  Parts& parts_;
  const uint64_t seed_;
  Random& dice_;
  bool stopped_ = false;
};

}  // namespace flotilla::sim
