// Groups, hard states, rows and snapshots: everything of a group that is not its entries.
#include "tests/storage/suite/store_test.h"

namespace flotilla::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class GroupTest : public StoreTest {
 protected:
  Status PutChunk(uint64_t id, uint32_t number, std::string_view data) {
    return Write({.group = kGroup, .chunks = {{.id = id, .number = number, .data = Bytes::Copy(data)}}});
  }
  std::string Chunk(uint64_t id, uint32_t number) {
    auto chunk = store().ReadSnapshotChunk(kGroup, id, number);
    return chunk.ok() ? std::string(chunk->view()) : std::string(ReasonName(chunk.status().reason()));
  }
  static StateWrite PutRow(std::string key, std::string_view value) { return {StateWrite::Kind::kPut, std::move(key), Bytes::Copy(value)}; }
};
FLOTILLA_STORE_SUITE(GroupTest);

TEST_P(GroupTest, ANewGroupIsEmptyAndKnowsWhoItIs) {
  FLOTILLA_NOW_AND_AFTER_RESTARTS(const GroupState state = Loaded(); EXPECT_EQ(state.group, kGroup); EXPECT_EQ(state.identity, kIdentity);
                                  EXPECT_EQ(state.hard_state, HardState{}); EXPECT_EQ(state.bounds, LogBounds{});
                                  EXPECT_THAT(state.terms, IsEmpty()); EXPECT_EQ(state.snapshot, SnapshotMeta{}));
}

TEST_P(GroupTest, GroupsAreListed) {
  ASSERT_THAT(Create(kOther), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(store().Groups(), UnorderedElementsAre(kGroup, kOther)));
}

TEST_P(GroupTest, GroupZeroAndTheLargestIdAreGroupsLikeOthers) {
  const GroupId largest{UINT64_MAX};
  ASSERT_THAT(Create(GroupId{0}), IsOk());
  ASSERT_THAT(Create(largest), IsOk());
  for (const GroupId group : {GroupId{0}, largest}) {
    ASSERT_THAT(Append({EntryMaker(group).Data("a")}), IsOk());
  }
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(GroupId{0}), ElementsAre("a")); EXPECT_THAT(All(largest), ElementsAre("a"));
                                  EXPECT_THAT(All(), IsEmpty()));
}

TEST_P(GroupTest, AGroupIsMadeOnce) {
  ASSERT_THAT(Append({"a"}), IsOk());
  EXPECT_THAT(Create(kGroup), FailsWith(Reason::kGroupExists));
  EXPECT_THAT(All(), ElementsAre("a"));
}

TEST_P(GroupTest, TheReplicaOfAGroupTakesUpItsNextLifeWithWhatItHas) {
  const ReplicaId next{kIdentity.self.node, kIdentity.self.incarnation + 3};
  ASSERT_THAT(Append({"a", "b"}), IsOk());
  ASSERT_THAT(Write({.group = kGroup, .next_life = next, .hard_state = HardState{.term = Term{9}}}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(Loaded().identity.self, next); EXPECT_EQ(Loaded().identity.label, kIdentity.label);
                                  EXPECT_EQ(Loaded().hard_state.term, Term{9}); EXPECT_THAT(All(), ElementsAre("a", "b")));
}

TEST_P(GroupTest, NoReplicaGoesBackToAnEarlierLifeOrToAnotherNode) {
  const ReplicaId self = kIdentity.self;
  for (const ReplicaId wrong : {self, ReplicaId{self.node, self.incarnation - 1}, ReplicaId{NodeId{2}, self.incarnation + 1}}) {
    EXPECT_THAT(Write({.group = kGroup, .next_life = wrong}), FailsWith(Reason::kInvalidArgument));
  }
  EXPECT_THAT(Write({.group = kOther, .create = kIdentity, .next_life = ReplicaId{self.node, self.incarnation + 1}}),
              FailsWith(Reason::kInvalidArgument));
  EXPECT_EQ(Loaded().identity, kIdentity);
  EXPECT_EQ(*store().Identity(kGroup), kIdentity);
}

TEST_P(GroupTest, AGroupThatDoesNotExistTakesNothing) {
  EXPECT_THAT(Append({EntryMaker(kOther).Data("a")}), FailsWith(Reason::kGroupNotFound));
  EXPECT_THAT(Write({.group = kOther, .hard_state = HardState{.term = Term{1}}}), FailsWith(Reason::kGroupNotFound));
  EXPECT_THAT(Destroy(kOther), FailsWith(Reason::kGroupNotFound));
  EXPECT_THAT(store().Groups(), ElementsAre(kGroup));
}

TEST_P(GroupTest, AGroupIsMadeAndFilledInOneTask) {
  WriteTask task{.group = kOther, .create = kIdentity, .entries = {EntryMaker(kOther).Data("a")}};
  task.hard_state = HardState{.term = Term{1}};
  ASSERT_THAT(Write(task), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(kOther), ElementsAre("a")); EXPECT_EQ(Loaded(kOther).hard_state.term, Term{1}));
}

