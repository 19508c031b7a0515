#include "raft/node/waiting.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/entry_maker.h"

namespace flotilla::raft {
namespace {

using storage::Entry;
using storage::EntryMaker;

// Entries from `first` on, one for each term.
std::vector<Entry> EntriesOf(LogIndex first, std::initializer_list<uint64_t> terms) {
  EntryMaker make(GroupId{1});
  make.ContinueAfter({.last = {Term{1}, first - 1}, .end_offset = {}, .running_max_timestamp_ms = kNoTimestamp});
  std::vector<Entry> entries;
  for (uint64_t term : terms) entries.push_back(make.InTerm(Term{term}).Data("x"));
  return entries;
}

class WaitingProposalsTest : public testing::Test {
 protected:
  void Add(uint64_t index, uint64_t term, uint64_t token) {
    waiting.Add({.index = LogIndex{index}, .term = Term{term}, .token = token, .sink = nullptr});
  }
  // "token:fate" for each that the entries decide.
  std::vector<std::string> Decide(LogIndex first, std::initializer_list<uint64_t> terms) {
    std::vector<std::string> answers;
    const std::vector<Entry> entries = EntriesOf(first, terms);
    while (const auto answer = waiting.Take(entries)) {
      answers.push_back(std::to_string(answer->proposal.token) + (answer->fate == ProposalFate::kApplied ? ":applied" : ":replaced"));
    }
    return answers;
  }
  WaitingProposals waiting;
};

using testing::ElementsAre;

TEST_F(WaitingProposalsTest, TheEntryAtItsIndexDecides) {
  Add(5, 2, 1);
  Add(7, 2, 2);
  EXPECT_THAT(Decide(LogIndex{4}, {2}), ElementsAre());
  EXPECT_THAT(Decide(LogIndex{5}, {2, 2}), ElementsAre("1:applied"));
  EXPECT_THAT(Decide(LogIndex{7}, {3}), ElementsAre("2:replaced"));
  EXPECT_EQ(waiting.size(), 0u);
}

TEST_F(WaitingProposalsTest, AnEntryOfALaterTermBeforeItDecidesToo) {
  Add(5, 2, 1);
  Add(9, 2, 2);
  Add(5, 4, 3);  // proposed again in a later term of office, where the first one stood
  EXPECT_THAT(Decide(LogIndex{5}, {4}), ElementsAre("1:replaced", "2:replaced", "3:applied"));
}

TEST_F(WaitingProposalsTest, ASnapshotLeavesThoseBeforeItUnknown) {
  Add(5, 2, 1);
  Add(9, 2, 2);
  Add(12, 3, 3);
  const auto first = waiting.TakeReplaced({Term{3}, LogIndex{7}});
  EXPECT_EQ(first->fate, ProposalFate::kUnknown);
  const auto second = waiting.TakeReplaced({Term{3}, LogIndex{7}});
  EXPECT_EQ(second->fate, ProposalFate::kReplaced);
  EXPECT_FALSE(waiting.TakeReplaced({Term{3}, LogIndex{7}}).has_value());
  EXPECT_EQ(waiting.TakeAny()->proposal.token, 3u);
  EXPECT_FALSE(waiting.TakeAny().has_value());
}

class WaitingReadsTest : public testing::Test, public ReadSink {
 protected:
  void OnRead(uint64_t, const Status&, LogIndex) override {}
  uint64_t Add(uint64_t token) {
    const uint64_t id = waiting.next_id();
    waiting.Add(token, *this);
    return id;
  }
  WaitingReads waiting;
};

TEST_F(WaitingReadsTest, AReadWaitsForItsIndex) {
  const uint64_t id = Add(10);
  EXPECT_FALSE(waiting.TakeServable(LogIndex{100}).has_value());
  waiting.Release(id, LogIndex{5});
  EXPECT_FALSE(waiting.TakeServable(LogIndex{4}).has_value());
  EXPECT_EQ(waiting.TakeServable(LogIndex{5})->token, 10u);
  EXPECT_EQ(waiting.size(), 0u);
}

TEST_F(WaitingReadsTest, ReadsAreAnsweredInAnyOrder) {
  const uint64_t first = Add(10);
  const uint64_t second = Add(11);
  const uint64_t third = Add(12);
  waiting.Release(third, LogIndex{1});
  EXPECT_EQ(waiting.TakeServable(LogIndex{1})->token, 12u);
  EXPECT_EQ(waiting.Refuse(first)->token, 10u);
  EXPECT_FALSE(waiting.Refuse(first).has_value());
  EXPECT_FALSE(waiting.Refuse(third).has_value());
  waiting.Release(second, LogIndex{1});
  EXPECT_EQ(waiting.TakeServable(LogIndex{1})->token, 11u);
  EXPECT_EQ(waiting.next_id(), third + 1);
}

TEST_F(WaitingReadsTest, AllAreAnsweredWhenTheGroupEnds) {
  Add(10);
  waiting.Release(Add(11), LogIndex{9});
  EXPECT_EQ(waiting.TakeAny()->token, 10u);
  EXPECT_EQ(waiting.TakeAny()->token, 11u);
  EXPECT_FALSE(waiting.TakeAny().has_value());
  waiting.Trim();
  EXPECT_EQ(Add(12), 3u);  // ids go on
}

}  // namespace
}  // namespace flotilla::raft
