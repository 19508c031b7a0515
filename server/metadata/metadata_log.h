// What the controller needs of group 0, and no more: RaftHost in the daemon and the simulator, a script in
// tests.
#pragma once

#include <vector>

#include "raft/node/raft_host.h"
#include "server/metadata/voters.h"
#include "storage/base/bytes.h"
#include "storage/base/ids.h"
#include "storage/base/status.h"

namespace flotilla::metadata {

class MetadataLog {
 public:
  virtual ~MetadataLog() = default;

  // Appends a batch, if this replica surely leads in `term`; `sink` is answered once, never before this
  // returns. The batch's index. Refusals as RaftHost::Propose: nothing was appended.
  virtual Result<LogIndex> Propose(Term term, Bytes batch, uint64_t token, raft::ProposalSink& sink) = 0;
  // Answers `sink` with OK when this replica still leads, or did when the call was made.
  virtual Status ConfirmLeadership(uint64_t token, raft::ReadSink& sink) = 0;
  // Refusals as RaftHost::ProposeChange.
  virtual Status ChangeMembers(const raft::MembershipChange& change, uint64_t token, raft::ProposalSink& sink) = 0;
  // How far learners are, as the leader sees it; empty elsewhere.
  virtual std::vector<MetadataLearner> Learners() const = 0;
  virtual Status TakeSnapshot() = 0;
};

class HostMetadataLog final : public MetadataLog {
 public:
  // `host` outlives this.
  explicit HostMetadataLog(raft::RaftHost& host) : host_(host) {}

  Result<LogIndex> Propose(Term term, Bytes batch, uint64_t token, raft::ProposalSink& sink) override;
  Status ConfirmLeadership(uint64_t token, raft::ReadSink& sink) override;
  Status ChangeMembers(const raft::MembershipChange& change, uint64_t token, raft::ProposalSink& sink) override;
  std::vector<MetadataLearner> Learners() const override;
  Status TakeSnapshot() override;

 private:
  raft::RaftHost& host_;
};

}  // namespace flotilla::metadata