TEST_P(GroupTest, ADestroyedGroupLeavesNothing) {
  ASSERT_THAT(Append({"a", "b"}), IsOk());
  ASSERT_THAT(Put("key", "value"), IsOk());
  ASSERT_THAT(PutChunk(1, 0, "chunk"), IsOk());
  ASSERT_THAT(Vote({.term = Term{5}}), IsOk());
  ASSERT_THAT(Destroy(kGroup), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(store().Groups(), IsEmpty());
                                  EXPECT_THAT(store().Load(kGroup).status(), FailsWith(Reason::kGroupNotFound)));
  ASSERT_THAT(Create(kGroup), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), IsEmpty()); EXPECT_EQ(Row("key"), "(none)"); EXPECT_EQ(Chunk(1, 0), "DATA_LOSS");
                                  EXPECT_EQ(Loaded().hard_state, HardState{}));
}

TEST_P(GroupTest, DestroyingAGroupLeavesItsNeighboursAlone) {
  ASSERT_THAT(Create(GroupId{6}), IsOk());
  ASSERT_THAT(Create(kOther), IsOk());
  ASSERT_THAT(Append({EntryMaker(GroupId{6}).Data("before")}), IsOk());
  ASSERT_THAT(Append({EntryMaker(kOther).Data("after")}), IsOk());
  ASSERT_THAT(Write({.group = kOther, .state = {PutRow("key", "value")}}), IsOk());
  ASSERT_THAT(Destroy(kGroup), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(GroupId{6}), ElementsAre("before")); EXPECT_THAT(All(kOther), ElementsAre("after"));
                                  EXPECT_EQ((*store().GetState(kOther, "key"))->view(), "value"));
}

TEST_P(GroupTest, HardStateIsKept) {
  const HardState state{.term = Term{7}, .voted_for = {NodeId{3}, 2}, .commit = LogIndex{11}};
  ASSERT_THAT(Vote(state), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(Loaded().hard_state, state));
}

