// The cluster's metadata at one version, as every node sees it. Immutable: whoever holds a pointer reads it
// for as long as it likes, from any thread. The next version shares everything that did not change.
//
//   std::shared_ptr<const Image> image = machine.feed().Current();
//   const Topic* topic = image->FindTopic(kDefaultNamespace, "orders");
//   if (topic != nullptr) ... topic->partitions[3]->replicas
//
// Images are made by replaying records (replay.h), and only so: the same records give equal images on every
// node.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/metadata/persistent_map.h"
#include "server/metadata/uuid.h"
#include "storage/base/ids.h"
#include "storage/base/status.h"

namespace flotilla::metadata {

template <typename T>
using Shared = std::shared_ptr<const T>;

// The namespace of topics that name none; so far the only one.
inline constexpr std::string_view kDefaultNamespace = "default";

struct Cluster {
  Uuid id;
  int64_t initialized_at_ms = 0;
  // Formats up to this level may be written.
  uint32_t feature_level = 0;
  bool operator==(const Cluster&) const = default;
};

// The feature levels that a program can run with, both ends included.
struct FeatureRange {
  uint32_t min = 0;
  uint32_t max = 0;
  bool Contains(uint32_t level) const { return min <= level && level <= max; }
  bool operator==(const FeatureRange&) const = default;
};

struct NodeCapacity {
  uint64_t disk_bytes = 0;  // 0: not told, here and below
  uint64_t memory_bytes = 0;
  uint32_t cores = 0;
  bool operator==(const NodeCapacity&) const = default;
};

// What a node says of itself when it registers.
struct NodeDescription {
  Uuid uuid;
  std::string name;  // for people
  std::string client_address;
  std::string peer_address;
  std::string rack;  // empty: a rack of its own
  std::string software_version;
  FeatureRange features;
  NodeCapacity capacity;
  bool operator==(const NodeDescription&) const = default;
};

// What operators want a node to be used for.
enum class NodeMode : uint8_t {
  kActive,
  kDraining,         // keeps its replicas, leads nothing that another node can lead
  kDecommissioning,  // as draining; its replicas are moved elsewhere, then it is removed
};

struct Node {
  NodeId id;
  NodeDescription description;
  NodeMode mode = NodeMode::kActive;
  int64_t mode_changed_at_ms = 0;  // 0: never
  bool alive = true;
  int64_t registered_at_ms = 0;
  // When it was last seen to fail or return; 0: never.
  int64_t liveness_changed_at_ms = 0;
  // As it says of itself: its disk is sick or full.
  bool unfit_to_lead = false;
  int64_t fitness_changed_at_ms = 0;  // 0: never
  bool in_use() const { return alive && mode == NodeMode::kActive; }
  // New replicas may be placed on it.
  bool takes_replicas() const { return alive && mode != NodeMode::kDecommissioning; }
  // Leaderships may be given to it.
  bool takes_leaders() const { return in_use() && !unfit_to_lead; }
  bool operator==(const Node&) const = default;
};

// Why the replicas of a partition change.
enum class MoveCause : uint8_t { kRequested, kDecommission, kBalance, kRebuild, kCancelled };

// A change of a partition's replicas that is under way. Its leader brings the group there step by step
// (broker: ReplicaMover); until it has, everybody who may be a member keeps its replica.
struct Movement {
  // The replicas before the change: what a cancellation goes back to.
  std::vector<ReplicaId> settled;
  // Replicas that are not wanted any more and may be members still. Never on a node of a wanted one.
  std::vector<ReplicaId> leaving;
  MoveCause cause = MoveCause::kRequested;
  int64_t since_ms = 0;
  bool operator==(const Movement&) const = default;
};

struct Partition {
  uint32_t number = 0;
  GroupId group;
  // Those that it should have, the voters of its group once it is settled.
  std::vector<ReplicaId> replicas;
  // The node that should lead; it has one of `replicas`.
  NodeId preferred_leader;
  // How often its replicas were asked to be others.
  uint64_t placement_epoch = 0;
  // More than that of any replica it ever had.
  uint64_t next_incarnation = 1;
  // Nothing: the group consists of `replicas`.
  std::optional<Movement> movement = {};

