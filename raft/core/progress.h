// What a leader knows of one replica (thesis §10.2.1, pipelining).
//
//   kProbe      one append at a time, until one is accepted and shows where the logs agree
//   kReplicate  appends follow each other without waiting, up to the window
//   kSnapshot   the entries it needs are gone: waits for a snapshot to arrive
#pragma once

#include <cstddef>
#include <cstdint>

#include "raft/core/fifo.h"
#include "storage/base/ids.h"

namespace flotilla::raft {

enum class ProgressState : uint8_t { kProbe, kReplicate, kSnapshot };
const char* ProgressStateName(ProgressState state);

// Appends sent and not yet answered, oldest first.
class Inflight {
 public:
  void Add(LogIndex last, size_t bytes);
  // Everything up to `index` was answered.
  void FreeTo(LogIndex index);
  void Clear();
  bool empty() const { return sent_.empty(); }
  size_t messages() const { return sent_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  struct Sent {
    LogIndex last;
    size_t bytes;
  };
  Fifo<Sent> sent_;
  size_t bytes_ = 0;
};

struct Progress {
  ReplicaId id;
  ProgressState state = ProgressState::kProbe;
  LogIndex match;    // durable there and equal to our log
  LogIndex next{1};  // the next entry to send; > match
  Inflight inflight;
  bool probe_sent = false;   // kProbe: waits for the answer
  bool fetching = false;     // its entries are being read from the disk
  uint64_t last_active = 0;  // tick of the last message from it
  uint64_t sent_at = 0;      // tick of the oldest append without progress since
  uint64_t acked_read_round = 0;

  void BecomeProbe();
  void BecomeReplicate();
  void BecomeSnapshot();
  // Has something on its way that an answer is expected for.
  bool awaiting() const { return state == ProgressState::kProbe ? probe_sent : !inflight.empty(); }
};

}  // namespace flotilla::raft
