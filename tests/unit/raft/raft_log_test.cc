#include "raft/core/raft_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "storage/log/log_store.h"
#include "tests/support/entry_maker.h"
#include "tests/unit/raft/replicas.h"

namespace flotilla::raft {
namespace {

using storage::Entry;
using storage::EntryId;
using storage::EntryMaker;
using storage::LogAnchor;
using testing::ElementsAre;

constexpr GroupId kGroup{7};

EntryId Id(uint64_t index, uint64_t term) { return {Term{term}, LogIndex{index}}; }

std::vector<uint64_t> Indexes(const std::vector<Entry>& entries) {
  std::vector<uint64_t> indexes;
  for (const Entry& entry : entries) indexes.push_back(entry.index().value());
  return indexes;
}

Configuration Members(std::initializer_list<uint64_t> nodes) { return {.voters = Rs(nodes)}; }

// A log of three members that is written to by one hand.
class RaftLogTest : public testing::Test {
 protected:
  void Append(uint64_t term, int count = 1) {
    for (; count > 0; --count) log_.Append(Next(term));
  }
  void AppendMembers(uint64_t term, const Configuration& members) {
    make_.ContinueAfter(log_.end()).InTerm(Term{term});
    log_.AppendConfiguration(make_.Configuration(EncodeConfiguration(members).view()), members);
  }
  // What a leader of `term` puts at `index`, which is in memory.
  void Overwrite(uint64_t index, uint64_t term) {
    const Entry old = log_.TailEntries(LogIndex{index}, LogIndex{index + 1}, 1, 1)->front();
    const LogAnchor before{{Term{term}, LogIndex{index - 1}}, old.header.base_offset};
    Entry entry = make_.ContinueAfter(before).InTerm(Term{term}).Noop();
    log_.TruncateFor(entry.header);
    log_.Append(std::move(entry));
  }
  uint64_t Submit() {
    last_taken_ = log_.TakeUnsubmitted();
    log_.TaskGivenOut(++token_);
    return token_;
  }
  void AppendDurable(uint64_t term, int count = 1) {
    Append(term, count);
    log_.TaskWritten(Submit());
  }
  LogAnchor AnchorAt(uint64_t index) {
    auto entry = log_.TailEntries(LogIndex{index}, LogIndex{index + 1}, 1, 1);
    return storage::AnchorAfter(entry->front().header);
  }

  RaftLog log_{storage::GroupState{}, {{LogIndex{0}, Members({1, 2, 3})}}};
  std::vector<Entry> last_taken_;
  uint64_t token_ = 0;

