// When each group of a node wants to be woken, in ticks: one wheel for all of them. Setting and cancelling a timer is O(1), and so is a
// tick beside the timers that fire in it, however many there are; nothing is allocated.
//
//   wheel.Schedule(group, due);
//   wheel.AdvanceTo(now, [&](Timer& timer) { ... });   // each timer whose time has come, once
//
// A hashed wheel (Varghese and Lauck, 1987, scheme 6): a timer hangs in the slot of its due tick modulo the size. Nearly all of
// ours are due within two election timeouts, so one turn of the wheel is enough; a later one is looked at once a turn.
#pragma once

#include <array>
#include <cstddef>

#include "raft/core/raft_core.h"
#include "raft/node/intrusive_list.h"

namespace flotilla::raft {

struct WheelTag;

// Inherited by what is to be woken. Cancelled when it dies.
class Timer : public ListNode<WheelTag> {
 public:
  bool scheduled() const { return linked(); }
  // kNever when not scheduled.
  Tick due() const { return scheduled() ? due_ : kNever; }

 private:
  friend class TimerWheel;
  Tick due_ = kNever;
};

class TimerWheel {
 public:
  explicit TimerWheel(Tick now) : now_(now) {}

  // Wakes `timer` at `due`, which is later than now; instead of what was set before. kNever cancels.
  void Schedule(Timer& timer, Tick due) {
    timer.Unlink();
    if (due == kNever) return;
    CHECK_GT(due, now_);
    timer.due_ = due;
    slots_[due % kSlots].PushBack(timer);
  }
  void Cancel(Timer& timer) { timer.Unlink(); }

  // Time moves on. Timers are fired in the order of their ticks, and within a tick in the order in which they were set. One that
  // fires is no longer scheduled; `fire` may schedule and cancel any timer.
  template <typename Fire>
  void AdvanceTo(Tick now, Fire fire) {
    while (now_ < now) {
      ++now_;
      List due;
      due.TakeAll(slots_[now_ % kSlots]);
      while (!due.empty()) {
        Timer& timer = due.PopFront();
        if (timer.due_ > now_) {
          slots_[now_ % kSlots].PushBack(timer);  // of a later turn
        } else {
          fire(timer);
        }
      }
    }
  }

 private:
  using List = IntrusiveList<Timer, WheelTag>;
  static constexpr size_t kSlots = 256;

  std::array<List, kSlots> slots_;
  Tick now_;
};

}  // namespace flotilla::raft
