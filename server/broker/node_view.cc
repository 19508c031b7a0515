#include "server/broker/node_view.h"

#include <algorithm>
#include <set>
#include <utility>

#include "server/broker/describe.h"
#include "server/broker/move_view.h"

namespace flotilla::broker {
namespace {

using internal::v1::GroupDescription;

constexpr size_t kPartitionsShownMax = 100;
constexpr size_t kObstaclesShownMax = 10;

bool KeepsMajority(const GroupDescription& group, NodeId without) {
  if (group.changing()) return false;  // two majorities are needed, for a moment
  size_t voters = 0;
  size_t stay = 0;
  for (const auto& replica : group.replicas()) {
    if (!replica.voter()) continue;
    ++voters;
    stay += replica.node_id() != without.value() && replica.in_sync() ? 1 : 0;
  }
  return stay > voters / 2;
}

std::string NameOf(const PartitionPlace& place) { return place.topic->name + "/" + std::to_string(place.partition->number); }

// Partitions with a replica on the node, by topic name and number.
std::vector<PartitionPlace> PlacesOn(NodeId node, const metadata::Image& image) {
  std::vector<std::pair<std::string, PartitionPlace>> sorted;
  image.ForEachReplicaOn(node, [&](GroupId group, const ReplicaId&) {
    const PartitionPlace place = PlaceOf(group, image);
    if (place.partition != nullptr) sorted.emplace_back(SortKeyOf(*place.topic, place.partition->number), place);
  });
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<PartitionPlace> places;
  for (const auto& [name, place] : sorted) places.push_back(place);
  return places;
}

const GroupDescription* FindGroup(const NodeView& view, GroupId group) {
  const auto at = view.groups.find(group);
  return at == view.groups.end() ? nullptr : &at->second;
}

// Another node could lead it now.
bool HasHeir(const GroupDescription& group, NodeId node, const metadata::Image& image) {
  return std::any_of(group.replicas().begin(), group.replicas().end(), [&](const auto& replica) {
    const metadata::Node* other = image.FindNode(NodeId{replica.node_id()});
    return replica.voter() && replica.in_sync() && replica.node_id() != node.value() && other != nullptr && other->takes_leaders();
  });
}

class EvacuationReport {
 public:
  EvacuationReport(const metadata::Node& node, const NodeView& view, const metadata::GroupSizes& sizes)
      : node_(node), view_(view), sizes_(sizes) {}

  v1::Evacuation Describe(const std::vector<std::string>& obstacles) {
    std::set<std::string> names;
    for (const PartitionPlace& place : PlacesOn(node_.id, view_.image)) {
      names.insert(NameOf(place));
      if (view_.leaders.Of(place.partition->group).node == node_.id) CountLeader(place);
      if (decommissioning()) CountReplica(place);
    }
    for (const std::string& obstacle : obstacles) {
      if (names.contains(obstacle.substr(0, obstacle.find(": ")))) Obstacle(obstacle);
    }
    JudgeMetadata();
    const bool led_away = out_.leaders_left() == unmovable_ && !leads_metadata_;
    out_.set_complete(decommissioning() ? out_.replicas_left() == 0 && !votes_on_metadata_ : led_away);
    out_.set_remaining_ms(-1);
    return out_;
  }

 private:
  bool decommissioning() const { return node_.mode == metadata::NodeMode::kDecommissioning; }

  void Obstacle(const std::string& text) {
    if (static_cast<size_t>(out_.obstacles_size()) < kObstaclesShownMax) out_.add_obstacles(text);
  }

  void CountLeader(const PartitionPlace& place) {
    out_.set_leaders_left(out_.leaders_left() + 1);
    const GroupDescription* group = FindGroup(view_, place.partition->group);
    if (place.partition->Existing().size() == 1) {
      ++unmovable_;
      if (!decommissioning()) Obstacle(NameOf(place) + ": it has no other replica");
    } else if (group == nullptr || HasHeir(*group, node_.id, view_.image)) {
      return;
    } else if (!decommissioning()) {
      Obstacle(NameOf(place) + ": no other replica that could lead is in sync");
    }
    out_.set_leaders_stuck(out_.leaders_stuck() + 1);
  }

