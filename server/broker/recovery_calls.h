// A partition whose majority is lost for good: what is left of it, and the decision which replica goes on alone (AdminService). At the
// metadata leader, which asks every living node that has a replica what it has on its disk.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "flotilla/internal/v1/peer.pb.h"
#include "flotilla/v1/admin.pb.h"
#include "server/broker/decisions.h"
#include "server/broker/member_context.h"

namespace flotilla::broker {

class RecoveryCalls final : public CallService {
 public:
  RecoveryCalls(const MemberContext& member, Decisions& decisions);

 private:
  using StoredReplica = internal::v1::StoredReplica;
  struct Left {
    ReplicaId id;
    StoredReplica stored;
  };
  // What the living nodes have of a group.
  struct Inspection {
    std::vector<Left> left = {};
    std::vector<NodeId> silent = {};  // did not say
  };
  struct Question {
    GroupId group;
    Inspection found;
    size_t waiting = 0;
    std::function<void(Inspection)> then;
  };

  void Inspect(uint64_t id, const internal::v1::InspectReplicasRequest& request);
  // Nothing: this node has no replica of the group on its disk.
  std::optional<StoredReplica> StoredHere(GroupId group) const;
  // Asks the living nodes among those that shall have a replica. `then` once, perhaps before this returns.
  void Ask(const metadata::Partition& partition, std::function<void(Inspection)> then);
  void OnAnswer(const std::shared_ptr<Question>& question, NodeId node, const Result<std::string>& answer);

  void Recover(uint64_t id, const v1::UnsafeRecoverPartitionRequest& request);
  void Choose(uint64_t id, const v1::UnsafeRecoverPartitionRequest& request, const metadata::TopicSelector& topic, const Inspection& found);

  const MemberContext member_;
  Decisions& decisions_;
};

}  // namespace flotilla::broker