 private:
  Entry Next(uint64_t term) { return make_.ContinueAfter(log_.end()).InTerm(Term{term}).Data("x"); }
  EntryMaker make_{kGroup};
};

// --- terms and hints

TEST_F(RaftLogTest, AnEmptyLogKnowsThePlaceBeforeItsStart) {
  EXPECT_EQ(log_.first(), LogIndex{1});
  EXPECT_EQ(log_.last(), LogIndex{0});
  EXPECT_EQ(log_.TermAt(LogIndex{0}), Term{0});
  EXPECT_EQ(log_.TermAt(LogIndex{1}), std::nullopt);
}

// Bug of etcd (76f1249): "missing" must not look like term 0.
TEST_F(RaftLogTest, TrimmedAndFutureEntriesHaveNoTerm) {
  AppendDurable(2, 5);
  log_.TrimTo(AnchorAt(3));
  EXPECT_EQ(log_.TermAt(LogIndex{2}), std::nullopt);
  EXPECT_EQ(log_.TermAt(LogIndex{3}), Term{2});
  EXPECT_EQ(log_.TermAt(LogIndex{6}), std::nullopt);
  EXPECT_FALSE(log_.Has(Id(2, 0)));
  EXPECT_TRUE(log_.Has(Id(5, 2)));
}

TEST_F(RaftLogTest, AHintIsTheLastPlaceThatMayAgree) {
  Append(1, 2);
  Append(4, 3);
  Append(6, 2);  // 1-2@1 3-5@4 6-7@6
  EXPECT_EQ(log_.LastAtMost(LogIndex{7}, Term{6}), Id(7, 6));
  EXPECT_EQ(log_.LastAtMost(LogIndex{7}, Term{5}), Id(5, 4));
  EXPECT_EQ(log_.LastAtMost(LogIndex{4}, Term{5}), Id(4, 4));
  EXPECT_EQ(log_.LastAtMost(LogIndex{4}, Term{3}), Id(2, 1));
  EXPECT_EQ(log_.LastAtMost(LogIndex{99}, Term{9}), Id(7, 6));
  EXPECT_EQ(log_.LastAtMost(LogIndex{7}, Term{0}), Id(0, 0));
}

TEST_F(RaftLogTest, AHintBeforeTheStartIsNowhere) {
  AppendDurable(2, 5);
  log_.TrimTo(AnchorAt(3));
  EXPECT_EQ(log_.LastAtMost(LogIndex{3}, Term{2}), Id(3, 2));
  EXPECT_EQ(log_.LastAtMost(LogIndex{2}, Term{2}), Id(0, 0));
  EXPECT_EQ(log_.LastAtMost(LogIndex{5}, Term{1}), Id(0, 0));
  log_.TrimTo(AnchorAt(5));
  EXPECT_EQ(log_.LastAtMost(LogIndex{2}, Term{2}), Id(0, 0));
}

// --- tasks

TEST_F(RaftLogTest, EntriesAreDurableWhenTheirTaskIs) {
  Append(1, 2);
  const uint64_t first = Submit();
  Append(1);
  const uint64_t second = Submit();
  EXPECT_EQ(log_.stable(), LogIndex{0});
  EXPECT_EQ(log_.submitted(), LogIndex{3});
  log_.TaskWritten(first);
  EXPECT_EQ(log_.stable(), LogIndex{2});
  log_.TaskWritten(second);
  EXPECT_EQ(log_.stable(), LogIndex{3});
  EXPECT_FALSE(log_.writing());
}

TEST_F(RaftLogTest, EachEntryIsGivenOutOnce) {
  Append(1, 2);
  Submit();
  EXPECT_THAT(Indexes(last_taken_), ElementsAre(1, 2));
  Submit();
  EXPECT_TRUE(last_taken_.empty());
}

// The ABA of asynchronous storage (bug 17): a completion speaks of what was written, not of what stands there
// now.
TEST_F(RaftLogTest, ACompletionOfOverwrittenEntriesIsIgnored) {
  Append(1, 3);
  const uint64_t old = Submit();
  Overwrite(2, 2);
  const uint64_t fresh = Submit();
  EXPECT_THAT(Indexes(last_taken_), ElementsAre(2));
  log_.TaskWritten(old);
  EXPECT_EQ(log_.stable(), LogIndex{1});
  log_.TaskWritten(fresh);
  EXPECT_EQ(log_.stable(), LogIndex{2});
}

TEST_F(RaftLogTest, OverwritingTwiceWhileBothAreWritten) {
  Append(1, 3);
  const uint64_t a = Submit();
  Overwrite(3, 2);
  const uint64_t b = Submit();
  Overwrite(2, 3);
  Append(3, 2);
  const uint64_t c = Submit();
  log_.TaskWritten(a);
  EXPECT_EQ(log_.stable(), LogIndex{1});
  log_.TaskWritten(b);
  EXPECT_EQ(log_.stable(), LogIndex{1});
  log_.TaskWritten(c);
  EXPECT_EQ(log_.stable(), LogIndex{4});
}

TEST_F(RaftLogTest, TruncationTakesDurableEntriesBack) {
  AppendDurable(1, 4);
  Overwrite(3, 2);
  EXPECT_EQ(log_.stable(), LogIndex{2});
  EXPECT_EQ(log_.submitted(), LogIndex{2});
  EXPECT_EQ(log_.last_id(), Id(3, 2));
}

TEST_F(RaftLogTest, ARefusedTaskIsGivenOutAgain) {
  AppendDurable(1);
  Append(1, 2);
  const uint64_t refused = Submit();
  Append(1);
  const uint64_t behind = Submit();
  log_.TaskRefused(refused);
  EXPECT_TRUE(log_.OldestTaskVoid());
  log_.TaskWritten(behind);
  EXPECT_EQ(log_.stable(), LogIndex{1});
  log_.TaskWritten(Submit());
  EXPECT_THAT(Indexes(last_taken_), ElementsAre(2, 3, 4));
  EXPECT_EQ(log_.stable(), LogIndex{4});
}

void WriteOutOfOrder(RaftLog* log) { log->TaskWritten(2); }

TEST_F(RaftLogTest, TasksComeBackInOrder) {
  Submit();
  Submit();
  EXPECT_DEATH(WriteOutOfOrder(&log_), "out of order");
}

TEST_F(RaftLogTest, AResetIsIndependentOfWhatWasBeingWritten) {
  Append(1, 3);
  const uint64_t old = Submit();
  log_.Reset({.last = Id(10, 4), .end_offset = Offset{20}}, Members({4, 5}));
  const uint64_t reset = Submit();
  log_.TaskWritten(old);
  EXPECT_EQ(log_.stable(), LogIndex{10});
  log_.TaskWritten(reset);
  EXPECT_EQ(log_.stable(), LogIndex{10});
  EXPECT_EQ(log_.first(), LogIndex{11});
  EXPECT_EQ(log_.configuration(), Members({4, 5}));
  Append(4);
  EXPECT_EQ(log_.end().end_offset, Offset{21});
}

// --- the tail

TEST_F(RaftLogTest, TheTailGivesAsManyAsFitButAtLeastOne) {
  Append(1, 5);
  const size_t each = log_.tail_bytes() / 5;
  const auto take = [&](size_t bytes, size_t entries) { return Indexes(*log_.TailEntries(LogIndex{2}, LogIndex{6}, bytes, entries)); };
  EXPECT_THAT(take(1, 10), ElementsAre(2));
  EXPECT_THAT(take(2 * each, 10), ElementsAre(2, 3));
  EXPECT_THAT(take(2 * each + 1, 10), ElementsAre(2, 3));
  EXPECT_THAT(take(100 * each, 3), ElementsAre(2, 3, 4));
  EXPECT_TRUE(log_.TailEntries(LogIndex{6}, LogIndex{6}, 1, 1)->empty());
}

TEST_F(RaftLogTest, OnlyWhatIsDurableIsLetGoOf) {
  AppendDurable(1, 3);
  Append(1, 2);
  log_.EvictTail(LogIndex{5}, LogIndex{5}, 0);
  EXPECT_EQ(log_.tail_first(), LogIndex{4});
  EXPECT_EQ(log_.TailEntries(LogIndex{3}, LogIndex{5}, 1000, 10), std::nullopt);
}

TEST_F(RaftLogTest, WhatFollowersNeedStaysUntilItIsTooMuch) {
  AppendDurable(1, 6);
  log_.EvictTail(LogIndex{2}, LogIndex{5}, log_.tail_bytes());
  EXPECT_EQ(log_.tail_first(), LogIndex{3});
  const size_t each = log_.tail_bytes() / 4;
  log_.EvictTail(LogIndex{2}, LogIndex{5}, 2 * each);
  EXPECT_EQ(log_.tail_first(), LogIndex{5});
  log_.EvictTail(LogIndex{2}, LogIndex{5}, 0);
  EXPECT_EQ(log_.tail_first(), LogIndex{6});
}

TEST_F(RaftLogTest, BytesBetweenAreOfTheTailOnly) {
  AppendDurable(1, 4);
  const size_t each = log_.tail_bytes() / 4;
  EXPECT_EQ(log_.TailBytesBetween(LogIndex{1}, LogIndex{3}), 2 * each);
  EXPECT_EQ(log_.TailBytesBetween(LogIndex{4}, LogIndex{4}), 0u);
  EXPECT_EQ(log_.TailBytesBetween(LogIndex{0}, LogIndex{4}), 4 * each);
}

// --- configurations

TEST_F(RaftLogTest, TheNewestConfigurationIsInForce) {
  AppendMembers(1, Members({1, 2}));
  Append(1);
  AppendMembers(1, Members({1}));
  EXPECT_EQ(log_.configuration(), Members({1}));
  EXPECT_EQ(log_.configuration_index(), LogIndex{3});
  EXPECT_EQ(log_.previous_configuration(), Members({1, 2}));
  EXPECT_EQ(log_.ConfigurationAt(LogIndex{2}), Members({1, 2}));
  EXPECT_EQ(log_.ConfigurationAt(LogIndex{0}), Members({1, 2, 3}));
}

TEST_F(RaftLogTest, ATruncatedConfigurationIsNoLongerInForce) {
  AppendMembers(1, Members({1, 2}));
  AppendMembers(1, Members({1}));
  Overwrite(2, 2);
  EXPECT_EQ(log_.configuration(), Members({1, 2}));
  Overwrite(1, 3);
  EXPECT_EQ(log_.configuration(), Members({1, 2, 3}));
  EXPECT_EQ(log_.previous_configuration(), Members({1, 2, 3}));
}

TEST_F(RaftLogTest, ATrimKeepsTheConfigurationInForceAtTheStart) {
  AppendMembers(1, Members({1, 2}));
  Append(1);
  AppendMembers(1, Members({1}));
  log_.TaskWritten(Submit());
  log_.TrimTo(AnchorAt(2));
  EXPECT_EQ(log_.ConfigurationAt(LogIndex{2}), Members({1, 2}));
  EXPECT_EQ(log_.configuration(), Members({1}));
}

// --- anything in any order, against a plain vector and a disk that is one too

class RandomLogTest : public testing::TestWithParam<uint64_t> {
 protected:
  struct Task {
    uint64_t token;
    std::vector<Entry> entries;
    std::optional<LogAnchor> replace;
  };
  // Ids by position: start, then (start, last].
  struct Plain {
    EntryId start;
    std::vector<EntryId> ids;
    LogIndex last() const { return start.index + ids.size(); }
    std::optional<Term> TermAt(LogIndex index) const {
      if (index == start.index) return start.term;
      if (index < start.index || index > last()) return std::nullopt;
      return ids[index - start.index - 1].term;
    }
  };