  // The replica that exists on `node`, wanted or leaving; kNoReplica: none.
  ReplicaId ReplicaOn(NodeId node) const;
  // The same, wanted ones only.
  ReplicaId WantedOn(NodeId node) const;
  // `replicas`, then those that are leaving.
  std::vector<ReplicaId> Existing() const;
  // Of `replicas`, those that were not there before the change that is under way.
  std::vector<ReplicaId> NewReplicas() const;
  bool operator==(const Partition&) const = default;
};

// A partition whose majority was lost for good, and what was decided then.
struct Survival {
  ReplicaId kept;               // whose log goes on
  ReplicaId next_life;          // as which it goes on
  std::vector<ReplicaId> lost;  // given up
  // What was acknowledged at or above is lost; what of the kept log is at or above `committed` was not known to be committed.
  Offset end;
  Offset committed;
  int64_t at_ms = 0;
  bool operator==(const Survival&) const = default;
};

// A node that went on alone when the metadata had lost its majority.
struct MetadataRecovery {
  uint64_t incarnation = 0;  // of its replica of the metadata, since then
  int64_t at_ms = 0;
  bool operator==(const MetadataRecovery&) const = default;
};

// Settings by name, as text in the form of the schema (config_schema.h).
using Configs = std::map<std::string, std::string, std::less<>>;

struct Topic {
  Uuid id;
  std::string topic_namespace;
  std::string name;
  uint32_t replication_factor = 0;
  std::vector<Shared<Partition>> partitions;  // by number
  Configs configs;
  uint64_t config_version = 0;
  int64_t created_at_ms = 0;
};

struct TopicName {
  std::string topic_namespace;
  std::string name;
  auto operator<=>(const TopicName&) const = default;
};

// Which partition a group is.
struct PartitionKey {
  Uuid topic;
  uint32_t partition = 0;
  bool operator==(const PartitionKey&) const = default;
};

// One replica as seen from its node.
struct NodeGroup {
  NodeId node;
  GroupId group;
  auto operator<=>(const NodeGroup&) const = default;
};

// What a node carries. Replicas that are leaving count: they take their place until they are gone.
struct NodeLoad {
  uint64_t replicas = 0;
  uint64_t preferred_leaders = 0;
  bool operator==(const NodeLoad&) const = default;
};

// A producer as clients know it.
struct ProducerEpoch {
  uint64_t id = 0;  // from 1; 0: none
  uint32_t epoch = 0;
  bool operator==(const ProducerEpoch&) const = default;
};

// A client's request that was carried out.
struct RememberedRequest {
  std::string id;
  uint64_t fingerprint = 0;
  Uuid topic;  // nil: none
  int64_t done_at_ms = 0;
  // What was answered; 0: nothing of the kind.
  ProducerEpoch producer;
  uint32_t partition_count = 0;
  NodeId node = {};
  bool operator==(const RememberedRequest&) const = default;
};

// A producer whose epoch was raised at least once.
struct RaisedProducer {
  ProducerEpoch latest;
  int64_t raised_at_ms = 0;
  bool operator==(const RaisedProducer&) const = default;
};

}  // namespace flotilla::metadata

template <>
struct std::hash<flotilla::metadata::TopicName> {
  size_t operator()(const flotilla::metadata::TopicName& name) const {
    return std::hash<std::string>{}(name.name) * 31 + std::hash<std::string>{}(name.topic_namespace);
  }
};
template <>
struct std::hash<flotilla::metadata::NodeGroup> {
  size_t operator()(const flotilla::metadata::NodeGroup& key) const {
    return std::hash<uint64_t>{}(key.group.value() * 0x9E3779B97F4A7C15ULL ^ key.node.value());
  }
};

namespace flotilla::metadata {

// The cluster spreads its replicas, until they are even.
struct Balancing {
  int64_t since_ms = 0;
  uint64_t planned_moves = 0;
  bool operator==(const Balancing&) const = default;
};

struct Image {
  // The log index of the last batch in it; 0: nothing yet. It only grows.
  LogIndex version;
  std::optional<Cluster> cluster;  // nothing: not initialised
  Configs cluster_configs;
  uint64_t cluster_config_version = 0;
  // Ids that were never given.
  NodeId next_node{1};
  GroupId next_group{1};
  uint64_t next_producer = 1;

  PersistentMap<NodeId, Shared<Node>> nodes;
  PersistentMap<Uuid, Shared<Topic>> topics;
  PersistentMap<TopicName, Uuid> topic_names;
  PersistentMap<GroupId, PartitionKey> groups;
  PersistentMap<NodeGroup, ReplicaId> replicas;
  PersistentMap<NodeId, NodeLoad> loads;
  // Groups whose replicas are being changed, with why.
  PersistentMap<GroupId, MoveCause> moving;
  // The last time that a majority of the group was given up.
  PersistentMap<GroupId, Shared<Survival>> survivals;
  // The last time for each node that ever did; nodes may have been removed since.
  PersistentMap<NodeId, MetadataRecovery> recoveries;
  std::optional<Balancing> balancing;  // nothing: not asked for
  // By when they were carried out, and where each id stands in that order.
  PersistentMap<uint64_t, Shared<RememberedRequest>> requests;
  PersistentMap<std::string, uint64_t> request_order;
  uint64_t next_request = 0;
  // By when they were raised last, and where each id stands in that order, which has gaps.
  PersistentMap<uint64_t, RaisedProducer> raised_producers;
  PersistentMap<uint64_t, uint64_t> raised_order;
  uint64_t next_raise = 0;

  // Null, or nothing, when there is none. Pointers live as long as the image.
  const Node* FindNode(NodeId id) const;
  const Node* FindNode(const Uuid& uuid) const;
  const Topic* FindTopic(const Uuid& id) const;
  const Topic* FindTopic(std::string_view topic_namespace, std::string_view name) const;
  const Partition* FindPartition(GroupId group) const;
  const RememberedRequest* FindRequest(const std::string& id) const;
  const RaisedProducer* FindRaised(uint64_t producer_id) const;
  NodeLoad LoadOf(NodeId node) const;
  uint32_t feature_level() const { return cluster ? cluster->feature_level : 0; }

  // `visit(group, replica)` for each replica on the node, by group.
  template <typename Visit>
  void ForEachReplicaOn(NodeId node, Visit visit) const {
    replicas.ForEachFrom({node, GroupId{0}}, [&](const NodeGroup& key, const ReplicaId& replica) {
      if (key.node != node) return false;
      visit(key.group, replica);
      return true;
    });
  }
  // Living nodes, by id.
  std::vector<const Node*> LivingNodes() const;
  // Nodes that new replicas may be placed on, by id.
  std::vector<const Node*> NodesForReplicas() const;
  // Nodes that are not being decommissioned, dead ones included.
  size_t NodesInUse() const;
  // The id was given to a node that is gone for good.
  bool WasRemoved(NodeId id) const { return id != NodeId{} && id < next_node && FindNode(id) == nullptr; }
};

}  // namespace flotilla::metadata
