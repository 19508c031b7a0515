#include "server/broker/partition_calls.h"

#include <algorithm>
#include <string>
#include <utility>

#include "server/broker/describe.h"
#include "server/broker/group_view.h"
#include "server/broker/limits.h"
#include "server/broker/paging.h"

namespace flotilla::broker {
namespace {

// A transfer that takes longer did not work: an election timeout, and room.
constexpr Duration kTransferTimeout = std::chrono::seconds(5);

template <typename Request>
auto GroupNamedBy(const metadata::MetadataMachine& metadata) {
  return [&metadata](const Request& request) -> Result<GroupId> {
    if (!request.has_partition()) {
      if constexpr (std::is_same_v<Request, v1::TrimPartitionRequest>) {
        return Status(Reason::kInvalidArgument, "no partition is named; set partition").With("field", "partition");
      }
      return metadata::kMetadataGroup;
    }
    return FindGroup(request.partition(), *metadata.image());
  };
}

}  // namespace

PartitionCalls::PartitionCalls(const MemberContext& member, Decisions& decisions, GroupDescriptions& descriptions)
    : member_(member), decisions_(decisions), descriptions_(descriptions) {
  CallBoard& board = member_.board;
  board.Register<v1::ListPartitionsRequest>(
      "/flotilla.v1.AdminService/ListPartitions",
      {.serve = [this](uint64_t id, const auto& r) { List(id, r); }, .repeatable = true, .look = Look::kCopy});
  board.Register<v1::TrimPartitionRequest>("/flotilla.v1.AdminService/TrimPartition",
                                           {.place = Place::kGroupLeader,
                                            .serve = [this](uint64_t id, const auto& r) { Trim(id, r); },
                                            .group = GroupNamedBy<v1::TrimPartitionRequest>(member_.metadata),
                                            .repeatable = true});
  board.Register<v1::GetQuorumRequest>("/flotilla.v1.ClusterService/GetQuorum",
                                       {.place = Place::kGroupLeader,
                                        .serve = [this](uint64_t id, const auto& r) { Quorum(id, r); },
                                        .group = GroupNamedBy<v1::GetQuorumRequest>(member_.metadata),
                                        .repeatable = true});
  board.Register<v1::TransferLeadershipRequest>("/flotilla.v1.ClusterService/TransferLeadership",
                                                {.place = Place::kGroupLeader,
                                                 .serve = [this](uint64_t id, const auto& r) { TransferTo(id, r); },
                                                 .group = GroupNamedBy<v1::TransferLeadershipRequest>(member_.metadata),
                                                 .repeatable = false});
}

PartitionCalls::~PartitionCalls() {
  member_.replicas.ForEachOpen(
      [this](GroupId, partition::Partition& partition) { partition.Forget(static_cast<partition::TrimSink&>(*this)); });
}

// --- Lists

void PartitionCalls::List(uint64_t id, const v1::ListPartitionsRequest& request) {
  const Result<Page> page = PageOf(request.page_size(), request.page_token());
  if (!page.ok()) return member_.board.Fail(id, page.status());
  const metadata::Image& image = member_.image();
  const metadata::Topic* only = nullptr;
  if (request.has_topic()) {
    const Result<const metadata::Topic*> topic = FindTopic(request.topic(), image);
    if (!topic.ok()) return member_.board.Fail(id, topic.status());
    only = *topic;
  }
  const NodeId node{static_cast<uint64_t>(std::max(request.node_id(), 0))};
  if (request.node_id() != 0 && image.FindNode(node) == nullptr) {
    return member_.board.Fail(id, Refuse(Refusal::kNodeNotFound, "node " + std::to_string(request.node_id()) + " is not in the cluster")
                                      .With("node_id", std::to_string(request.node_id())));
  }
  struct Row {
    Uuid topic;
    uint32_t partition;
    GroupId group;
  };
  std::vector<Row> rows;
  const auto consider = [&](const metadata::Topic& topic) {
    for (const auto& partition : topic.partitions) {
      if (SortKeyOf(topic, partition->number) <= page->after) continue;
      if (node.value() != 0 && !partition->ReplicaOn(node).valid()) continue;
      if (request.filter() == v1::PARTITION_FILTER_LEADERLESS && member_.leaders.Of(partition->group).node.value() != 0) continue;
      rows.push_back({topic.id, partition->number, partition->group});
    }
  };
  if (only != nullptr) {
    consider(*only);
  } else {
    image.topic_names.ForEach([&](const metadata::TopicName&, const Uuid& topic) { consider(*image.FindTopic(topic)); });
  }
  // A filter that only leaders can judge looks at more than it shows.
  const bool judged = request.filter() == v1::PARTITION_FILTER_UNDER_REPLICATED;
  const size_t looked_at = std::min(rows.size(), judged ? limits::kRequestItemsMax : page->size);
  const bool more = looked_at < rows.size();
  rows.resize(looked_at);
  std::vector<GroupId> groups;
  for (const Row& row : rows) groups.push_back(row.group);
  descriptions_.Ask(groups, [this, id, rows, more, judged, size = page->size](const GroupDescriptions::Found& found) {
    v1::ListPartitionsResponse response;
    std::string last;
    bool full = false;
    for (const Row& row : rows) {
      const metadata::Topic* topic = member_.image().FindTopic(row.topic);
      if (topic == nullptr || row.partition >= topic->partitions.size()) continue;
      const auto described = found.find(row.group);
      const size_t wanted = WantedReplicas({topic, topic->partitions[row.partition].get()});
      if (judged &&
          (described == found.end() ? member_.leaders.Of(row.group).node.value() != 0 : !UnderReplicated(described->second, wanted))) {
        last = SortKeyOf(*topic, row.partition);
        continue;
      }
      if (static_cast<size_t>(response.partitions_size()) == size) {
        full = true;
        break;
      }
      last = SortKeyOf(*topic, row.partition);
      *response.add_partitions() = DetailsOf(*topic, *topic->partitions[row.partition], found);
    }
    if ((more || full) && !last.empty()) response.set_next_page_token(TokenAfter(last));
    member_.board.Answer(id, response);
  });
}

v1::PartitionDetails PartitionCalls::DetailsOf(const metadata::Topic& topic, const metadata::Partition& partition,
                                               const GroupDescriptions::Found& found) const {
  v1::PartitionDetails details;
  *details.mutable_topic() = RefOf(topic);
  *details.mutable_partition() = DescribePartition(partition, member_.leaders);
  const metadata::Shared<metadata::Survival>* survival = member_.image().survivals.Find(partition.group);
  if (survival != nullptr) *details.mutable_unsafe_recovery() = DescribeSurvival(**survival);
  const auto at = found.find(partition.group);
  if (at == found.end()) return details;
  const internal::v1::GroupDescription& group = at->second;
  details.set_leader_answered(true);
  details.set_log_start_offset(static_cast<int64_t>(group.log_start_offset()));
  details.set_high_watermark(static_cast<int64_t>(group.high_watermark()));
  // A log that was not measured yet is new: what was appended is what is in it.
  details.set_size_bytes(static_cast<int64_t>(group.log_bytes() != 0 ? group.log_bytes() : group.applied_bytes()));
  for (v1::Replica& replica : *details.mutable_partition()->mutable_replicas()) {
    for (const auto& described : group.replicas()) {
      if (described.node_id() != static_cast<uint64_t>(replica.node_id())) continue;
      replica.set_role(described.voter() ? v1::REPLICA_ROLE_VOTER : v1::REPLICA_ROLE_LEARNER);
      replica.set_state(StateOf(described));
      replica.set_lag_entries(static_cast<int64_t>(described.lag_entries()));
    }
  }
  return details;
}

// --- Trim

void PartitionCalls::Trim(uint64_t id, const v1::TrimPartitionRequest& request) {
  if (request.before_offset() < 0) {
    return member_.board.Fail(id, Status(Reason::kInvalidArgument,
                                         "before_offset " + std::to_string(request.before_offset()) + " is negative; offsets begin at 0")
                                      .With("field", "before_offset"));
  }
  const Result<GroupId> group = FindGroup(request.partition(), member_.image());
  if (!group.ok()) return member_.board.Fail(id, group.status());
  partition::Partition* partition = member_.replicas.Find(*group);
  if (partition == nullptr) return member_.board.Fail(id, Status(Reason::kNoLeader, "this node does not have the partition (any more)"));
  const Offset before{static_cast<uint64_t>(request.before_offset())};
  if (request.validate_only()) {
    if (Status status = partition->MayServe(); !status.ok()) return member_.board.Fail(id, status);
    if (before > partition->high_watermark()) {
      return member_.board.Fail(id,
                                Status(Reason::kOffsetOutOfRange, "the log ends at " + std::to_string(partition->high_watermark().value()) +
                                                                      "; it cannot begin at " + std::to_string(before.value()))
                                    .With("offset", before.value())
                                    .With("log_start_offset", partition->log_start().value())
                                    .With("high_watermark", partition->high_watermark().value()));
    }
    v1::TrimPartitionResponse response;
    response.set_log_start_offset(static_cast<int64_t>(std::max(before, partition->log_start()).value()));
    response.set_high_watermark(static_cast<int64_t>(partition->high_watermark().value()));
    return member_.board.Answer(id, response);
  }
  trims_.emplace(id, *group);
  partition->Trim(before, id, *this);
}

void PartitionCalls::OnTrimmed(uint64_t token, const Status& status, Offset log_start_offset) {
  member_.executor.Post([this, token, status, log_start_offset] {
    const auto at = trims_.find(token);
    if (at == trims_.end()) return;
    const GroupId group = at->second;
    trims_.erase(at);
    if (!status.ok()) return member_.board.Fail(token, status);
    v1::TrimPartitionResponse response;
    response.set_log_start_offset(static_cast<int64_t>(log_start_offset.value()));
    if (const partition::Partition* partition = member_.replicas.Find(group)) {
      response.set_high_watermark(static_cast<int64_t>(partition->high_watermark().value()));
    }
    member_.board.Answer(token, response);
  });
}

// --- Quorums and leaders

void PartitionCalls::Quorum(uint64_t id, const v1::GetQuorumRequest& request) {
  const Result<GroupId> group =
      request.has_partition() ? FindGroup(request.partition(), member_.image()) : Result<GroupId>(metadata::kMetadataGroup);
  if (!group.ok()) return member_.board.Fail(id, group.status());
  const std::optional<internal::v1::GroupDescription> described = DescribeGroup(member_, *group);
  if (!described) return member_.board.Fail(id, Status(Reason::kNotLeader, "this node does not lead the group"));
  member_.board.Answer(id, QuorumOf(*described, member_.self));
}

void PartitionCalls::TransferTo(uint64_t id, const v1::TransferLeadershipRequest& request) {
  const Result<GroupId> group =
      request.has_partition() ? FindGroup(request.partition(), member_.image()) : Result<GroupId>(metadata::kMetadataGroup);
  if (!group.ok()) return member_.board.Fail(id, group.status());
  const raft::RaftCore* core = member_.host.Find(*group);
  if (core == nullptr || core->role() != raft::Role::kLeader) {
    return member_.board.Fail(id, Status(Reason::kNotLeader, "this node does not lead the group"));
  }
  ReplicaId target = kNoReplica;
  if (request.to_node_id() != 0) {
    for (const ReplicaId& voter : core->configuration().voters) {
      if (voter.node.value() == static_cast<uint64_t>(request.to_node_id())) target = voter;
    }
    if (!target.valid()) {
      const bool known = member_.image().FindNode(NodeId{static_cast<uint64_t>(std::max(request.to_node_id(), 0))}) != nullptr;
      const std::string text = "node " + std::to_string(request.to_node_id()) +
                               (known ? " has no voting replica of it; choose one of its replicas" : " is not in the cluster");
      return member_.board.Fail(id, known ? Status(Reason::kInvalidArgument, text).With("field", "to_node_id")
                                          : Refuse(Refusal::kNodeNotFound, text).With("node_id", std::to_string(request.to_node_id())));
    }
  }
  const Transfer transfer{.group = *group,
                          .target = target.node,
                          .from = core->term(),
                          .until = std::min(member_.board.DeadlineOf(id), member_.time.In(kTransferTimeout))};
  if (request.validate_only() || target.node == member_.self) {
    v1::TransferLeadershipResponse response;
    response.set_leader_node_id(static_cast<int32_t>(member_.self.value()));
    response.set_leader_epoch(static_cast<int64_t>(core->term().value()));
    return member_.board.Answer(id, response);
  }
  if (Status status = member_.host.TransferLeadership(*group, target); !status.ok()) return member_.board.Fail(id, status);
  transfers_.emplace(id, transfer);
}

void PartitionCalls::OnLeader(GroupId group) {
  for (auto at = transfers_.begin(); at != transfers_.end();) {
    const auto [id, transfer] = *at;
    const Leader leader = member_.leaders.Of(transfer.group);
    if (transfer.group != group || leader.node.value() == 0 || leader.epoch <= transfer.from) {
      ++at;
      continue;
    }
    at = transfers_.erase(at);
    EndTransfer(id, transfer);
  }
}

void PartitionCalls::EndTransfer(uint64_t id, const Transfer& transfer) {
  const Leader leader = member_.leaders.Of(transfer.group);
  v1::TransferLeadershipResponse response;
  response.set_leader_node_id(static_cast<int32_t>(leader.node.value()));
  response.set_leader_epoch(static_cast<int64_t>(leader.epoch.value()));
  member_.board.Answer(id, response);
}

void PartitionCalls::Tick() {
  for (auto at = transfers_.begin(); at != transfers_.end();) {
    if (at->second.until > member_.time.now()) {
      ++at;
      continue;
    }
    const auto [id, transfer] = *at;
    at = transfers_.erase(at);
    member_.board.Fail(id,
                       Status(Reason::kNotCaughtUp, "node " + std::to_string(transfer.target.value()) +
                                                        " did not take over in time; it may be too far behind or down; nothing was lost")
                           .With("node_id", transfer.target.value()));
  }
}

}  // namespace flotilla::broker