  void Step() {
    switch (random_.Below(12)) {
      case 0:
      case 1:
      case 2: return Append();
      case 3: return Overwrite();
      case 4:
      case 5: return Submit();
      case 6:
      case 7: return Written();
      case 8: return random_.OneIn(4) ? Refused() : Written();
      case 9: return Trim();
      case 10: return log_.EvictTail(commit_, commit_, random_.Below(1000));
      case 11:
        if (random_.OneIn(10)) Reset();
        return;
    }
  }

  void Append() {
    if (random_.OneIn(6)) term_ += 1;
    for (uint64_t count = random_.Between(1, 3); count > 0; --count) {
      make_.ContinueAfter(log_.end()).InTerm(term_);
      if (random_.OneIn(6)) {
        const Configuration members{.voters = {R(random_.Between(1, 9))}};
        Entry entry = make_.Configuration(EncodeConfiguration(members).view());
        configurations_.emplace_back(entry.index(), members);
        model_.ids.push_back(entry.id());
        log_.AppendConfiguration(std::move(entry), members);
      } else {
        Entry entry = make_.Data(std::string(random_.Below(20), 'x'));
        model_.ids.push_back(entry.id());
        log_.Append(std::move(entry));
      }
    }
  }

  // A new leader's entry somewhere behind what is committed.
  void Overwrite() {
    if (log_.last() <= commit_) return;
    const LogIndex at = commit_ + 1 + random_.Below(log_.last() - commit_);
    term_ += 1;
    // The entry that stands there says at which offset it begins; from the disk if it is no longer in memory.
    auto old = log_.TailEntries(at, at + 1, 1, 1);
    const Entry& there = old ? old->front() : OnDisk(at);
    Entry entry = make_.ContinueAfter({{term_, at - 1}, there.header.base_offset}).InTerm(term_).Data("new");
    model_.ids.resize(at - model_.start.index - 1);
    while (configurations_.back().first >= at) configurations_.pop_back();
    model_.ids.push_back(entry.id());
    log_.TruncateFor(entry.header);
    log_.Append(std::move(entry));
  }

