#include "server/broker/partition_reads.h"

#include <string>
#include <utility>

#include "server/errors/refusal.h"

namespace flotilla::broker {
namespace {

// Nothing was read, and another attempt may do better.
bool MayTryAgain(const Status& status) {
  switch (status.reason()) {
    case Reason::kNotLeader:
    case Reason::kNoLeader:
    case Reason::kTransferring:
    case Reason::kOutcomeUnknown:
    case Reason::kCancelled:
    case Reason::kShuttingDown:
    case Reason::kGroupNotFound:
    case Reason::kStorageFailed:   // that node is about to stop; another one will lead
    case Reason::kReplicaFaulted:  // that replica takes no part any more
      return RefusalOf(status) == Refusal::kNone;
    default: return false;
  }
}

}  // namespace

Result<GroupId> GroupOf(const metadata::Image& image, const metadata::PartitionKey& key) {
  const metadata::Topic* topic = image.FindTopic(key.topic);
  if (topic == nullptr) {
    return Refuse(Refusal::kTopicNotFound, "the topic with id " + key.topic.ToString() + " does not exist (any more)")
        .With("topic_id", key.topic.ToString());
  }
  if (key.partition >= topic->partitions.size()) {
    return Refuse(Refusal::kPartitionNotFound, "topic " + topic->name + " has partitions 0 to " +
                                                   std::to_string(topic->partitions.size() - 1) + ", not " + std::to_string(key.partition))
        .With("topic", topic->name)
        .With("partition", key.partition)
        .With("partition_count", topic->partitions.size());
  }
  return topic->partitions[key.partition]->group;
}

Status LeaderIsElsewhere(const metadata::Image& image, const metadata::PartitionKey& key, const Leader& leader) {
  const metadata::Topic* topic = image.FindTopic(key.topic);
  const std::string name = topic == nullptr ? key.topic.ToString() : topic->name;
  const metadata::Node* node = image.FindNode(leader.node);
  if (node == nullptr) {
    return Status(Reason::kNoLeader,
                  "partition " + name + "/" + std::to_string(key.partition) + " has no leader at the moment; try again shortly")
        .With("topic", name)
        .With("partition", key.partition);
  }
  return Status(Reason::kNotLeader, "node " + std::to_string(leader.node.value()) + " at " + node->description.client_address +
                                        " leads partition " + name + "/" + std::to_string(key.partition) + "; ask there")
      .With("topic", name)
      .With("partition", key.partition)
      .With("leader_node_id", leader.node.value())
      .With("leader_address", node->description.client_address)
      .With("leader_epoch", leader.epoch.value());
}

uint64_t PartitionReads::Begin(const ReadCall& call, bool locate, const Caller& caller, uint64_t token, ReadSink& sink) {
  const uint64_t ticket = next_ticket_++;
  Row& row = rows_[ticket];
  row = {.call = call, .locate = locate, .caller = caller, .token = token, .sink = &sink};
  Try(ticket, &row);
  return ticket;
}

void PartitionReads::Try(uint64_t ticket, Row* row) {
  row->wait = 0;
  const ReadCall& call = row->call;
  Attempt attempt{.partition = call.partition,
                  .deadline = call.deadline,
                  .caller = &row->caller,
                  .require_leader = call.require_leader,
                  .operation = ForwardLocate{call.start}};
  const Result<GroupId> group = GroupOf(*around_.metadata.image(), call.partition);
  // A group that does not exist has no leader: the dispatcher says so, and OnAttempt looks again.
  attempt.group = group.ok() ? *group : kNoGroup;
  if (!row->locate) {
    attempt.operation =
        ForwardFetch{.start = call.start, .min_bytes = call.min_bytes, .max_wait = call.max_wait, .max_bytes = call.max_bytes};
    if (call.deadline == raft::kNever) attempt.deadline = around_.time.In(call.max_wait + std::chrono::seconds(10));
  }
  row->attempt = around_.dispatcher.Start(std::move(attempt), ticket, *this);
}

void PartitionReads::OnAttempt(uint64_t ticket, AttemptAnswer answer) {
  const auto found = rows_.find(ticket);
  if (found == rows_.end()) return;
  Row& row = found->second;
  row.attempt = 0;
  ReadAnswer read{.status = answer.status, .result = {}, .remote = answer.remote, .epoch = answer.epoch};
  if (auto* result = std::get_if<partition::FetchResult>(&answer.result)) read.result = std::move(*result);
  if (!MayTryAgain(answer.status)) return Finish(ticket, std::move(read));
  const metadata::Image& image = *around_.metadata.image();
  const Result<GroupId> group = GroupOf(image, row.call.partition);
  if (!group.ok()) return Finish(ticket, {.status = group.status()});
  const Leader leader = around_.leaders.Of(*group);
  if (row.call.require_leader) return Finish(ticket, {.status = LeaderIsElsewhere(image, row.call.partition, leader)});
  if (row.call.deadline <= around_.time.now()) {
    return Finish(ticket, {.status = LeaderIsElsewhere(image, row.call.partition, {})});
  }
  row.wait = around_.waits.Wait(*group, row.call.deadline, ticket, *this);
}

void PartitionReads::OnLeaderAwaited(uint64_t ticket) {
  const auto found = rows_.find(ticket);
  if (found != rows_.end()) Try(ticket, &found->second);
}

void PartitionReads::Finish(uint64_t ticket, ReadAnswer answer) {
  const auto found = rows_.find(ticket);
  const Row row = std::move(found->second);
  rows_.erase(found);
  row.sink->OnRead(row.token, std::move(answer));
}

void PartitionReads::Cancel(uint64_t ticket) {
  const auto found = rows_.find(ticket);
  if (found == rows_.end()) return;
  if (found->second.attempt != 0) around_.dispatcher.Cancel(found->second.attempt);
  if (found->second.wait != 0) around_.waits.Cancel(found->second.wait);
  rows_.erase(found);
}

bool PartitionReads::Leaderless(uint64_t ticket) const {
  const auto found = rows_.find(ticket);
  return found != rows_.end() && found->second.wait != 0;
}

}  // namespace flotilla::broker
