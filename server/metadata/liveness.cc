#include "server/metadata/liveness.h"

namespace flotilla::metadata {
namespace {

Record LivenessOf(NodeId node, bool alive, int64_t now_ms) {
  Record out;
  record::NodeLivenessChanged& record = *out.mutable_node_liveness_changed();
  record.set_node_id(node.value());
  record.set_liveness(alive ? record::NODE_LIVENESS_ALIVE : record::NODE_LIVENESS_FAILED);
  record.set_changed_at_ms(now_ms);
  return out;
}

}  // namespace

void LivenessTracker::Begin() { seen_.clear(); }

void LivenessTracker::Heard(NodeId node, raft::Tick now) { seen_[node] = {.at = now, .heard = true}; }

std::vector<Record> LivenessTracker::Conclude(const Image& image, raft::Tick now, int64_t now_ms) {
  std::vector<Record> records;
  image.nodes.ForEach([&](NodeId id, const Shared<Node>& node) {
    const Seen& seen = seen_.try_emplace(id, Seen{.at = now, .heard = false}).first->second;
    const bool silent = now - seen.at >= options_.failure_ticks;
    if (node->alive && silent) records.push_back(LivenessOf(id, false, now_ms));
    if (!node->alive && seen.heard && !silent) records.push_back(LivenessOf(id, true, now_ms));
  });
  return records;
}

std::vector<Record> LivenessTracker::FailUnheard(const Image& image, int64_t now_ms) const {
  std::vector<Record> records;
  image.nodes.ForEach([&](NodeId id, const Shared<Node>& node) {
    if (node->alive && !LastHeard(id)) records.push_back(LivenessOf(id, false, now_ms));
  });
  return records;
}

std::optional<raft::Tick> LivenessTracker::LastHeard(NodeId node) const {
  const auto at = seen_.find(node);
  if (at == seen_.end() || !at->second.heard) return std::nullopt;
  return at->second.at;
}

}  // namespace flotilla::metadata
