#include "tests/sim/coverage.h"

#include <glog/logging.h>

#include <iomanip>
#include <sstream>

namespace flotilla::sim {
namespace {

// In the order of Met.
constexpr std::array<std::string_view, kMetCount> kNames = {"message delivered",
                                                            "message lost",
                                                            "message repeated",
                                                            "message overtaken",
                                                            "message split",
                                                            "message cut by a partition",
                                                            "message to a dead node",
                                                            "message to an earlier incarnation",
                                                            "connection reported broken",
                                                            "one-way cut",
                                                            "partition",
                                                            "burst of loss and delay",
                                                            "process killed",
                                                            "power cut",
                                                            "crash before a send",
                                                            "crash before a write is queued",
                                                            "crash before an apply",
                                                            "crash before an answer",
                                                            "pause",
                                                            "clock changed its speed",
                                                            "whole cluster down",
                                                            "unsynced write lost",
                                                            "unsynced write torn",
                                                            "unsynced write kept",
                                                            "sync failed",
                                                            "write failed",
                                                            "disk filled up",
                                                            "append refused, disk full",
                                                            "disk slow",
                                                            "bit flipped",
                                                            "bit of a snapshot flipped",
                                                            "damage found by the replica",
                                                            "disk wiped",
                                                            "replica replaced by a new incarnation",
                                                            "proposal applied",
                                                            "proposal refused at once",
                                                            "proposal ended NOT_LEADER",
                                                            "proposal ended OUTCOME_UNKNOWN",
                                                            "proposal lost with its node",
                                                            "proposal refused OVERLOADED",
                                                            "read on a leader",
                                                            "read on a follower",
                                                            "read failed",
                                                            "learner added",
                                                            "learner promoted",
                                                            "voter demoted",
                                                            "replica removed",
                                                            "leader removed",
                                                            "several changes at once",
                                                            "change refused",
                                                            "transfer begun",
                                                            "snapshot taken",
                                                            "snapshot installed",
                                                            "log trimmed",
                                                            "suffix overwritten",
                                                            "priority changed",
                                                            "group created",
                                                            "group destroyed",
                                                            "follower -> pre-candidate",
                                                            "pre-candidate -> candidate",
                                                            "candidate -> leader",
                                                            "pre-candidate -> follower",
                                                            "candidate -> follower",
                                                            "leader -> follower",
                                                            "configuration simple -> simple",
                                                            "configuration simple -> joint",
                                                            "configuration joint -> simple"};
static_assert(!kNames.back().empty(), "a name for each Met");

}  // namespace

std::string_view MetName(Met what) { return kNames[static_cast<size_t>(what)]; }

void Coverage::Merge(const Coverage& other) {
  for (size_t i = 0; i < kMetCount; ++i) counts_[i] += other.counts_[i];
}

std::vector<std::string_view> Coverage::Missing() const {
  std::vector<std::string_view> missing;
  for (size_t i = 0; i < kMetCount; ++i) {
    if (counts_[i] == 0) missing.push_back(kNames[i]);
  }
  return missing;
}

void Coverage::Print(std::ostream& out) const {
  constexpr size_t kColumns = 2;
  for (size_t i = 0; i < kMetCount; ++i) {
    out << "  " << std::left << std::setw(38) << kNames[i] << std::right << std::setw(12) << counts_[i];
    out << (i % kColumns == kColumns - 1 || i + 1 == kMetCount ? "\n" : "   ");
  }
}

std::string Coverage::Encode() const {
  std::ostringstream out;
  for (uint64_t count : counts_) out << count << ' ';
  return std::move(out).str();
}

bool Coverage::Decode(std::string_view text) {
  std::istringstream in{std::string(text)};
  for (uint64_t& count : counts_) {
    if (!(in >> count)) return false;
  }
  return true;
}

}  // namespace flotilla::sim
