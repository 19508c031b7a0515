// Who waits for what in a group: proposals until something is applied at their index, reads until enough is applied. Rows, in the order of
// arrival; the answers are for the caller to give, one at a time, since whoever is answered may ask again at once.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "raft/core/fifo.h"
#include "raft/node/raft_host.h"
#include "storage/base/ids.h"
#include "storage/base/status.h"
#include "storage/log/entry.h"

namespace flotilla::raft {

class ProposalSink;
class ReadSink;

struct WaitingProposal {
  LogIndex index;  // of the last entry
  Term term;
  uint64_t token = 0;
  ProposalSink* sink = nullptr;
};

// What became of a proposal.
enum class ProposalFate : uint8_t {
  kApplied,   // its entry was applied
  kReplaced,  // it is certainly not in the log
  kUnknown,   // the log was replaced past it
};

class WaitingProposals {
 public:
  // Terms never fall from one to the next, and within a term the index grows: a leader proposes, in terms of its own.
  void Add(const WaitingProposal& proposal) {
    CHECK(rows_.empty() || rows_.back().term <= proposal.term);
    rows_.push_back(proposal);
  }

  struct Answer {
    WaitingProposal proposal;
    ProposalFate fate;
    storage::EntryHeader header;  // of the entry, when applied
  };
  // The oldest one on which the applied `entries` decide; nothing when the rest has to wait. An entry of a later term before a
  // proposal's index decides too: no entry of an earlier term can follow it.
  std::optional<Answer> Take(std::span<const storage::Entry> entries) {
    if (rows_.empty() || entries.empty()) return std::nullopt;
    const storage::EntryId last = entries.back().id();
    const WaitingProposal& oldest = rows_.front();
    if (oldest.index > last.index) {
      if (oldest.term >= last.term) return std::nullopt;
      return Pop(ProposalFate::kReplaced, {});
    }
    // Those before the first were decided with an earlier span, or by TakeReplaced.
    CHECK_GE(oldest.index, entries.front().index());
    const storage::EntryHeader& there = entries[oldest.index - entries.front().index()].header;
    return there.term == oldest.term ? Pop(ProposalFate::kApplied, there) : Pop(ProposalFate::kReplaced, {});
  }
  // The same after the log was replaced by a snapshot up to `anchor`: what it says about entries before the anchor is lost.
  std::optional<Answer> TakeReplaced(const storage::EntryId& anchor) {
    if (rows_.empty()) return std::nullopt;
    const WaitingProposal& oldest = rows_.front();
    if (oldest.index <= anchor.index) return Pop(ProposalFate::kUnknown, {});
    if (oldest.term < anchor.term) return Pop(ProposalFate::kReplaced, {});
    return std::nullopt;
  }
  // Any, when the group ends.
  std::optional<Answer> TakeAny() {
    if (rows_.empty()) return std::nullopt;
    return Pop(ProposalFate::kUnknown, {});
  }

  size_t size() const { return rows_.size(); }
  // Gives back memory of busier times.
  void Trim() {
    if (rows_.empty()) rows_ = {};
  }

 private:
  Answer Pop(ProposalFate fate, const storage::EntryHeader& header) {
    Answer answer{rows_.front(), fate, header};
    rows_.pop_front();
    return answer;
  }
  Fifo<WaitingProposal> rows_;
};

struct WaitingRead {
  uint64_t token = 0;
  ReadSink* sink = nullptr;
  bool answered = false;  // by the core, or refused: no longer in the table
  bool released = false;  // waits only for `index` to be applied
  LogIndex index;
};

// Reads have consecutive ids, which is how the core names them.
class WaitingReads {
 public:
  uint64_t next_id() const { return first_id_ + rows_.size(); }
  void Add(uint64_t token, ReadSink& sink) {
    rows_.push_back({.token = token, .sink = &sink, .answered = false, .released = false, .index = {}});
    ++waiting_;
  }

  // The core says: serve the read once `index` is applied.
  void Release(uint64_t id, LogIndex index) {
    WaitingRead* row = Find(id);
    if (row == nullptr) return;
    row->released = true;
    row->index = index;
    released_.push_back(id);
  }
  // The core refused it. Nothing: it is not waiting.
  std::optional<WaitingRead> Refuse(uint64_t id) {
    WaitingRead* row = Find(id);
    if (row == nullptr) return std::nullopt;
    return Answer(row);
  }
  // One that may be served now that `applied` is applied. In the order of release: indexes hardly ever fall, so the first one stands
  // for all.
  std::optional<WaitingRead> TakeServable(LogIndex applied) {
    if (released_.empty()) return std::nullopt;
    WaitingRead* row = Find(released_.front());
    CHECK(row != nullptr && row->released);
    if (row->index > applied) return std::nullopt;
    released_.pop_front();
    return Answer(row);
  }
  // Any, when the group ends.
  std::optional<WaitingRead> TakeAny() {
    released_ = {};
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (!rows_[i].answered) return Answer(&rows_[i]);
    }
    return std::nullopt;
  }

  size_t size() const { return waiting_; }
  void Trim() {
    if (!rows_.empty()) return;
    rows_ = {};
    released_ = {};
  }

 private:
  WaitingRead* Find(uint64_t id) {
    if (id < first_id_ || id - first_id_ >= rows_.size()) return nullptr;
    WaitingRead* row = &rows_[id - first_id_];
    return row->answered ? nullptr : row;
  }
  WaitingRead Answer(WaitingRead* row) {
    const WaitingRead answer = *row;
    row->answered = true;
    --waiting_;
    while (!rows_.empty() && rows_.front().answered) {
      rows_.pop_front();
      ++first_id_;
    }
    return answer;
  }

  Fifo<WaitingRead> rows_;
  uint64_t first_id_ = 1;
  Fifo<uint64_t> released_;
  size_t waiting_ = 0;
};

}  // namespace flotilla::raft