  void Submit() {
    if (refused_ && !tasks_.empty()) return;  // the core waits until what stands behind a refused task is back
    refused_ = false;
    GiveOut(std::nullopt);
  }

  void GiveOut(std::optional<LogAnchor> replace) {
    tasks_.push_back({++token_, replace ? std::vector<Entry>{} : log_.TakeUnsubmitted(), replace});
    log_.TaskGivenOut(token_);
  }

  void Written() {
    if (tasks_.empty()) return;
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    // A store refuses what would leave a gap: it stands behind a refused task.
    if (!task.replace && !task.entries.empty() && task.entries.front().index() > disk_.last() + 1) {
      ASSERT_TRUE(log_.OldestTaskVoid());
      log_.TaskRefused(task.token);
      return;
    }
    if (task.replace) {
      disk_ = {task.replace->last, {}};
      disk_entries_.clear();
    }
    for (Entry& entry : task.entries) {
      const size_t keep = entry.index() - disk_.start.index - 1;
      disk_.ids.resize(keep);
      disk_entries_.resize(keep);
      disk_.ids.push_back(entry.id());
      disk_entries_.push_back(std::move(entry));
    }
    log_.TaskWritten(task.token);
    AdvanceCommit();
  }

  void Refused() {
    if (tasks_.empty() || tasks_.front().replace || tasks_.front().entries.empty()) return Written();
    const uint64_t token = tasks_.front().token;
    tasks_.pop_front();
    log_.TaskRefused(token);
    refused_ = true;
  }

