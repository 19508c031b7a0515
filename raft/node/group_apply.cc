// What a group does with committed entries, and whom it answers then.
#include <glog/logging.h>

#include <utility>

#include "raft/node/group.h"
#include "raft/node/store_snapshot_reader.h"

namespace flotilla::raft {

bool Group::MayApply() const {
  return !closed_ && core_.fault().ok() && !restoring_ && !applying_read_ && applied_ < apply_target_ && rows_bytes_ < kRowsWaitingBytesMax;
}

void Group::ApplySlice() {
  const LogIndex first = applied_ + 1;
  const LogIndex last = apply_target_ + 1;
  const size_t bytes_max = node_.options.apply_bytes_per_turn;
  if (auto entries = core_.log().TailEntries(first, last, bytes_max, limits::kAppendEntriesMax)) return Apply(*entries);
  if (auto entries = node_.store.ReadCached(id(), first, last, {.bytes = bytes_max})) return Apply(*entries);
  applying_read_ = true;
  node_.Read({.group = id(),
              .opening = opening_,
              .wanted = EntriesWanted{.purpose = EntriesWanted::Purpose::kApply,
                                      .ticket = ++apply_ticket_,
                                      .first = first,
                                      .last = last,
                                      .bytes_max = bytes_max,
                                      .to = {},
                                      .term = {}}});
}

void Group::Apply(const std::vector<storage::Entry>& entries) {
  if (entries.empty() || !core_.fault().ok()) return;
  CHECK_EQ(entries.front().index(), applied_ + 1);
  const size_t rows_before = rows_.size();
  machine_.Apply(entries, &rows_);
  if (closed_) return;
  for (size_t i = rows_before; i < rows_.size(); ++i) rows_bytes_ += rows_[i].key.size() + rows_[i].value.size();
  if (rows_before == 0 && !rows_.empty()) rows_due_ = node_.now + node_.options.rows_delay_ticks;
  if (rows_bytes_ >= kRowsWaitingBytesMax) WriteRows();

  applied_ = entries.back().index();
  core_.Applied(applied_);
  while (const auto answer = proposals_.Take(entries)) {
    AnswerProposal(*answer);
    if (closed_) return;
  }
  AnswerReads();
  if (!closed_) ShowLeadership();
}

void Group::AnswerProposal(const WaitingProposals::Answer& answer) {
  const WaitingProposal& proposal = answer.proposal;
  switch (answer.fate) {
    case ProposalFate::kApplied: return proposal.sink->OnProposal(proposal.token, Status(), answer.header);
    case ProposalFate::kReplaced:
      return proposal.sink->OnProposal(
          proposal.token, Status(Reason::kNotLeader, "the leadership was lost before the entry was committed, and it was not"), {});
    case ProposalFate::kUnknown:
      return proposal.sink->OnProposal(
          proposal.token,
          Status(Reason::kOutcomeUnknown, "a snapshot replaced the log before the outcome was known; look whether it took effect"), {});
  }
}

void Group::AnswerReads() {
  while (const std::optional<WaitingRead> read = reads_.TakeServable(applied_)) {
    read->sink->OnRead(read->token, Status(), read->index);
    if (closed_) return;
  }
}

// The state machine starts anew from a snapshot that is now durable. False: it cannot.
bool Group::Restore(const storage::SnapshotMeta& meta) {
  StoreSnapshotReader reader(node_.store, id(), meta);
  const Status restored = machine_.Restore(meta, reader);
  if (closed_) return false;
  if (!restored.ok()) {
    Fail(restored);
    return false;
  }
  restoring_.reset();
  rows_.clear();
  rows_bytes_ = 0;
  rows_due_ = kNever;
  rows_void_ = rows_in_flight_;
  applied_ = meta.anchor.last.index;
  apply_target_ = std::max(apply_target_, applied_);
  while (const auto answer = proposals_.TakeReplaced(meta.anchor.last)) {
    AnswerProposal(*answer);
    if (closed_) return false;
  }
  AnswerReads();
  return !closed_;
}

}  // namespace flotilla::raft