  void CountReplica(const PartitionPlace& place) {
    out_.set_replicas_left(out_.replicas_left() + 1);
    const GroupDescription* group = FindGroup(view_, place.partition->group);
    const bool moving = place.partition->movement && !place.partition->WantedOn(node_.id).valid();
    uint64_t bytes = 0;
    if (group != nullptr) {
      bytes = moving ? CopyOf(*place.partition, *group).bytes_left : group->log_bytes();
    } else if (const auto size = sizes_.find(place.partition->group); size != sizes_.end()) {
      bytes = size->second;
    }
    out_.set_bytes_left(out_.bytes_left() + static_cast<int64_t>(bytes));
    if (view_.leaders.Of(place.partition->group).node.value() == 0) {
      Obstacle(NameOf(place) + ": it has no leader");
    } else if (moving && group != nullptr && !group->stalled().empty()) {
      Obstacle(NameOf(place) + ": " + group->stalled());
    }
  }

  void JudgeMetadata() {
    leads_metadata_ = view_.leaders.Of(metadata::kMetadataGroup).node == node_.id;
    if (view_.metadata_group) {
      for (const auto& replica : view_.metadata_group->replicas())
        votes_on_metadata_ |= replica.voter() && replica.node_id() == node_.id.value();
    }
    if (leads_metadata_) Obstacle("it still leads the metadata");
    if (decommissioning() && votes_on_metadata_ && out_.replicas_left() == 0) {
      Obstacle(
          "it still votes on the metadata; a node that is alive and has caught up takes its seat, and one that is dead and will not return "
          "has to be removed");
    }
  }

  const metadata::Node& node_;
  const NodeView& view_;
  const metadata::GroupSizes& sizes_;
  v1::Evacuation out_;
  int32_t unmovable_ = 0;
  bool leads_metadata_ = false;
  bool votes_on_metadata_ = false;
};

}  // namespace

v1::CheckSafeToStopResponse JudgeStop(NodeId node, const NodeView& view) {
  v1::CheckSafeToStopResponse response;
  int32_t unknown = 0;
  for (const PartitionPlace& place : PlacesOn(node, view.image)) {
    const GroupDescription* group = FindGroup(view, place.partition->group);
    if (view.leaders.Of(place.partition->group).node == node) response.set_leader_count(response.leader_count() + 1);
    if (group != nullptr && KeepsMajority(*group, node)) continue;
    unknown += group == nullptr ? 1 : 0;
    response.set_partitions_at_risk_count(response.partitions_at_risk_count() + 1);
    if (static_cast<size_t>(response.partitions_at_risk_size()) == kPartitionsShownMax) continue;
    *response.add_partitions_at_risk() = RefOf(place);
  }
  response.set_metadata_at_risk(!view.metadata_group || !KeepsMajority(*view.metadata_group, node));
  response.set_safe(response.partitions_at_risk_count() == 0 && !response.metadata_at_risk());
  std::string reason;
  const auto add = [&reason](const std::string& text) { reason += (reason.empty() ? "" : "; ") + text; };
  if (response.partitions_at_risk_count() > unknown) {
    add(std::to_string(response.partitions_at_risk_count() - unknown) + " of its partitions would have no majority in sync");
  }
  if (unknown > 0) add(std::to_string(unknown) + " of its partitions have no leader that answers");
  if (response.metadata_at_risk()) add("the metadata would have no majority in sync");
  response.set_reason(reason);
  return response;
}

v1::Evacuation DescribeEvacuation(const metadata::Node& node, const NodeView& view, const metadata::GroupSizes& sizes,
                                  const std::vector<std::string>& obstacles) {
  return EvacuationReport(node, view, sizes).Describe(obstacles);
}

}  // namespace flotilla::broker
