// Makes decisions on the leader of group 0, one after the other, and sees them through.
//
//   controller.Submit(CreateTopic{.topic = {.name = "orders"}}, token, sink);
//   ... sink.OnAnswer(token, {OK, outcome, version}), once
//
// Decisions do not wait for each other's disks: each is made on the image that all earlier ones lead to,
// proposed or applied alike (the speculative image). That is safe because the log keeps them in order: a
// batch is in it only if all that it builds on are. When the leadership goes, so does the speculative image.
// The next leader begins from what is applied, once that is everything committed before its term.
//
// Outcomes are honest. OK: applied here, and by a majority's log. NOT_LEADER, NO_LEADER, OVERLOADED,
// DISK_FULL: nothing was done. OUTCOME_UNKNOWN: it may have been, send it again with the same request_id. A
// refusal that rests on what is not committed yet waits until it is, and one that rests on what is waits for
// a heartbeat round: no deposed leader answers from the past.
//
// On group 0's executor, as the machine. There is one on every node; those that do not lead refuse.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "raft/node/raft_host.h"
#include "server/metadata/balance.h"
#include "server/metadata/founding.h"
#include "server/metadata/liveness.h"
#include "server/metadata/membership.h"
#include "server/metadata/mending.h"
#include "server/metadata/metadata_log.h"
#include "server/metadata/metadata_machine.h"
#include "server/metadata/move_plan.h"
#include "server/metadata/moves.h"
#include "server/metadata/node_changes.h"
#include "server/metadata/producers.h"
#include "server/metadata/survivors.h"
#include "server/metadata/topics.h"
#include "server/metadata/voters.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"

namespace flotilla::metadata {

using Request = std::variant<Founding, RegisterNode, RaiseFeatureLevel, CreateTopic, DeleteTopic, AddPartitions, ChangeConfig, PreferLeader,
                             InitProducer, ReserveProducerIds, ChangeNodeMode, RemoveNode, MoveReplica, RebuildReplica, CancelMove,
                             SettleReplicas, ChooseSurvivor, StartBalance, CancelBalance>;

// The one place where a request finds its decider. Pure.
Result<Decision> Decide(const Request& request, const Image& image, const Context& context);

struct Answer {
  Status status;
  Outcome outcome;   // when OK
  LogIndex version;  // an image of this version, or a later one, has it
};
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  virtual void OnAnswer(uint64_t token, const Answer& answer) = 0;
};

// What a node tells the metadata leader, every second.
struct NodeReport {
  NodeIdentity identity;
  LogIndex metadata_version;
  uint64_t disk_total_bytes = 0;
  uint64_t disk_free_bytes = 0;
  uint64_t replicas = 0;
  uint64_t leaders = 0;
  // It had better lead nothing.
  bool unfit_to_lead = false;
  std::vector<std::string> warnings = {};
  // Its replicas that have stopped because what they have on the disk is damaged.
  std::vector<DamagedReplica> damaged = {};
  // Of groups that it leads; now and then.
  GroupSizes sizes = {};
};

struct ControllerOptions {
  // This node in group 0.
  ReplicaId self;
  LivenessOptions liveness;
  size_t pending_max = limits::kPendingDecisionsMax;
  // What follows by itself (members of group 0, moves, removals) is looked at so often: every second of 50
  // ms.
  raft::Tick plan_ticks = 20;
  // A new leader begins to balance when it has heard how large groups are: after 15 s.
  raft::Tick sizes_ticks = 300;
  MovePlanOptions moves = {};
  int64_t mend_pause_ms = MendOptions{}.pause_ms;
};

class MetadataController final : public MetadataListener, public raft::ProposalSink, public raft::ReadSink {
 public:
  // References outlive the controller. Registers itself with the machine.
  MetadataController(const ControllerOptions& options, MetadataLog& log, MetadataMachine& machine, const Clock& clock, Random random);

  // Answers `sink` once, perhaps before it returns. Refusals of the deciders; NOT_LEADER (detail "leader"),
  // NO_LEADER, OVERLOADED; when there is no other replica, why this one has stopped.
  void Submit(const Request& request, uint64_t token, AnswerSink& sink);
  // NOT_LEADER, NO_LEADER, and as CheckIdentity.
  Status Report(const NodeReport& report);
  // Time moves on: concludes who lives, decides who learns and votes, what moves and who is gone, and keeps
  // the log short.
  void Tick(raft::Tick now);

  bool leading() const { return leading_.has_value(); }
  // The last report of each node since this one leads; empty elsewhere.
  std::map<NodeId, NodeReport> reports() const;
  // When the node was heard of, in ticks; nothing if it was not since this one leads.
  std::optional<raft::Tick> LastHeard(NodeId node) const;
  // How large groups are, as their leaders said since this one leads; empty elsewhere.
  const GroupSizes& sizes() const;
  size_t pending() const { return pending_.size(); }

  // MetadataListener, ProposalSink, ReadSink
  void OnLeadership(const raft::StateMachine::Leadership& leadership) override;
  void OnConfiguration(const raft::Configuration& configuration) override;
  void OnHalt(const Status& reason) override;
  void OnProposal(uint64_t id, const Status& outcome, const storage::EntryHeader& header) override;
  void OnRead(uint64_t id, const Status& status, LogIndex index) override;

 private:
  // Somebody who waits for an answer that is ready, but may not be given yet.
  struct Waiting {
    AnswerSink* sink = nullptr;  // null: nobody
    uint64_t token = 0;
    Answer answer;
  };
  // A batch on its way, and those whose answers rest on it.
  struct Pending {
    LogIndex index;
    Waiting own;
    std::vector<Waiting> others;
  };
  // What only a leader has.
  struct Leading {
    Term term;
    Shared<Image> image;  // all that was proposed
    std::map<NodeId, NodeReport> reports;
    GroupSizes sizes;
    LearnerWatch learners;
    raft::Tick since = 0;
    raft::Tick plan_at = 0;
  };

  Status Stopped(const Status& why) const;
  Status WhyNot() const;
  Context DrawContext();
  // Proposes and waits; the refusal if there is nothing to wait for.
  Status Propose(std::vector<Record> records, Waiting own);
  void AnswerWhenCertain(Waiting waiting);
  void BeginRecovered();
  void ConcludeLiveness();
  void ConcludeFitness();
  void ForgetWhatIsGone();
  void ChangeMembers();
  void MendMoves();
  void RegrowSurvivors();
  void MoveReplicas();
  void RemoveNodes();

  const ControllerOptions options_;
  MetadataLog& log_;
  MetadataMachine& machine_;
  const Clock& clock_;
  Random random_;
  raft::Tick now_ = 0;
  raft::StateMachine::Leadership seen_;
  raft::Configuration configuration_;
  std::optional<Leading> leading_;
  LivenessTracker liveness_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, Pending> pending_;  // by id, which is the order in the log
  // By the id of their read, with the term in which the answer was found.
  struct Confirming {
    Term term;
    Waiting waiting;
  };
  std::map<uint64_t, Confirming> confirming_;
};

}  // namespace flotilla::metadata
