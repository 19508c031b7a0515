#include "server/broker/recovery_calls.h"

#include <glog/logging.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "server/broker/describe.h"
#include "server/broker/group_view.h"
#include "server/broker/limits.h"
#include "server/broker/preview.h"

namespace flotilla::broker {
namespace {

constexpr std::string_view kInspectReplicas = "/flotilla.internal.v1.MembershipService/InspectReplicas";

std::string NodesText(const std::vector<NodeId>& nodes) {
  std::string text;
  for (const NodeId node : nodes) text += (text.empty() ? "" : ", ") + std::to_string(node.value());
  return text;
}

v1::LeftReplica Describe(NodeId node, const internal::v1::StoredReplica& stored) {
  v1::LeftReplica left;
  left.set_node_id(static_cast<int32_t>(node.value()));
  left.set_last_epoch(static_cast<int64_t>(stored.last_term()));
  left.set_log_start_offset(static_cast<int64_t>(stored.log_start_offset()));
  left.set_log_end_offset(static_cast<int64_t>(stored.log_end_offset()));
  left.set_high_watermark(static_cast<int64_t>(stored.high_watermark()));
  left.set_fault(stored.fault());
  return left;
}

}  // namespace

RecoveryCalls::RecoveryCalls(const MemberContext& member, Decisions& decisions) : member_(member), decisions_(decisions) {
  member_.board.Register<internal::v1::InspectReplicasRequest>(
      kInspectReplicas, {.serve = [this](uint64_t id, const auto& r) { Inspect(id, r); }, .repeatable = true});
  member_.board.Register<v1::UnsafeRecoverPartitionRequest>(
      "/flotilla.v1.AdminService/UnsafeRecoverPartition",
      {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { Recover(id, r); }});
}

// --- What is left

std::optional<internal::v1::StoredReplica> RecoveryCalls::StoredHere(GroupId group) const {
  StoredReplica replica;
  replica.set_group(group.value());
  const Result<storage::GroupState> stored = member_.replicas.Stored(group);
  if (stored.status().reason() == Reason::kGroupNotFound) return std::nullopt;
  if (!stored.ok()) {
    replica.set_fault(stored.status().ToString());
    return replica;
  }
  const storage::LogBounds& bounds = stored->bounds;
  replica.set_incarnation(stored->identity.self.incarnation);
  replica.set_last_term(bounds.end.last.term.value());
  replica.set_last_index(bounds.last_index().value());
  replica.set_log_start_offset(bounds.start.end_offset.value());
  replica.set_log_end_offset(bounds.end.end_offset.value());
  replica.set_high_watermark(bounds.start.end_offset.value());
  if (const partition::Partition* partition = member_.replicas.Find(group)) {
    const partition::PartitionStatus status = partition->status();
    replica.set_log_start_offset(status.log_start_offset.value());
    replica.set_high_watermark(status.high_watermark.value());
  }
  replica.set_fault(member_.replicas.Problem(group));
  return replica;
}

void RecoveryCalls::Inspect(uint64_t id, const internal::v1::InspectReplicasRequest& request) {
  if (Status status = CheckGroupCount(request.groups_size()); !status.ok()) return member_.board.Fail(id, status);
  internal::v1::InspectReplicasResponse response;
  for (const uint64_t group : request.groups()) {
    if (auto stored = StoredHere(GroupId{group})) *response.add_replicas() = *std::move(stored);
  }
  member_.board.Answer(id, response);
}

void RecoveryCalls::Ask(const metadata::Partition& partition, std::function<void(Inspection)> then) {
  const auto question = std::make_shared<Question>();
  question->group = partition.group;
  question->then = std::move(then);
  std::vector<const metadata::Node*> others;
  for (const ReplicaId& replica : partition.Existing()) {
    const metadata::Node* node = member_.image().FindNode(replica.node);
    if (node == nullptr || !node->alive) continue;
    if (node->id != member_.self) {
      others.push_back(node);
    } else if (auto stored = StoredHere(partition.group)) {
      question->found.left.push_back({.id = {node->id, stored->incarnation()}, .stored = *std::move(stored)});
    }
  }
  if (others.empty()) return question->then(std::move(question->found));
  question->waiting = others.size();
  internal::v1::InspectReplicasRequest request;
  request.add_groups(partition.group.value());
  for (const metadata::Node* node : others) {
    member_.network.Call(node->description.peer_address, kInspectReplicas, request.SerializeAsString(), limits::kDescribeTimeout,
                         [this, question, id = node->id](const Result<std::string>& answer) { OnAnswer(question, id, answer); });
  }
}

void RecoveryCalls::OnAnswer(const std::shared_ptr<Question>& question, NodeId node, const Result<std::string>& answer) {
  internal::v1::InspectReplicasResponse response;
  if (!answer.ok() || !response.ParseFromString(*answer)) {
    question->found.silent.push_back(node);
  } else if (response.replicas_size() == 1) {
    StoredReplica& stored = *response.mutable_replicas(0);
    question->found.left.push_back({.id = {node, stored.incarnation()}, .stored = std::move(stored)});
  }
  if (--question->waiting != 0) return;
  std::sort(question->found.silent.begin(), question->found.silent.end());
  question->then(std::move(question->found));
}

// --- What goes on

void RecoveryCalls::Recover(uint64_t id, const v1::UnsafeRecoverPartitionRequest& request) {
  if (!request.has_partition()) {
    return member_.board.Fail(id, Status(Reason::kInvalidArgument, "no partition is named; set partition").With("field", "partition"));
  }
  if (request.keep_node_id() < 0) {
    return member_.board.Fail(id,
                              Refuse(Refusal::kNodeNotFound, "node " + std::to_string(request.keep_node_id()) + " is not in the cluster")
                                  .With("node_id", std::to_string(request.keep_node_id())));
  }
  if (!request.accept_data_loss() && !request.validate_only()) {
    return member_.board.Fail(
        id, Status(Reason::kInvalidArgument,
                   "records that were acknowledged may be lost; look with validate_only at which, then set accept_data_loss")
                .With("field", "accept_data_loss"));
  }
  const Result<metadata::TopicSelector> topic = SelectorOf(request.partition().topic());
  if (!topic.ok()) return member_.board.Fail(id, topic.status());
  const Result<GroupId> group = FindGroup(request.partition(), member_.image());
  if (!group.ok()) return member_.board.Fail(id, group.status());
  Ask(*member_.image().FindPartition(*group),
      [this, id, request, topic = *topic](const Inspection& found) { Choose(id, request, topic, found); });
}

void RecoveryCalls::Choose(uint64_t id, const v1::UnsafeRecoverPartitionRequest& request, const metadata::TopicSelector& topic,
                           const Inspection& found) {
  // One of them may have a newer log, or make a majority.
  if (!found.silent.empty()) {
    return member_.board.Fail(
        id, Status(Reason::kNoLeader,
                   "node " + NodesText(found.silent) + " lives and did not say what it has of the partition; ask again, or stop it"));
  }
  std::vector<Left> left = found.left;
  std::sort(left.begin(), left.end(), [](const Left& a, const Left& b) {
    const auto rank = [](const Left& l) { return std::tuple(l.stored.fault().empty(), l.stored.last_term(), l.stored.last_index()); };
    return rank(a) != rank(b) ? rank(a) > rank(b) : a.id < b.id;
  });
  metadata::ChooseSurvivor change{.topic = topic,
                                  .partition = request.partition().partition(),
                                  .tag = {.request_id = request.request_id(), .validate_only = request.validate_only()}};
  v1::UnsafeRecoverPartitionResponse response;
  for (const Left& one : left) {
    *response.add_replicas() = Describe(one.id.node, one.stored);
    if (one.stored.fault().empty()) change.sound.push_back(one.id);
  }
  change.keep = change.asked_for = NodeId{static_cast<uint64_t>(request.keep_node_id())};
  if (request.keep_node_id() == 0) change.keep = left.empty() ? member_.self : left.front().id.node;
  for (const Left& one : left) {
    if (one.id.node != change.keep) continue;
    change.end = Offset{one.stored.log_end_offset()};
    change.committed = Offset{one.stored.high_watermark()};
  }
  const auto describe = [ref = request.partition()](const metadata::Image& image, v1::UnsafeRecoverPartitionResponse* out) {
    const Result<GroupId> group = FindGroup(ref, image);
    if (!group.ok()) return group.status();
    *out->mutable_recovery() = DescribeSurvival(**image.survivals.Find(*group));
    return Status();
  };
  if (request.validate_only()) {
    const Result<metadata::Shared<metadata::Image>> after = ImageAfter(change, member_.image(), member_.time.clock().WallMillis());
    if (!after.ok()) return member_.board.Fail(id, after.status());
    if (Status status = describe(**after, &response); !status.ok()) return member_.board.Fail(id, status);
    return member_.board.Answer(id, response);
  }
  decisions_.Submit(change, [this, id, response, describe](const metadata::Answer& answer) mutable {
    if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
    if (Status status = describe(member_.image(), &response); !status.ok()) return member_.board.Fail(id, status);
    LOG(WARNING) << "a partition goes on without its majority: " << response.recovery().ShortDebugString();
    response.set_metadata_version(static_cast<int64_t>(answer.version.value()));
    member_.board.Answer(id, response, answer.version);
  });
}

}  // namespace flotilla::broker
