#include "client/cpp/cluster_view.h"

#include <algorithm>

#include "flotilla/v1/cluster.pb.h"

namespace flotilla::client {

void ClusterView::Learn(const v1::GetMetadataResponse& answer) {
  const MutexLock lock(mutex_);
  if (answer.nodes_size() > 0) {
    nodes_.clear();
    for (const v1::Node& node : answer.nodes()) {
      if (!node.client_address().empty() && node.state() != v1::NODE_STATE_DEAD) {
        nodes_[node.node_id()] = node.client_address();
      }
    }
  }
  for (const v1::TopicMetadata& metadata : answer.topics()) {
    const v1::TopicRef& ref = metadata.topic().topic();
    Topic& topic = topics_[ref.name()];
    if (topic.id != ref.topic_id()) topic = Topic{.id = ref.topic_id()};
    topic.partition_count = std::max(topic.partition_count, metadata.topic().partition_count());
    for (const v1::Partition& partition : metadata.partitions()) {
      Leader& leader = topic.leaders[partition.partition()];
      if (partition.leader_epoch() >= leader.epoch) {
        leader = {.node_id = partition.leader_node_id(), .epoch = partition.leader_epoch()};
      }
    }
  }
}

void ClusterView::Learn(const v1::LeaderHint& hint) {
  const MutexLock lock(mutex_);
  if (hint.node_id() != 0 && !hint.address().empty()) nodes_[hint.node_id()] = hint.address();
  const auto topic = topics_.find(hint.topic().name());
  if (topic == topics_.end()) return;
  Leader& leader = topic->second.leaders[hint.partition()];
  if (hint.leader_epoch() > leader.epoch || (leader.node_id == 0 && hint.leader_epoch() == leader.epoch)) {
    leader = {.node_id = hint.node_id(), .epoch = hint.leader_epoch()};
  }
}

void ClusterView::Avoid(const std::string& address) {
  const MutexLock lock(mutex_);
  avoided_until_[address] = clock_.Now() + kAvoidFor;
  ++first_;
}

void ClusterView::Reached(const std::string& address) {
  const MutexLock lock(mutex_);
  avoided_until_.erase(address);
}

std::optional<int32_t> ClusterView::PartitionCount(std::string_view topic) const {
  const MutexLock lock(mutex_);
  const auto it = topics_.find(topic);
  if (it == topics_.end() || it->second.partition_count == 0) return std::nullopt;
  return it->second.partition_count;
}

void ClusterView::Forget(std::string_view topic) {
  const MutexLock lock(mutex_);
  if (const auto it = topics_.find(topic); it != topics_.end()) topics_.erase(it);
}

std::string ClusterView::AddressFor(std::string_view topic, int32_t partition) const {
  const MutexLock lock(mutex_);
  if (const auto it = topics_.find(topic); it != topics_.end()) {
    if (const auto leader = it->second.leaders.find(partition); leader != it->second.leaders.end()) {
      const auto node = nodes_.find(leader->second.node_id);
      if (node != nodes_.end() && !Avoided(node->second)) return node->second;
    }
  }
  const std::vector<std::string> addresses = AddressesLocked();
  return addresses.empty() ? std::string() : addresses.front();
}

std::vector<std::string> ClusterView::Addresses() const {
  const MutexLock lock(mutex_);
  return AddressesLocked();
}

bool ClusterView::Avoided(const std::string& address) const {
  const auto it = avoided_until_.find(address);
  return it != avoided_until_.end() && clock_.Now() < it->second;
}

std::vector<std::string> ClusterView::AddressesLocked() const {
  // Bootstrap addresses first: they are what the caller is known to reach.
  std::vector<std::string> addresses = bootstrap_;
  for (const auto& [id, address] : nodes_) {
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(address);
  }
  if (addresses.empty()) return addresses;
  std::rotate(addresses.begin(), addresses.begin() + static_cast<std::ptrdiff_t>(first_ % addresses.size()), addresses.end());
  std::stable_partition(addresses.begin(), addresses.end(),
                        [this](const std::string& address) FLOTILLA_REQUIRES(mutex_) { return !Avoided(address); });
  return addresses;
}

}  // namespace flotilla::client
