// How fast learners are brought up to date: what the groups of a node read from the store for them, all groups together. Entries that
// are still in the log's tail, and everything for voters, pass by: a voter that is behind may be what a commit waits for.
//
//   budget.SetRate(bytes_per_tick);
//   if (budget.Admit(&fetch)) read, and budget.Settle(fetch.bytes_max, what it was);
//   else budget.Wait({group, opening, fetch});
//   every tick: budget.Tick(); for (waiting of budget.TakeDue(...)) read, and so on
//
// A bucket that may go into debt by one fetch. Who waits is served in the order of coming, and a follower has one fetch at a time, so
// that groups share the rate evenly. Executor only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "raft/core/raft_core.h"

namespace flotilla::raft {

inline size_t BytesOf(const std::vector<storage::Entry>& entries) {
  size_t bytes = 0;
  for (const storage::Entry& entry : entries) bytes += entry.bytes();
  return bytes;
}

class RecoveryBudget {
 public:
  struct Waiting {
    GroupId group;
    uint64_t opening = 0;
    LogFetch fetch;
  };

  // 0: no limit.
  void SetRate(uint64_t bytes_per_tick) {
    rate_ = static_cast<int64_t>(std::min<uint64_t>(bytes_per_tick, kRateMax));
    credit_ = std::min(credit_, rate_);
  }
  // True: it may be read now; its bytes are made smaller where the rate is low, and are charged.
  bool Admit(LogFetch* fetch) {
    if (rate_ == 0) return true;
    if (!waiting_.empty() || credit_ <= 0) return false;
    Charge(fetch);
    return true;
  }
  void Wait(Waiting waiting) { waiting_.push_back(std::move(waiting)); }
  // Of `charged` bytes so many were there.
  void Settle(size_t charged, size_t actual) {
    read_bytes_ += actual;
    if (rate_ != 0) credit_ = std::min(rate_, credit_ + static_cast<int64_t>(charged) - static_cast<int64_t>(actual));
  }
  void Tick() { credit_ = std::min(rate_, credit_ + rate_); }
  // Those whose turn has come; `free(waiting)` holds for those that need not wait any more, whatever the rate.
  template <typename Free>
  std::vector<Waiting> TakeDue(Free free) {
    std::vector<Waiting> due;
    std::deque<Waiting> rest;
    for (Waiting& waiting : waiting_) {
      const bool passes = rate_ == 0 || free(std::as_const(waiting));
      if (!passes && (credit_ <= 0 || !rest.empty())) {
        rest.push_back(std::move(waiting));
        continue;
      }
      if (!passes) Charge(&waiting.fetch);
      due.push_back(std::move(waiting));
    }
    waiting_ = std::move(rest);
    return due;
  }

  size_t waiting() const { return waiting_.size(); }
  // Since the start.
  uint64_t read_bytes() const { return read_bytes_; }

 private:
  static constexpr uint64_t kRateMax = uint64_t{1} << 40;
  // At a low rate a fetch is small, so that the debt of one is paid soon; not so small that its costs outweigh it.
  static constexpr size_t kFetchBytesMin = 64 * 1024;
  static constexpr size_t kTicksPerFetchMax = 4;

  void Charge(LogFetch* fetch) {
    fetch->bytes_max = std::min(fetch->bytes_max, std::max(kFetchBytesMin, kTicksPerFetchMax * static_cast<size_t>(rate_)));
    credit_ -= static_cast<int64_t>(fetch->bytes_max);
  }

  int64_t rate_ = 0;
  int64_t credit_ = 0;
  std::deque<Waiting> waiting_;
  uint64_t read_bytes_ = 0;
};

}  // namespace flotilla::raft
