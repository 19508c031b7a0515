#include "server/metadata/metadata_log.h"

#include <span>
#include <utility>

#include "server/metadata/metadata_machine.h"

namespace flotilla::metadata {

Result<LogIndex> HostMetadataLog::Propose(Term term, Bytes batch, uint64_t token, raft::ProposalSink& sink) {
  const raft::RaftCore* core = host_.Find(kMetadataGroup);
  if (core == nullptr || core->term() != term || !core->leads_surely()) {
    return Status(Reason::kNotLeader,
                  "the metadata has another leader than when this was decided; nothing was done");
  }
  const raft::Proposal proposal{.kind = storage::EntryKind::kControl, .payload = std::move(batch)};
  return host_.Propose(kMetadataGroup, std::span(&proposal, 1), token, sink);
}

Status HostMetadataLog::ConfirmLeadership(uint64_t token, raft::ReadSink& sink) {
  return host_.ReadIndex(kMetadataGroup, token, sink);
}

Status HostMetadataLog::AddLearners(std::vector<ReplicaId> learners, uint64_t token,
                                    raft::ProposalSink& sink) {
  return host_.ProposeChange(kMetadataGroup, {.add_learners = std::move(learners)}, token, sink).status();
}

Status HostMetadataLog::TakeSnapshot() { return host_.TakeSnapshot(kMetadataGroup); }

}  // namespace flotilla::metadata
