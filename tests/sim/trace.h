// What happened, in order. Every event goes into a hash, so that two runs of one seed can be compared; the
// text of it is made only when somebody will read it, because formatting costs more than the rest of the
// simulation.
//
//   trace.Mark(Event::kDeliver, node, message.from.value());
//   if (trace.text()) trace.Line(node, "deliver ", message);
//   trace.Story(node, "loses power");          // what a person wants to know first
#pragma once

#include <cstdint>
#include <deque>
#include <ostream>
#include <sstream>
#include <string>

#include "storage/base/ids.h"
#include "tests/sim/event_queue.h"

namespace flotilla::sim {

enum class Event : uint8_t {
  kTick,
  kRun,
  kSend,
  kDeliver,
  kLose,
  kSubmit,
  kSync,
  kApply,
  kBoot,
  kDown,
  kRole,
  kPropose,
  kOutcome,
  kRead,
  kReadDone,
  kFault,
  kOperate,
  kGroup,
  kPhase,
};

// Mixes `value` into a running hash.
constexpr uint64_t Mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15ULL + (hash << 6) + (hash >> 2);
  hash *= 0xBF58476D1CE4E5B9ULL;
  return hash ^ (hash >> 29);
}

class Trace {
 public:
  // kStory prints what Story is told, and nothing else.
  enum class Mode { kHashOnly, kKeepLast, kPrintAll, kStory };

  Trace(const EventQueue& clock, Mode mode, size_t keep = 200, std::ostream* out = nullptr)
      : clock_(clock), mode_(mode), keep_(keep), out_(out) {}

  bool text() const { return mode_ == Mode::kKeepLast || mode_ == Mode::kPrintAll; }
  uint64_t hash() const { return hash_; }

  template <typename... Words>
  void Mark(Event event, NodeId node, Words... words) {
    hash_ = Mix(hash_, static_cast<uint64_t>(clock_.now()));
    hash_ = Mix(hash_, static_cast<uint64_t>(event) << 32 | node.value());
    ((hash_ = Mix(hash_, static_cast<uint64_t>(words))), ...);
  }
  template <typename... Words>
  void Line(NodeId node, const Words&... words) {
    if (text()) Write(node, words...);
  }
  template <typename... Words>
  void Story(NodeId node, const Words&... words) {
    if (mode_ != Mode::kHashOnly) Write(node, words...);
  }
  // The last lines, oldest first.
  void PrintLast(std::ostream& out) const;
  const std::deque<std::string>& last() const { return last_; }

 private:
  template <typename... Words>
  void Write(NodeId node, const Words&... words) {
    std::ostringstream line;
    Begin(node, &line);
    (line << ... << words);
    Keep(std::move(line).str());
  }
  void Begin(NodeId node, std::ostream* line) const;
  void Keep(std::string line);

  const EventQueue& clock_;
  const Mode mode_;
  const size_t keep_;
  std::ostream* const out_;
  std::deque<std::string> last_;
  uint64_t hash_ = 0;
};

}  // namespace flotilla::sim
