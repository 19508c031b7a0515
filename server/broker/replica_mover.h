// Brings the groups that this node leads to the replicas that the metadata asks for: learner, catch up, joint change, settled.
//
// At each tick, for each group that is led here for sure and whose partition is moving (image().moving), one step:
//   1. a member on a node whose wanted replica is another life of it is removed (a rebuild), and so are learners nobody wants
//   2. wanted replicas that are no members become learners
//   3. when all wanted learners have caught up: a leader that is to go hands over to a voter that stays, who goes on. A group whose
//      only voter is to go (one replica) makes the new one a voter first
//   4. one joint change promotes the learners and removes every voter that is not wanted
//   5. the committed configuration is what is wanted: a read of the group confirms that this node leads in this term, then the
//      metadata leader is told (MembershipService/SettleReplicas), again until the image says so
// Which step is next is decided by a pure function of configuration, partition and progress. A change of voters begins only while a
// majority of those that will vote answers: a joint phase that cannot end would keep everybody out.
//
// Two rules keep an old leader, or one with an old image, from undoing what is settled:
//   - in a new term nothing is changed before the metadata was brought up to date once (CallBoard::SyncMetadata) since the term began
//   - what is told as settled was confirmed by a read that began after this node's image had the placement epoch
// Why that is enough: README.md, "Replicas that come and go". Executor only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "raft/core/configuration.h"
#include "raft/node/raft_host.h"
#include "server/broker/member_context.h"
#include "server/metadata/image.h"

namespace flotilla::broker {

// What a leader does next about its members. Pure.
struct MoveStep {
  enum class Kind : uint8_t {
    kWait,      // a change is under way, learners copy, or somebody does not answer
    kChange,    // propose `change`
    kHandOver,  // to one of `heirs`: the leader is not wanted
    kSettle,    // the group is as wanted
  };
  Kind kind = Kind::kWait;
  raft::MembershipChange change = {};
  std::vector<ReplicaId> heirs = {};     // the preferred leader first
  std::vector<ReplicaId> learning = {};  // kWait: these are not there yet
  std::string obstacle = {};             // kWait: what has to come about first, for people. Empty: nothing, it goes on by itself
};

// A group as its leader sees it.
struct GroupSight {
  ReplicaId self;
  raft::Configuration configuration;  // the newest in the log
  bool committed = false;             // it is
  std::set<ReplicaId> near;           // members that answer, and have everything or are about to; the leader is one
};
MoveStep NextMoveStep(const metadata::Partition& wanted, const GroupSight& group);

class ReplicaMover final : private raft::ProposalSink, private raft::ReadSink {
 public:
  explicit ReplicaMover(const MemberContext& member) : member_(member) {}

  void Tick();
  // Why a move of a group that is led here does not get on, for people. Empty: it does, or there is none.
  std::string Stalled(GroupId group) const;

 private:
  // How a learner comes along.
  struct Copying {
    LogIndex match;
    raft::Tick moved_at = 0;  // when it last got something
    uint64_t lag = 0;         // at `measured_at`
    raft::Tick measured_at = 0;
    bool falls_behind = false;  // it was no nearer at the end of the last stretch of time
  };
  // A group with a move under way, while it is led here.
  struct Row {
    Term term;
    bool synced = false;
    uint64_t sync_round = 0;  // that this row takes part in
    uint64_t epoch = 0;       // that the rest is about
    std::map<ReplicaId, Copying> copying;
    // The log's end a while ago, and a little later: a learner votes once it has what there was then. Entries alone do not
    // tell how far it is, they may be large.
    LogIndex end_before;
    LogIndex end_later;
    raft::Tick end_seen_at = 0;    // 0: never
    size_t handed_over = 0;        // attempts
    std::optional<uint64_t> read;  // confirms that it is settled
    bool confirmed = false;
    bool telling = false;  // the metadata leader is asked to write it down
    raft::Tick again_at = 0;
    std::string stalled;
  };

  void Look(GroupId group, const metadata::Partition& partition, const raft::RaftCore& core);
  static void NoteEnd(raft::Tick now, LogIndex end, Row* row);
  GroupSight SightOf(const raft::CoreStatus& status, LogIndex end_before) const;
  void Sync();
  void HandOver(GroupId group, Row* row, const MoveStep& step);
  void Change(GroupId group, Row* row, const MoveStep& step);
  void Settle(GroupId group, Row* row, const raft::Configuration& configuration);
  void Told(GroupId group, Term term, uint64_t epoch, const Status& status);
  void Watch(const raft::CoreStatus& status, const MoveStep& step, Row* row);
  Row* Find(GroupId group, Term term, uint64_t epoch);

  // Of a change of members: its end is seen in the configuration.
  void OnProposal(uint64_t token, const Status& status, const storage::EntryHeader& header) override;
  void OnRead(uint64_t token, const Status& status, LogIndex index) override;

  const MemberContext member_;
  std::map<GroupId, Row> rows_;
  uint64_t sync_round_ = 0;
  bool syncing_ = false;
  raft::Tick sync_at_ = 0;
  bool sync_failed_ = false;
  uint64_t next_read_ = 1;
  std::map<uint64_t, Status> reads_done_;  // until the next tick
};

}  // namespace flotilla::broker
