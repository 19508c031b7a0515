// Who belongs to the group: joint consensus (Raft §6, thesis §4.3). A configuration is in force from the moment it is in the log, and no
// longer when it is cut off again.
#include <glog/logging.h>

#include <algorithm>

#include "raft/core/quorum.h"
#include "raft/core/raft_core.h"

namespace flotilla::raft {

Result<LogIndex> RaftCore::ProposeChange(const MembershipChange& change) {
  if (!fault_.ok()) return fault_;
  if (role_ != Role::kLeader) return NotLeaderStatus();
  if (leading_.transfer) return Status(Reason::kTransferring, "leadership is being handed over; try again shortly");
  // The first rule repairs the published single-server protocol (Ongaro, raft-dev, 2015) and holds for joint changes too.
  if (!leads_surely()) {
    return Status(Reason::kConfigurationPending, "this leader has not committed an entry of its own term yet; try again shortly");
  }
  if (log_.configuration_index() > commit_) {
    return Status(Reason::kConfigurationPending, "the configuration at index " + std::to_string(log_.configuration_index().value()) +
                                                     " is not committed yet; one change at a time");
  }
  Result<Configuration> next = log_.configuration().Change(change);
  if (!next.ok()) return next.status();
  for (const ReplicaId& id : change.promote) {
    const Progress* progress = FindProgress(id);
    CHECK(progress != nullptr) << "a learner without progress: " << id;
    const uint64_t lag = log_.last() - progress->match;
    if (progress->state == ProgressState::kSnapshot || progress->match == LogIndex{0} || lag > options_.promotion_lag_entries_max) {
      return Status(Reason::kNotCaughtUp, "learner " + ToString(id) + " is " + std::to_string(lag) +
                                              " entries behind; the limit for a promotion is " +
                                              std::to_string(options_.promotion_lag_entries_max))
          .With("lag", lag);
    }
  }
  return AppendOwn(Proposal{.kind = EntryKind::kConfiguration, .payload = EncodeConfiguration(*next)});
}

// Keeps what is known of replicas that stay; new ones start as unknown.
void RaftCore::ConfigurationChanged() {
  if (role_ != Role::kLeader) return;
  std::vector<Progress> next;
  for (const ReplicaId& id : log_.configuration().Replicas()) {
    if (id == options_.self) continue;
    if (Progress* known = FindProgress(id)) {
      next.push_back(std::move(*known));
      continue;
    }
    Progress fresh;
    fresh.id = id;
    fresh.next = log_.last() + 1;
    fresh.last_active = now_;
    next.push_back(std::move(fresh));
  }
  leading_.progress = std::move(next);
}

// The newest configuration is committed, with this replica as leader.
void RaftCore::OnConfigurationCommitted() {
  const Configuration& configuration = log_.configuration();
  if (configuration.joint()) {
    // By itself, and once: the entry that ends it is now the newest configuration. Not before an entry of the own term is committed,
    // which is the case: commit only moves by those.
    AppendOwn(Proposal{.kind = EntryKind::kConfiguration, .payload = EncodeConfiguration(configuration.Leave())});
    return;
  }
  if (configuration.IsVoter(options_.self)) return;
  // The group no longer counts on this leader (Raft §6): somebody else takes over at once.
  const Progress* heir = nullptr;
  for (const ReplicaId& id : configuration.voters) {
    const Progress* progress = FindProgress(id);
    if (progress && (heir == nullptr || progress->match > heir->match)) heir = progress;
  }
  if (heir != nullptr) Send(heir->id, TimeoutNow{});
  BecomeFollower(term(), kNoReplica);
}

}  // namespace flotilla::raft