TEST_P(GroupTest, HardStateBelongsToItsGroup) {
  ASSERT_THAT(Create(kOther), IsOk());
  ASSERT_THAT(Vote({.term = Term{7}}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(Loaded(kOther).hard_state, HardState{}));
}

// Raft §5.1: terms only grow.
TEST_P(GroupTest, ATermNeverGoesBack) {
  ASSERT_THAT(Vote({.term = Term{7}}), IsOk());
  EXPECT_THAT(Vote({.term = Term{6}}), FailsWith(Reason::kInvalidArgument));
  EXPECT_EQ(Loaded().hard_state.term, Term{7});
}

// Raft §5.2: one vote in each term.
TEST_P(GroupTest, AVoteNeverChangesWithinItsTerm) {
  const ReplicaId one{NodeId{1}, 1}, two{NodeId{2}, 1};
  ASSERT_THAT(Vote({.term = Term{7}}), IsOk());
  ASSERT_THAT(Vote({.term = Term{7}, .voted_for = one}), IsOk());
  EXPECT_THAT(Vote({.term = Term{7}, .voted_for = two}), FailsWith(Reason::kInvalidArgument));
  EXPECT_THAT(Vote({.term = Term{7}}), FailsWith(Reason::kInvalidArgument));
  ASSERT_THAT(Vote({.term = Term{8}, .voted_for = two}), IsOk());
}

TEST_P(GroupTest, RowsArePutReplacedAndDeleted) {
  ASSERT_THAT(Put("key", "one"), IsOk());
  ASSERT_THAT(Put("other", ""), IsOk());
  ASSERT_THAT(Put("key", "two"), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(Row("key"), "two"); EXPECT_EQ(Row("other"), ""); EXPECT_EQ(Row("ke"), "(none)"));
  ASSERT_THAT(Write({.group = kGroup, .state = {{StateWrite::Kind::kDelete, "key", {}}}}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(Row("key"), "(none)"); EXPECT_EQ(Row("other"), ""));
}

TEST_P(GroupTest, RowsOfOneTaskAreAppliedInOrder) {
  ASSERT_THAT(Write({.group = kGroup,
                     .state = {PutRow("a/1", "x"),
                               PutRow("a/2", "x"),
                               {StateWrite::Kind::kDeletePrefix, "a/", {}},
                               PutRow("a/3", "x"),
                               PutRow("b", "1"),
                               PutRow("b", "2"),
                               PutRow("c", "x"),
                               {StateWrite::Kind::kDelete, "c", {}}}}),
              IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Keys(""), ElementsAre("a/3", "b")); EXPECT_EQ(Row("b"), "2"));
}

TEST_P(GroupTest, APrefixIsDeletedAndNotItsNeighbours) {
  const std::string high = "p\xFF";
  ASSERT_THAT(Write({.group = kGroup,
                     .state = {PutRow("o", "x"), PutRow("p", "x"), PutRow("p/1", "x"), PutRow(high, "x"), PutRow(high + "\xFF", "x"),
                               PutRow("q", "x")}}),
              IsOk());
  ASSERT_THAT(Write({.group = kGroup, .state = {{StateWrite::Kind::kDeletePrefix, high, {}}}}), IsOk());
  EXPECT_THAT(Keys(""), ElementsAre("o", "p", "p/1", "q"));
  ASSERT_THAT(Write({.group = kGroup, .state = {{StateWrite::Kind::kDeletePrefix, "p", {}}}}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Keys(""), ElementsAre("o", "q")));
}

TEST_P(GroupTest, AnEmptyPrefixDeletesAllRowsOfTheGroupAndNoOther) {
  ASSERT_THAT(Create(kOther), IsOk());
  ASSERT_THAT(Write({.group = kOther, .state = {PutRow("kept", "x")}}), IsOk());
  ASSERT_THAT(Write({.group = kGroup, .state = {PutRow("a", "x"), PutRow("\xFF\xFF", "x")}}), IsOk());
  ASSERT_THAT(Write({.group = kGroup, .state = {{StateWrite::Kind::kDeletePrefix, "", {}}}}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Keys(""), IsEmpty()); EXPECT_EQ((*store().GetState(kOther, "kept"))->view(), "x"));
}

TEST_P(GroupTest, KeysMayHoldAnyByte) {
  const std::string zero("a\0b", 3);
  ASSERT_THAT(Put(zero, "zero"), IsOk());
  ASSERT_THAT(Put("\xFF", "high"), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(Row(zero), "zero"); EXPECT_EQ(Row("\xFF"), "high");
                                  EXPECT_THAT(Keys(""), ElementsAre(zero, "\xFF")));
}

TEST_P(GroupTest, RowsAreScannedByPrefixInOrder) {
  for (const char* key : {"b/2", "a", "b/1", "c", "b"}) ASSERT_THAT(Put(key, "x"), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(Keys("b/"), ElementsAre("b/1", "b/2"));
                                  EXPECT_THAT(Keys(""), ElementsAre("a", "b", "b/1", "b/2", "c")); EXPECT_THAT(Keys("d"), IsEmpty()));
}

TEST_P(GroupTest, AScanGoesOnAfterAKey) {
  for (const char* key : {"b/1", "b/2", "b/3"}) ASSERT_THAT(Put(key, "x"), IsOk());
  EXPECT_THAT(Keys("b/", "b/1"), ElementsAre("b/2", "b/3"));
  EXPECT_THAT(Keys("b/", "b/11"), ElementsAre("b/2", "b/3"));
  EXPECT_THAT(Keys("b/", "b/3"), IsEmpty());
  EXPECT_THAT(Keys("b/", "a"), ElementsAre("b/1", "b/2", "b/3"));
}

TEST_P(GroupTest, AScanStopsAtItsBytesButReturnsARow) {
  for (const char* key : {"1", "2", "3"}) ASSERT_THAT(Put(key, std::string(100, 'x')), IsOk());
  EXPECT_THAT(Keys("", "", 1), ElementsAre("1"));
  EXPECT_THAT(Keys("", "1", 1), ElementsAre("2"));
  EXPECT_THAT(Keys("", "", 10'000), ElementsAre("1", "2", "3"));
}

TEST_P(GroupTest, MoreRowsThanOneTaskMayHoldAreRefused) {
  const std::string large(limits::kStateWriteBytesMax, 'x');
  EXPECT_THAT(Put("key", large), FailsWith(Reason::kLimitExceeded));
  EXPECT_EQ(Row("key"), "(none)");
}

TEST_P(GroupTest, RowsAndEntriesOfATaskBecomeDurableTogether) {
  EntryMaker make = AtEnd();
  ASSERT_THAT(Write({.group = kGroup, .entries = {make.Data("a")}, .state = {PutRow("applied", "1")}}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_THAT(All(), ElementsAre("a")); EXPECT_EQ(Row("applied"), "1"));
}

TEST_P(GroupTest, ChunksAreReadByIdAndNumber) {
  ASSERT_THAT(PutChunk(1, 0, "one, zero"), IsOk());
  ASSERT_THAT(PutChunk(1, 1, "one, one"), IsOk());
  ASSERT_THAT(PutChunk(2, 0, "two, zero"), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(Chunk(1, 0), "one, zero"); EXPECT_EQ(Chunk(1, 1), "one, one");
                                  EXPECT_EQ(Chunk(2, 0), "two, zero"));
}

TEST_P(GroupTest, AMissingChunkIsDataLoss) {
  ASSERT_THAT(PutChunk(1, 0, "x"), IsOk());
  EXPECT_EQ(Chunk(1, 1), "DATA_LOSS");
  EXPECT_EQ(Chunk(2, 0), "DATA_LOSS");
}

TEST_P(GroupTest, ADroppedSnapshotIsGoneAndOthersStay) {
  for (const uint64_t id : {1, 2, 3}) ASSERT_THAT(PutChunk(id, 0, "x"), IsOk());
  ASSERT_THAT(Write({.group = kGroup, .drop_snapshots = {1, 3}}), IsOk());
  FLOTILLA_NOW_AND_AFTER_RESTARTS(EXPECT_EQ(Chunk(1, 0), "DATA_LOSS"); EXPECT_EQ(Chunk(2, 0), "x"); EXPECT_EQ(Chunk(3, 0), "DATA_LOSS"));
}

TEST_P(GroupTest, AChunkAndTheDropOfItsSnapshotInOneTaskLeaveNothing) {
  ASSERT_THAT(Write({.group = kGroup, .chunks = {{.id = 1, .number = 0, .data = Bytes::Static("x")}}, .drop_snapshots = {1}}), IsOk());
  EXPECT_EQ(Chunk(1, 0), "DATA_LOSS");
}

TEST_P(GroupTest, AChunkOfTheLargestSizeFitsAndNoMore) {
  ASSERT_THAT(PutChunk(1, 0, std::string(limits::kSnapshotChunkBytes, 'x')), IsOk());
  EXPECT_EQ(Chunk(1, 0).size(), limits::kSnapshotChunkBytes);
  EXPECT_THAT(PutChunk(1, 1, std::string(limits::kSnapshotChunkBytes + 1, 'x')), FailsWith(Reason::kLimitExceeded));
}

}  // namespace
}  // namespace flotilla::storage
