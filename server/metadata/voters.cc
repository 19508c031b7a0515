#include "server/metadata/voters.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "server/metadata/founding.h"

namespace flotilla::metadata {
namespace {

class Seats {
 public:
  Seats(const Image& image, const raft::Configuration& configuration, const LearnerSight& learners)
      : image_(image), configuration_(configuration) {
    for (const ReplicaId& voter : configuration.voters) {
      if (InUse(voter.node)) voters_.push_back(voter);
    }
    for (const ReplicaId& learner : configuration.learners) {
      if (!InUse(learner.node) || !Lives(learner.node)) continue;
      if (learners.caught_up.contains(learner.node)) {
        candidates_.push_back(learner);
      } else if (!learners.stuck.contains(learner.node)) {
        late_.push_back(learner);
      }
    }
  }

  raft::MembershipChange Plan() {
    FillSeats();
    if (voters_.size() == configuration_.voters.size()) SpreadOverRacks();
    if (MayChange()) {
      for (const ReplicaId& id : voters_) {
        if (!Holds(configuration_.voters, id)) change_.promote.push_back(id);
      }
      for (const ReplicaId& id : configuration_.voters) {
        if (Holds(voters_, id)) continue;
        (image_.FindNode(id.node) == nullptr ? change_.remove : change_.demote).push_back(id);
      }
    }
    for (const ReplicaId& id : configuration_.learners) {
      if (image_.FindNode(id.node) == nullptr) change_.remove.push_back(id);
    }
    for (const Node* node : image_.LivingNodes()) {
      const std::vector<ReplicaId> members = configuration_.Replicas();
      const bool member = std::any_of(members.begin(), members.end(), [&](const ReplicaId& id) { return id.node == node->id; });
      if (!member) change_.add_learners.push_back({node->id, 0});
    }
    return change_;
  }

 private:
  static bool Holds(const std::vector<ReplicaId>& ids, ReplicaId id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }
  bool InUse(NodeId id) const {
    const Node* node = image_.FindNode(id);
    return node != nullptr && node->mode != NodeMode::kDecommissioning;
  }
  bool Lives(NodeId id) const {
    const Node* node = image_.FindNode(id);
    return node != nullptr && node->alive;
  }

  // Voters that share the rack of `node`.
  size_t Crowd(NodeId node) const {
    const std::string& rack = image_.FindNode(node)->description.rack;
    if (rack.empty()) return 0;
    return static_cast<size_t>(std::count_if(voters_.begin(), voters_.end(), [&](const ReplicaId& voter) {
      return voter.node != node && image_.FindNode(voter.node)->description.rack == rack;
    }));
  }
  // In the emptiest rack; of several the lowest id.
  std::optional<ReplicaId> BestCandidate() const {
    const auto best = std::min_element(candidates_.begin(), candidates_.end(), [&](const ReplicaId& a, const ReplicaId& b) {
      return std::tuple(Crowd(a.node), a.node) < std::tuple(Crowd(b.node), b.node);
    });
    return best == candidates_.end() ? std::nullopt : std::optional(*best);
  }

  void FillSeats() {
    const size_t seats = MetadataVoterCount(image_.NodesInUse());
    while (voters_.size() < seats) {
      const std::optional<ReplicaId> candidate = BestCandidate();
      if (!candidate) break;
      std::erase(candidates_, *candidate);
      voters_.push_back(*candidate);
    }
    // One more than before that makes their number even adds no safety: it waits for another one.
    if (voters_.size() > configuration_.voters.size() && voters_.size() % 2 == 0) voters_.pop_back();
  }

  // One seat at a time, from the fullest rack, when the other one stays emptier even so. The dead keep
  // theirs.
  void SpreadOverRacks() {
    const std::optional<ReplicaId> candidate = BestCandidate();
    std::optional<ReplicaId> fullest;
    for (const ReplicaId& voter : voters_) {
      if (Lives(voter.node) && (!fullest || Crowd(voter.node) >= Crowd(fullest->node))) fullest = voter;
    }
    if (!candidate || !fullest || Crowd(fullest->node) <= Crowd(candidate->node)) return;
    std::replace(voters_.begin(), voters_.end(), *fullest, *candidate);
  }

  // Whether the voters may be those that are planned.
  bool MayChange() const {
    const bool seat_is_lost = voters_.size() < configuration_.voters.size();
    const bool heir_is_late =
        seat_is_lost && (!late_.empty() || HasNewcomer() || WaitsForTheDead()) && voters_.size() < MetadataVoterCount(image_.NodesInUse());
    const auto living =
        static_cast<size_t>(std::count_if(voters_.begin(), voters_.end(), [&](const ReplicaId& id) { return Lives(id.node); }));
    return !heir_is_late && 2 * living > voters_.size();
  }
  // A living node in use that does not even learn yet.
  bool HasNewcomer() const {
    const std::vector<ReplicaId> members = configuration_.Replicas();
    const std::vector<const Node*> living = image_.LivingNodes();
    return std::any_of(living.begin(), living.end(), [&](const Node* node) {
      return InUse(node->id) && std::none_of(members.begin(), members.end(), [&](const ReplicaId& id) { return id.node == node->id; });
    });
  }
  // Two voters are lost with either of them: rather than that, a seat waits for a dead node that may return. Who knows that it does not
  // removes it.
  bool WaitsForTheDead() const {
    if (voters_.size() != 2 || configuration_.voters.size() < 3) return false;
    bool found = false;
    image_.nodes.ForEach([&](NodeId node, const Shared<Node>&) {
      found |=
          InUse(node) && !Lives(node) && std::none_of(voters_.begin(), voters_.end(), [&](const ReplicaId& id) { return id.node == node; });
    });
    return found;
  }

  const Image& image_;
  const raft::Configuration& configuration_;
  std::vector<ReplicaId> voters_;      // as they should be
  std::vector<ReplicaId> candidates_;  // learners that may vote
  std::vector<ReplicaId> late_;        // learners that come along, and may vote once they have caught up
  raft::MembershipChange change_;
};

}  // namespace

void LearnerWatch::Look(const std::vector<MetadataLearner>& learners, raft::Tick now) {
  std::map<NodeId, Row> before = std::exchange(late_, {});
  sight_ = {};
  for (const MetadataLearner& learner : learners) {
    if (learner.caught_up) {
      sight_.caught_up.insert(learner.node);
      continue;
    }
    const auto known = before.find(learner.node);
    const bool moved = known == before.end() || known->second.match != learner.match;
    const Row row = moved ? Row{.match = learner.match, .moved_at = now} : known->second;
    late_.emplace(learner.node, row);
    if (now >= row.moved_at + kStuckTicks) sight_.stuck.insert(learner.node);
  }
}

raft::MembershipChange PlanVoters(const Image& image, const raft::Configuration& configuration, const LearnerSight& learners) {
  if (configuration.joint() || configuration.empty()) return {};
  return Seats(image, configuration, learners).Plan();
}

}  // namespace flotilla::metadata
