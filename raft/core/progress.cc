#include "raft/core/progress.h"

namespace flotilla::raft {

const char* ProgressStateName(ProgressState state) {
  switch (state) {
    case ProgressState::kProbe: return "probe";
    case ProgressState::kReplicate: return "replicate";
    case ProgressState::kSnapshot: return "snapshot";
  }
  return "?";
}

void Inflight::Add(LogIndex last, size_t bytes) {
  sent_.push_back({last, bytes});
  bytes_ += bytes;
}

void Inflight::FreeTo(LogIndex index) {
  while (!sent_.empty() && sent_.front().last <= index) {
    bytes_ -= sent_.front().bytes;
    sent_.pop_front();
  }
}

void Inflight::Clear() {
  sent_.clear();
  bytes_ = 0;
}

void Progress::BecomeProbe() {
  state = ProgressState::kProbe;
  next = match + 1;
  inflight.Clear();
  probe_sent = false;
}

void Progress::BecomeReplicate() {
  state = ProgressState::kReplicate;
  next = match + 1;
  inflight.Clear();
  probe_sent = false;
}

void Progress::BecomeSnapshot() {
  state = ProgressState::kSnapshot;
  inflight.Clear();
  probe_sent = false;
  fetching = false;
}

}  // namespace flotilla::raft
