// Linearizable reads that wait at the leader (thesis §6.4). A read takes the commit index of its arrival and waits for a round of
// heartbeats that began after it; rounds are numbered by the leader, so that no late answer to an earlier question counts.
#pragma once

#include <cstdint>
#include <vector>

#include "raft/core/fifo.h"
#include "storage/base/ids.h"

namespace flotilla::raft {

struct PendingRead {
  uint64_t id = 0;     // the local caller's, or the follower's sequence
  ReplicaId from;      // kNoReplica: local
  LogIndex index;      // what was committed when it arrived
  uint64_t round = 0;  // answered when a quorum has acknowledged this round
};

class ReadQueue {
 public:
  // The read joins the round that opens next.
  void Add(PendingRead read) {
    read.round = round_ + 1;
    reads_.push_back(read);
  }
  // Whether reads wait for a round that has not begun.
  bool wants_round() const { return !reads_.empty() && reads_.back().round > round_; }
  // Begins the next round.
  uint64_t OpenRound() { return ++round_; }
  // The newest round begun; 0 before the first.
  uint64_t round() const { return round_; }
  // Reads whose round is acknowledged, oldest first.
  std::vector<PendingRead> Release(uint64_t acknowledged) {
    std::vector<PendingRead> released;
    while (!reads_.empty() && reads_.front().round <= acknowledged) {
      released.push_back(reads_.front());
      reads_.pop_front();
    }
    return released;
  }
  // All of them, to be refused.
  std::vector<PendingRead> Drain() { return Release(~uint64_t{0}); }
  // Reads that arrived before the leader knew what is committed take `index`.
  void RaiseTo(LogIndex index) {
    for (PendingRead& read : reads_) {
      if (read.index < index) read.index = index;
    }
  }
  size_t size() const { return reads_.size(); }
  bool empty() const { return reads_.empty(); }

 private:
  uint64_t round_ = 0;
  Fifo<PendingRead> reads_;
};

}  // namespace flotilla::raft
