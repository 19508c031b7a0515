#include "server/metadata/image.h"

namespace flotilla::metadata {

namespace {

ReplicaId ReplicaIn(const std::vector<ReplicaId>& replicas, NodeId node) {
  for (const ReplicaId& replica : replicas) {
    if (replica.node == node) return replica;
  }
  return kNoReplica;
}

}  // namespace

ReplicaId Partition::ReplicaOn(NodeId node) const {
  const ReplicaId wanted = WantedOn(node);
  if (wanted.valid() || !movement) return wanted;
  return ReplicaIn(movement->leaving, node);
}

ReplicaId Partition::WantedOn(NodeId node) const { return ReplicaIn(replicas, node); }

std::vector<ReplicaId> Partition::Existing() const {
  std::vector<ReplicaId> existing = replicas;
  if (movement) existing.insert(existing.end(), movement->leaving.begin(), movement->leaving.end());
  return existing;
}

std::vector<ReplicaId> Partition::NewReplicas() const {
  std::vector<ReplicaId> fresh;
  if (!movement) return fresh;
  for (const ReplicaId& replica : replicas) {
    if (ReplicaIn(movement->settled, replica.node) != replica) fresh.push_back(replica);
  }
  return fresh;
}

const Node* Image::FindNode(NodeId id) const {
  const Shared<Node>* node = nodes.Find(id);
  return node == nullptr ? nullptr : node->get();
}

const Node* Image::FindNode(const Uuid& uuid) const {
  const Node* found = nullptr;
  nodes.ForEachFrom(NodeId{0}, [&](NodeId, const Shared<Node>& node) {
    if (node->description.uuid == uuid) found = node.get();
    return found == nullptr;
  });
  return found;
}

const Topic* Image::FindTopic(const Uuid& id) const {
  const Shared<Topic>* topic = topics.Find(id);
  return topic == nullptr ? nullptr : topic->get();
}

const Topic* Image::FindTopic(std::string_view topic_namespace, std::string_view name) const {
  const Uuid* id = topic_names.Find(TopicName{std::string(topic_namespace), std::string(name)});
  return id == nullptr ? nullptr : FindTopic(*id);
}

const Partition* Image::FindPartition(GroupId group) const {
  const PartitionKey* key = groups.Find(group);
  if (key == nullptr) return nullptr;
  const Topic* topic = FindTopic(key->topic);
  CHECK(topic != nullptr) << "group " << group << " belongs to topic " << key->topic << ", which is not there";
  CHECK_LT(key->partition, topic->partitions.size());
  return topic->partitions[key->partition].get();
}

const RememberedRequest* Image::FindRequest(const std::string& id) const {
  const uint64_t* order = request_order.Find(id);
  if (order == nullptr) return nullptr;
  const Shared<RememberedRequest>* request = requests.Find(*order);
  CHECK(request != nullptr) << "request " << id;
  return request->get();
}

const RaisedProducer* Image::FindRaised(uint64_t producer_id) const {
  const uint64_t* order = raised_order.Find(producer_id);
  if (order == nullptr) return nullptr;
  const RaisedProducer* producer = raised_producers.Find(*order);
  CHECK(producer != nullptr) << "producer " << producer_id;
  return producer;
}

NodeLoad Image::LoadOf(NodeId node) const {
  const NodeLoad* load = loads.Find(node);
  return load == nullptr ? NodeLoad{} : *load;
}

std::vector<const Node*> Image::LivingNodes() const {
  std::vector<const Node*> living;
  nodes.ForEach([&](NodeId, const Shared<Node>& node) {
    if (node->alive) living.push_back(node.get());
  });
  return living;
}

std::vector<const Node*> Image::NodesForReplicas() const {
  std::vector<const Node*> takers;
  nodes.ForEach([&](NodeId, const Shared<Node>& node) {
    if (node->takes_replicas()) takers.push_back(node.get());
  });
  return takers;
}

size_t Image::NodesInUse() const {
  size_t count = 0;
  nodes.ForEach([&](NodeId, const Shared<Node>& node) { count += node->mode == NodeMode::kDecommissioning ? 0 : 1; });
  return count;
}

}  // namespace flotilla::metadata
