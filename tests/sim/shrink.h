// Makes a run that fails smaller, as long as it fails in the same way: first it is hurt for a shorter time, then parts are left out, large
// groups of them first, single ones in the end (after Zeller's delta debugging).
//
//   Shrunk small = Shrink(attempt, {.seconds = 60});
//   small.excerpt.ToString()    // "hurt=4.5 client.2 kill.3 write-2.7"
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/event_queue.h"
#include "tests/sim/parts.h"

namespace flotilla::sim {

// What a run of an excerpt came to.
struct Attempt {
  std::string failure;             // empty: all rules were kept
  std::vector<std::string> parts;  // that it had
  Time hurt_for = 0;
};

struct ShrinkLimits {
  uint64_t runs_max = 1000;
  // Asked between two runs: whether there is time for another one.
  std::function<bool()> may_go_on = [] { return true; };
};

struct Shrunk {
  Excerpt excerpt;
  Attempt attempt;  // of that excerpt
  size_t parts_before = 0;
  Time hurt_before = 0;
  uint64_t runs = 0;
};

// Two failures are the same when the same rule is broken: what stands before the first ": ".
std::string RuleOf(const std::string& failure);

// `run` is repeatable: the same excerpt, the same attempt. Nothing: all of it does not fail.
std::optional<Shrunk> Shrink(const std::function<Attempt(const Excerpt&)>& run, const ShrinkLimits& limits);

}  // namespace flotilla::sim