  void AdvanceCommit() {
    if (log_.stable() > commit_ && random_.OneIn(3)) commit_ += random_.Below(log_.stable() - commit_ + 1);
  }

  void Trim() {
    if (commit_ <= log_.start().last.index || !tasks_.empty() || disk_.start.index != model_.start.index) return;
    const LogIndex at = log_.start().last.index + 1 + random_.Below(commit_ - log_.start().last.index);
    const LogAnchor anchor = storage::AnchorAfter(OnDisk(at).header);
    const auto gone = static_cast<std::ptrdiff_t>(at - model_.start.index);
    disk_.ids.erase(disk_.ids.begin(), disk_.ids.begin() + gone);
    disk_entries_.erase(disk_entries_.begin(), disk_entries_.begin() + gone);
    model_.ids.erase(model_.ids.begin(), model_.ids.begin() + gone);
    model_.start = disk_.start = anchor.last;
    while (configurations_.size() > 1 && configurations_[1].first <= at) configurations_.erase(configurations_.begin());
    log_.TrimTo(anchor);
  }

  void Reset() {
    const LogAnchor anchor{.last = {term_, log_.last() + 1 + random_.Below(5)}, .end_offset = Offset{random_.Below(1000)}};
    const Configuration members{.voters = {R(random_.Between(1, 9))}};
    log_.TakeUnsubmitted();
    log_.TaskGivenOut(++token_);
    tasks_.push_back({token_, {}, std::nullopt});
    log_.Reset(anchor, members);
    model_ = {anchor.last, {}};
    configurations_ = {{anchor.last.index, members}};
    commit_ = anchor.last.index;
    refused_ = false;
    GiveOut(anchor);
  }

  const Entry& OnDisk(LogIndex index) const { return disk_entries_[index - disk_.start.index - 1]; }

  void Check() {
    log_.CheckInvariants();
    ASSERT_EQ(log_.last(), model_.last());
    ASSERT_EQ(log_.start().last, model_.start);
    for (LogIndex index{0}; index <= model_.last() + 2; ++index) ASSERT_EQ(log_.TermAt(index), model_.TermAt(index)) << index;
    ASSERT_EQ(log_.configuration(), configurations_.back().second);
    // What counts as durable is: the safety of every acknowledgement.
    for (LogIndex index = model_.start.index + 1; index <= log_.stable(); ++index) {
      ASSERT_EQ(disk_.TermAt(index), model_.TermAt(index)) << index;
    }
    CheckHint();
    const auto tail = log_.TailEntries(log_.tail_first(), log_.last() + 1, 1 << 20, 1 << 20);
    ASSERT_TRUE(tail.has_value());
    size_t bytes = 0;
    for (const Entry& entry : *tail) {
      bytes += entry.bytes();
      ASSERT_EQ(entry.term(), model_.TermAt(entry.index()));
    }
    ASSERT_EQ(bytes, log_.tail_bytes());
    // Once everything came back and nothing was refused, all of it is durable.
    if (tasks_.empty() && log_.submitted() == log_.last()) {
      ASSERT_EQ(log_.stable(), log_.last());
    }
  }

  void CheckHint() {
    const LogIndex from{random_.Below(model_.last().value() + 3)};
    const Term term{random_.Below(term_.value() + 2)};
    EntryId naive;
    for (LogIndex index = model_.start.index; index <= model_.last() && index <= from; ++index) {
      if (*model_.TermAt(index) <= term) naive = {*model_.TermAt(index), index};
    }
    ASSERT_EQ(log_.LastAtMost(from, term), naive) << from << " " << term;
  }

  Random random_{GetParam()};
  RaftLog log_{storage::GroupState{}, {{LogIndex{0}, Members({1, 2, 3})}}};
  Plain model_, disk_;
  std::vector<Entry> disk_entries_;
  std::vector<std::pair<LogIndex, Configuration>> configurations_ = {{LogIndex{0}, Members({1, 2, 3})}};
  std::deque<Task> tasks_;
  EntryMaker make_{kGroup};
  Term term_{1};
  LogIndex commit_;
  uint64_t token_ = 0;
  bool refused_ = false;
};

TEST_P(RandomLogTest, BehavesAsAPlainVector) {
  for (int step = 0; step < 3000; ++step) {
    Step();
    Check();
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomLogTest, testing::Range(uint64_t{1}, uint64_t{13}));

}  // namespace
}  // namespace flotilla::raft
