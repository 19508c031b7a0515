#include "tests/sim/event_queue.h"

#include <algorithm>

namespace flotilla::sim {

void EventQueue::At(Time when, std::function<void()> what) {
  heap_.push_back({std::max(when, now_), next_sequence_++, std::move(what)});
  std::push_heap(heap_.begin(), heap_.end(), Later);
}

bool EventQueue::RunOne() {
  if (heap_.empty()) return false;
  std::pop_heap(heap_.begin(), heap_.end(), Later);
  Event event = std::move(heap_.back());
  heap_.pop_back();
  now_ = event.at;
  ++executed_;
  event.what();
  return true;
}

}  // namespace flotilla::sim
