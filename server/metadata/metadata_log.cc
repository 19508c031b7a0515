#include "server/metadata/metadata_log.h"

#include <span>
#include <utility>

#include "server/metadata/metadata_machine.h"

namespace flotilla::metadata {

Result<LogIndex> HostMetadataLog::Propose(Term term, Bytes batch, uint64_t token, raft::ProposalSink& sink) {
  const raft::RaftCore* core = host_.Find(kMetadataGroup);
  if (core == nullptr || core->term() != term || !core->leads_surely()) {
    return Status(Reason::kNotLeader, "the metadata has another leader than when this was decided; nothing was done");
  }
  const raft::Proposal proposal{.kind = storage::EntryKind::kControl, .payload = std::move(batch)};
  return host_.Propose(kMetadataGroup, std::span(&proposal, 1), token, sink);
}

Status HostMetadataLog::ConfirmLeadership(uint64_t token, raft::ReadSink& sink) { return host_.ReadIndex(kMetadataGroup, token, sink); }

Status HostMetadataLog::ChangeMembers(const raft::MembershipChange& change, uint64_t token, raft::ProposalSink& sink) {
  return host_.ProposeChange(kMetadataGroup, change, token, sink).status();
}

std::vector<MetadataLearner> HostMetadataLog::Learners() const {
  std::vector<MetadataLearner> learners;
  const raft::RaftCore* core = host_.Find(kMetadataGroup);
  if (core == nullptr || !core->leads_surely()) return learners;
  for (const raft::ReplicaStatus& replica : core->status().replicas) {
    const bool near = replica.state == raft::ProgressState::kReplicate && replica.lag <= limits::kPromotionLagEntriesMax;
    if (!replica.voter) learners.push_back({.node = replica.id.node, .match = replica.match, .caught_up = near});
  }
  return learners;
}

Status HostMetadataLog::TakeSnapshot() { return host_.TakeSnapshot(kMetadataGroup); }

}  // namespace flotilla::metadata
