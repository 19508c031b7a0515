#include "raft/core/raft_log.h"

#include <glog/logging.h>

#include <algorithm>

namespace flotilla::raft {

using storage::Entry;
using storage::EntryId;
using storage::LogAnchor;
using storage::TermRun;

RaftLog::RaftLog(const storage::GroupState& state, std::vector<std::pair<LogIndex, Configuration>> configurations)
    : start_(state.bounds.start),
      end_(state.bounds.end),
      terms_(state.terms),
      configurations_(std::move(configurations)),
      stable_(state.bounds.end.last.index),
      submitted_(state.bounds.end.last.index) {
  CHECK(!configurations_.empty());
  CheckInvariants();
}

std::optional<Term> RaftLog::TermAt(LogIndex index) const {
  if (index == start_.last.index) return start_.last.term;
  if (index < start_.last.index || index > last()) return std::nullopt;
  // The last run that begins at or before the index; usually the newest.
  for (auto run = terms_.rbegin(); run != terms_.rend(); ++run) {
    if (run->first <= index) return run->term;
  }
  LOG(FATAL) << "no term for index " << index << " of a log from " << first() << " to " << last();
  return std::nullopt;
}

EntryId RaftLog::LastAtMost(LogIndex index, Term term) const {
  LogIndex at = std::min(index, last());
  for (auto run = terms_.rbegin(); run != terms_.rend(); ++run) {
    if (run->first > at) continue;
    if (run->term <= term) return {run->term, at};
    at = run->first - 1;
  }
  return at < start_.last.index || term < start_.last.term ? EntryId{} : start_.last;
}

const Configuration& RaftLog::previous_configuration() const {
  return configurations_.size() < 2 ? configurations_.back().second : configurations_[configurations_.size() - 2].second;
}

const Configuration& RaftLog::ConfigurationAt(LogIndex index) const {
  for (auto it = configurations_.rbegin(); it != configurations_.rend(); ++it) {
    if (it->first <= index) return it->second;
  }
  return configurations_.front().second;
}

void RaftLog::Append(Entry entry) {
  CHECK_EQ(entry.index(), last() + 1);
  CHECK_GE(entry.term(), end_.last.term);
  CHECK_EQ(entry.header.base_offset, end_.end_offset);
  if (terms_.empty() || terms_.back().term != entry.term()) terms_.push_back({entry.index(), entry.term()});
  end_ = storage::AnchorAfter(entry.header);
  tail_bytes_ += entry.bytes();
  tail_.push_back(std::move(entry));
}

void RaftLog::AppendConfiguration(Entry entry, Configuration configuration) {
  configurations_.emplace_back(entry.index(), std::move(configuration));
  Append(std::move(entry));
}

void RaftLog::TruncateFor(const storage::EntryHeader& next) {
  CHECK_GT(next.index, start_.last.index);
  if (next.index > last()) return;
  const LogIndex keep = next.index - 1;
  const Term keep_term = *TermAt(keep);
  while (!tail_.empty() && tail_.back().index() > keep) {
    tail_bytes_ -= tail_.back().bytes();
    tail_.pop_back();
  }
  while (!terms_.empty() && terms_.back().first > keep) terms_.pop_back();
  while (configurations_.size() > 1 && configurations_.back().first > keep) configurations_.pop_back();
  if (keep == start_.last.index) {
    end_ = start_;
  } else if (!tail_.empty()) {
    end_ = storage::AnchorAfter(tail_.back().header);
  } else {
    // The running maximum is unknown until `next` is appended, which carries it.
    end_ = {{keep_term, keep}, next.base_offset, kNoTimestamp};
  }
  stable_ = std::min(stable_, keep);
  submitted_ = std::min(submitted_, keep);
  for (Task& task : tasks_) task.valid_to = std::min(task.valid_to, keep);
}

void RaftLog::TrimTo(const LogAnchor& anchor) {
  CHECK_GE(anchor.last.index, start_.last.index);
  CHECK_LE(anchor.last.index, stable_);
  CHECK(Has(anchor.last)) << "trim to " << anchor.last << ", which is not in the log";
  // The configuration in force at the anchor becomes the base.
  size_t base = 0;
  while (base + 1 < configurations_.size() && configurations_[base + 1].first <= anchor.last.index) ++base;
  configurations_.erase(configurations_.begin(), configurations_.begin() + static_cast<std::ptrdiff_t>(base));
  while (!tail_.empty() && tail_.front().index() <= anchor.last.index) {
    tail_bytes_ -= tail_.front().bytes();
    tail_.pop_front();
  }
  start_ = anchor;
  if (last() == anchor.last.index) end_ = anchor;
  size_t gone = 0;
  while (gone < terms_.size() && (gone + 1 < terms_.size() ? terms_[gone + 1].first <= first() : last() < first())) ++gone;
  terms_.erase(terms_.begin(), terms_.begin() + static_cast<std::ptrdiff_t>(gone));
  if (!terms_.empty() && terms_.front().first < first()) terms_.front().first = first();
}

void RaftLog::Reset(const LogAnchor& anchor, Configuration configuration) {
  start_ = end_ = anchor;
  terms_.clear();
  tail_.clear();
  tail_bytes_ = 0;
  configurations_.clear();
  configurations_.emplace_back(anchor.last.index, std::move(configuration));
  // Tasks on their way write what the reset, which follows them, discards; the reset's own task makes the anchor durable.
  stable_ = submitted_ = anchor.last.index;
  for (Task& task : tasks_) task.void_entries = true;
}

std::vector<Entry> RaftLog::TakeUnsubmitted() {
  std::vector<Entry> entries;
  if (submitted_ == last()) return entries;
  const LogIndex from = submitted_ + 1;
  CHECK_GE(from, tail_first());
  entries.reserve(last() - submitted_);
  for (size_t i = from - tail_first(); i < tail_.size(); ++i) entries.push_back(tail_[i]);
  submitted_ = last();
  return entries;
}

void RaftLog::TaskGivenOut(uint64_t token) { tasks_.push_back({token, submitted_, false}); }

void RaftLog::TaskWritten(uint64_t token) {
  CHECK(!tasks_.empty() && tasks_.front().token == token) << "task " << token << " came back out of order";
  if (!tasks_.front().void_entries) stable_ = std::max(stable_, tasks_.front().valid_to);
  tasks_.pop_front();
}

void RaftLog::TaskRefused(uint64_t token) {
  CHECK(!tasks_.empty() && tasks_.front().token == token) << "task " << token << " came back out of order";
  tasks_.pop_front();
  submitted_ = stable_;
  for (Task& task : tasks_) task.void_entries = true;
}

std::optional<std::vector<Entry>> RaftLog::TailEntries(LogIndex first_wanted, LogIndex last_wanted, size_t bytes_max,
                                                       size_t entries_max) const {
  CHECK_LE(last_wanted, last() + 1);
  std::vector<Entry> entries;
  if (first_wanted >= last_wanted) return entries;
  if (first_wanted < tail_first()) return std::nullopt;
  size_t bytes = 0;
  const size_t begin = first_wanted - tail_first();
  const size_t end = std::min<size_t>(last_wanted - tail_first(), begin + entries_max);
  size_t stop = begin;
  while (stop < end && (stop == begin || bytes + tail_[stop].bytes() <= bytes_max)) bytes += tail_[stop++].bytes();
  entries.reserve(stop - begin);
  for (size_t i = begin; i < stop; ++i) entries.push_back(tail_[i]);
  return entries;
}

size_t RaftLog::TailBytesBetween(LogIndex after, LogIndex to) const {
  size_t bytes = 0;
  const LogIndex from = std::max(after + 1, tail_first());
  for (LogIndex index = from; index <= to; ++index) bytes += tail_[index - tail_first()].bytes();
  return bytes;
}

void RaftLog::EvictTail(LogIndex index, LogIndex forced, size_t bytes_max) {
  index = std::min(index, stable_);
  forced = std::min(forced, stable_);
  while (!tail_.empty()) {
    const LogIndex oldest = tail_.front().index();
    if (oldest > index && (oldest > forced || tail_bytes_ <= bytes_max)) return;
    tail_bytes_ -= tail_.front().bytes();
    tail_.pop_front();
  }
}

void RaftLog::CheckInvariants() const {
  CHECK_LE(start_.last.index, end_.last.index);
  CHECK_LE(start_.last.term, end_.last.term);
  CHECK_LE(start_.end_offset, end_.end_offset);
  CHECK_LE(stable_, submitted_);
  CHECK_LE(submitted_, last());
  CHECK_GE(stable_, start_.last.index);
  CHECK_EQ(terms_.empty(), start_.last.index == end_.last.index);
  if (!terms_.empty()) {
    CHECK_EQ(terms_.front().first, first());
    CHECK_EQ(terms_.back().term, end_.last.term);
  }
  for (size_t i = 0; i + 1 < terms_.size(); ++i) {
    CHECK_LT(terms_[i].first, terms_[i + 1].first);
    CHECK_LT(terms_[i].term, terms_[i + 1].term);
  }
  CHECK(!configurations_.empty());
  CHECK_LE(configurations_.front().first, start_.last.index);
  for (size_t i = 0; i + 1 < configurations_.size(); ++i) CHECK_LT(configurations_[i].first, configurations_[i + 1].first);
  CHECK_LE(configurations_.back().first, last());
  CHECK_LE(tail_.size(), last() - start_.last.index);
  // What is not durable is in memory.
  CHECK_LE(tail_first(), stable_ + 1);
  if (!tail_.empty()) CHECK_EQ(tail_.back().index(), last());
}

}  // namespace flotilla::raft
