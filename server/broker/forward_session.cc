#include "server/broker/forward_session.h"

#include <string>
#include <utility>

#include "server/broker/partition_reads.h"
#include "server/errors/refusal.h"

namespace flotilla::broker {

ForwardSessionImpl::~ForwardSessionImpl() {
  for (const auto& [id, row] : rows_) around_.dispatcher.Cancel(row.ticket);
}

void ForwardSessionImpl::Submit(ForwardRequest request) {
  const uint64_t id = request.id;
  if (std::holds_alternative<ForwardCancel>(request.operation)) {
    const auto found = rows_.find(id);
    if (found == rows_.end()) return;
    around_.dispatcher.Cancel(found->second.ticket);
    rows_.erase(found);
    return;
  }
  if (request.target != around_.self) {
    return Refuse(id,
                  flotilla::Refuse(Refusal::kNodeMismatch, "the call is meant for node " + std::to_string(request.target.value()) +
                                                               "; this is node " + std::to_string(around_.self.value()))
                      .With("node_id", around_.self.value()),
                  kNoGroup);
  }
  const metadata::PartitionKey key{.topic = request.topic, .partition = request.partition};
  const Result<GroupId> group = GroupOf(*around_.metadata.image(), key);
  // This node may not have heard of the partition yet, or not have opened it: who asks knows better than we do, and tries again.
  const partition::Partition* here = group.ok() ? around_.replicas.Find(*group) : nullptr;
  if (here == nullptr) {
    return Refuse(id, Status(Reason::kNoLeader, "this node does not have the partition (yet); try again shortly"), kNoGroup);
  }
  if (Status status = here->MayServe(); !status.ok()) return Refuse(id, status, *group);
  Attempt attempt{.partition = key, .group = *group, .deadline = around_.time.In(request.timeout), .operation = ForwardLocate{}};
  std::visit(
      [&attempt](auto& operation) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(operation)>, ForwardCancel>) attempt.operation = std::move(operation);
      },
      request.operation);
  rows_[id] = {.ticket = around_.dispatcher.Start(std::move(attempt), id, *this), .group = *group};
}

void ForwardSessionImpl::Refuse(uint64_t id, const Status& status, GroupId group) {
  const Leader leader = around_.leaders.Of(group);
  ForwardAnswer answer{.id = id, .status = status, .leader = {}, .leader_epoch = {}, .result = {}};
  if (leader.node != around_.self) {
    answer.leader = leader.node;
    answer.leader_epoch = leader.epoch;
  }
  sink_.OnForwardDone(std::move(answer));
}

void ForwardSessionImpl::OnAttempt(uint64_t id, AttemptAnswer answer) {
  const auto found = rows_.find(id);
  if (found == rows_.end()) return;
  const GroupId group = found->second.group;
  rows_.erase(found);
  if (answer.status.reason() == Reason::kNotLeader || answer.status.reason() == Reason::kNoLeader) {
    return Refuse(id, answer.status, group);
  }
  ForwardAnswer out{.id = id, .status = answer.status, .leader = {}, .leader_epoch = {}, .result = {}};
  std::visit([&out](auto& result) { out.result = std::move(result); }, answer.result);
  sink_.OnForwardDone(std::move(out));
}

}  // namespace flotilla::broker
