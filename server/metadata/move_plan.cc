#include "server/metadata/move_plan.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "server/metadata/cluster_model.h"
#include "server/metadata/leader_spread.h"
#include "server/metadata/limits.h"

namespace flotilla::metadata {
namespace {

// Partitions of about the same size that are compared.
constexpr size_t kAlikeMax = 64;
// Obstacles of one node: enough to see what kind they are of.
constexpr size_t kObstaclesPerNodeMax = 10;

class Planner {
 public:
  using NodeRow = ClusterModel::NodeRow;
  using PartitionRow = ClusterModel::PartitionRow;

  Planner(const Image& image, const GroupSizes& sizes, const MovePlanOptions& options, bool settles_at_once)
      : image_(image),
        options_(options),
        model_(image, sizes, {.replica_cost_bytes = options.replica_cost_bytes, .settles_at_once = settles_at_once}),
        fruitless_(model_.nodes().size() * model_.nodes().size()),
        running_(settles_at_once ? 0 : image.moving.size()) {
    CHECK_GT(options.replica_cost_bytes, 0u) << "moves of nothing would have no end";
  }

  MovePlan TakePlan(bool even = true) {
    plan_.even = even;
    return std::move(plan_);
  }
  bool MovesForBalance() const {
    return std::any_of(plan_.moves.begin(), plan_.moves.end(), [](const PlannedMove& move) { return move.cause == MoveCause::kBalance; });
  }
  bool ChangesLeaders() const { return !plan_.leaders.empty(); }

  // Moves under way that wait for a place that is lost get another one. On the way back every place may be such a one: who was to be
  // left may have died meanwhile, and nobody can call that off.
  void Replace() {
    image_.moving.ForEach([&](GroupId group, MoveCause cause) {
      const size_t number = model_.PartitionOf(group);
      const PartitionRow& row = model_.partitions()[number];
      std::vector<ReplicaId> awaited = row.partition->NewReplicas();
      const bool back = awaited.empty();
      // One from before the move may have left the group already, and be awaited like a new one: on a node that was removed it
      // never comes.
      for (const ReplicaId& replica : row.partition->replicas) {
        const Node& node = *nodes()[model_.NodeOf(replica.node)].node;
        const bool gone = !node.alive && node.mode == NodeMode::kDecommissioning;
        const bool fresh = std::find(awaited.begin(), awaited.end(), replica) != awaited.end();
        if (!fresh && (back || gone)) awaited.push_back(replica);
      }
      for (const ReplicaId& replica : awaited) {
        const size_t lost = model_.NodeOf(replica.node);
        if (!IsLost(*nodes()[lost].node, cause)) continue;
        const std::optional<size_t> to = BestPlace(row, lost);
        if (!to || Busy(*to)) continue;
        Plan({number, lost, *to}, IsGoing(lost) ? MoveCause::kDecommission : cause);
        return;
      }
    });
  }

  // Off nodes that are being decommissioned.
  void Evacuate() {
    std::vector<size_t> going;
    for (size_t node = 0; node < nodes().size(); ++node) {
      if (IsGoing(node)) going.push_back(node);
    }
    std::stable_sort(going.begin(), going.end(), [&](size_t a, size_t b) { return !nodes()[a].node->alive && nodes()[b].node->alive; });
    for (const size_t node : going) Evacuate(node);
  }

  // Towards what is even. False: there are moves to come.
  bool Balance() {
    while (const std::optional<ReplicaMove> move = NextMove(true)) Plan(*move, MoveCause::kBalance);
    return !NextMove(false);
  }

  void SpreadLeadersNow() { plan_.leaders = SpreadLeaders(model_); }
  // Whose leader would be another one when all is done.
  void CompareLeaders() {
    plan_.leaders.clear();
    std::map<GroupId, NodeId> preferred;
    for (const PartitionRow& row : model_.partitions()) preferred[row.partition->group] = nodes()[row.preferred].node->id;
    for (const PlannedLeader& change : SpreadLeaders(model_)) preferred[change.group] = change.preferred;
    for (const PartitionRow& row : model_.partitions()) {
      const NodeId leader = preferred.at(row.partition->group);
      if (leader != row.partition->preferred_leader) plan_.leaders.push_back({row.partition->group, leader});
    }
  }

  void ForgetMoves() { plan_.moves.clear(); }

 private:
  const std::vector<NodeRow>& nodes() const { return model_.nodes(); }

  bool IsGoing(size_t node) const { return nodes()[node].node->mode == NodeMode::kDecommissioning; }
  bool Busy(size_t node) const { return nodes()[node].receiving >= options_.running_per_node_max; }
  bool IsLost(const Node& node, MoveCause cause) const {
    if (node.mode == NodeMode::kDecommissioning) return true;
    const bool asked_for = cause != MoveCause::kDecommission && cause != MoveCause::kBalance;
    return !asked_for && !node.alive && node.liveness_changed_at_ms <= options_.now_ms - options_.abandon_after_ms;
  }

  void Plan(const ReplicaMove& move, MoveCause cause) {
    const PartitionRow& row = model_.partitions()[move.partition];
    if (row.settled) ++running_;
    plan_.moves.push_back({.group = row.partition->group,
                           .from = nodes()[move.from].node->id,
                           .to = nodes()[move.to].node->id,
                           .cause = cause,
                           .bytes = row.LeavesFrom(move.to) ? 0 : row.bytes});
    model_.Move(move);
  }

  bool HasRoom(const PartitionRow& row, size_t node) const {
    return row.LeavesFrom(node) || nodes()[node].replicas < limits::kReplicasPerNodeMax;
  }

  // 0: the replica is there still, so that going back costs nothing. 2: somebody asked to have it off that
  // node.
  static int WayBack(const PartitionRow& row, size_t node) {
    if (!row.LeavesFrom(node)) return 1;
    const std::optional<Movement>& movement = row.partition->movement;
    return movement && movement->cause == MoveCause::kRequested ? 2 : 0;
  }

  // Where the replica on `from` had better be. The place may be busy: one that is worse is not taken for it.
  std::optional<size_t> BestPlace(const PartitionRow& row, size_t from) const {
    const auto rank = [&](size_t node) {
      return std::tuple(model_.Crowd(row, node, from), WayBack(row, node), Busy(node), model_.TopicReplicas(row, node),
                        nodes()[node].weight, node);
    };
    std::optional<size_t> best;
    for (size_t node = 0; node < nodes().size(); ++node) {
      if (!nodes()[node].node->takes_replicas() || row.WantedOn(node) || !HasRoom(row, node)) continue;
      if (!best || rank(node) < rank(*best)) best = node;
    }
    return best;
  }

  // --- evacuation

  void Evacuate(size_t from) {
    std::vector<std::string> obstacles;
    image_.ForEachReplicaOn(nodes()[from].node->id, [&](GroupId group, const ReplicaId&) {
      const size_t number = model_.PartitionOf(group);
      const std::string obstacle = EvacuateOne(number, from);
      if (!obstacle.empty() && obstacles.size() < kObstaclesPerNodeMax)
        obstacles.push_back(model_.partitions()[number].name() + ": " + obstacle);
    });
    std::move(obstacles.begin(), obstacles.end(), std::back_inserter(plan_.obstacles));
  }

  // Why it cannot be done, if it cannot.
  std::string EvacuateOne(size_t number, size_t from) {
    const PartitionRow& row = model_.partitions()[number];
    if (!row.decides) return "no majority of its replicas is alive";
    if (!row.settled) return WaitsFor(*row.partition);
    const std::optional<size_t> to = BestPlace(row, from);
    if (!to) return WhyNoPlace(row);
    if (running_ < options_.running_max && !Busy(*to)) Plan({number, from, *to}, MoveCause::kDecommission);
    return "";
  }

  std::string WaitsFor(const Partition& partition) const {
    for (const ReplicaId& replica : partition.NewReplicas()) {
      if (!image_.FindNode(replica.node)->alive)
        return "it is being moved to node " + std::to_string(replica.node.value()) + ", which is dead";
    }
    return "";
  }

  std::string WhyNoPlace(const PartitionRow& row) const {
    const bool full = std::any_of(nodes().begin(), nodes().end(), [&](const NodeRow& node) {
      return node.node->takes_replicas() && !row.partition->WantedOn(node.node->id).valid();
    });
    if (full) {
      return "no other node has room; a node holds at most " + std::to_string(limits::kReplicasPerNodeMax) + " replicas";
    }
    return "every other node is dead, is being decommissioned or has a replica of it; add or start one";
  }

  // --- balance

  std::optional<ReplicaMove> NextMove(bool now) {
    if (now && running_ >= options_.running_max) return std::nullopt;
    if (std::optional<ReplicaMove> move = NextOutOfCrowd(now)) return move;
    return NextToLighter(now);
  }

  // Balancing is between nodes in use: a dead one has its replicas elsewhere, too, and may come back.
  bool Gives(const PartitionRow& row, size_t node) const { return row.settled && row.decides && nodes()[node].node->takes_replicas(); }
  bool Takes(const PartitionRow& row, size_t node, bool now) const {
    return nodes()[node].node->takes_replicas() && !row.WantedOn(node) && HasRoom(row, node) && !(now && Busy(node));
  }

  // A replica that shares its rack with another one, to a rack with fewer of them. Partitions are looked at
  // once, in their order: no other move makes a crowd.
  std::optional<ReplicaMove> NextOutOfCrowd(bool now) {
    if (!model_.has_racks()) return std::nullopt;
    size_t& number = now ? crowds_now_ : crowds_ever_;
    for (; number < model_.partitions().size(); ++number) {
      if (const std::optional<ReplicaMove> move = OutOfCrowd(number, now)) return move;
    }
    return std::nullopt;
  }
  std::optional<ReplicaMove> OutOfCrowd(size_t number, bool now) const {
    const PartitionRow& row = model_.partitions()[number];
    for (const size_t from : row.wanted) {
      const size_t crowd = model_.Crowd(row, from, from);
      if (crowd == 0 || !Gives(row, from)) continue;
      std::optional<size_t> best;
      const auto rank = [&](size_t node) {
        return std::tuple(model_.Crowd(row, node, from), model_.TopicReplicas(row, node), nodes()[node].weight, node);
      };
      for (size_t to = 0; to < nodes().size(); ++to) {
        if (!Takes(row, to, now) || model_.Crowd(row, to, from) >= crowd) continue;
        if (!best || rank(to) < rank(*best)) best = to;
      }
      if (best) return ReplicaMove{number, from, *best};
    }
    return std::nullopt;
  }

  // From a heavy node to a light one. Each such move lowers the sum of the squares of the weights, so that
  // there is an end to them.
  std::optional<ReplicaMove> NextToLighter(bool now) {
    std::vector<size_t> by_weight;
    for (size_t node = 0; node < nodes().size(); ++node) {
      if (nodes()[node].node->takes_replicas()) by_weight.push_back(node);
    }
    std::stable_sort(by_weight.begin(), by_weight.end(), [&](size_t a, size_t b) { return nodes()[a].weight < nodes()[b].weight; });
    for (auto from = by_weight.rbegin(); from != by_weight.rend(); ++from) {
      for (const size_t to : by_weight) {
        const uint64_t gap = nodes()[*from].weight - std::min(nodes()[*from].weight, nodes()[to].weight);
        if (!Narrows(options_.replica_cost_bytes, gap)) break;
        if (now && Busy(to)) continue;
        if (const std::optional<size_t> best = BestOf(*from, to, gap)) return ReplicaMove{*best, *from, to};
      }
    }
    return std::nullopt;
  }

  // Two thirds of a gap at most: what is moved makes it smaller by a half of that at least, and nothing is
  // moved to and fro because it grew a little.
  static bool Narrows(uint64_t weight, uint64_t gap) { return weight <= gap / 3 * 2 + gap % 3 * 2 / 3; }

  // Large ones first: fewer moves. Of some that are about as large one of a topic that has many on `from`.
  std::optional<size_t> BestOf(size_t from, size_t to, uint64_t gap) {
    // What was in vain stays so until something changes there, or the gap is larger.
    Fruitless& fruitless = fruitless_[from * nodes().size() + to];
    if (gap <= fruitless.gap && nodes()[from].touched <= fruitless.moves) return std::nullopt;
    const auto skew = [&](const PartitionRow& row) {
      return int64_t{model_.TopicReplicas(row, from)} - int64_t{model_.TopicReplicas(row, to)};
    };
    const std::vector<size_t>& partitions = nodes()[from].partitions;
    const auto first = std::partition_point(partitions.begin(), partitions.end(),
                                            [&](size_t number) { return !Narrows(model_.partitions()[number].weight, gap); });
    const PartitionRow* best = nullptr;
    size_t best_number = 0;
    size_t seen = 0;
    for (auto at = first; at != partitions.end() && seen < kAlikeMax; ++at) {
      const PartitionRow& row = model_.partitions()[*at];
      if (best != nullptr && std::bit_width(row.weight) < std::bit_width(best->weight)) break;
      if (!Gives(row, from) || !Takes(row, to, false)) continue;
      if (model_.Crowd(row, to, from) > model_.Crowd(row, from, from)) continue;
      ++seen;
      if (best != nullptr && skew(row) <= skew(*best)) continue;
      best = &row;
      best_number = *at;
    }
    if (best != nullptr) return best_number;
    const bool looked_at_all = first == partitions.begin();
    fruitless = {.gap = looked_at_all ? std::numeric_limits<uint64_t>::max() : gap, .moves = model_.moves()};
    return std::nullopt;
  }

  // A pair of nodes between which nothing could move.
  struct Fruitless {
    uint64_t gap = 0;    // up to such a one
    uint64_t moves = 0;  // as of how many moves
  };

  const Image& image_;
  const MovePlanOptions options_;
  ClusterModel model_;
  std::vector<Fruitless> fruitless_;  // by source and target
  size_t crowds_now_ = 0;
  size_t crowds_ever_ = 0;
  size_t running_;
  MovePlan plan_;
};

bool Decommissions(const Image& image) { return image.NodesInUse() < image.nodes.size(); }

bool MovesForBalance(const Image& image) {
  bool moves = false;
  image.moving.ForEach([&](GroupId, MoveCause cause) { moves |= cause == MoveCause::kBalance; });
  return moves;
}

}  // namespace

MovePlan PlanMoves(const Image& image, const GroupSizes& sizes, const MovePlanOptions& options) {
  if (image.moving.empty() && !image.balancing && !Decommissions(image)) return {};
  Planner planner(image, sizes, options, false);
  planner.Replace();
  planner.Evacuate();
  if (!image.balancing) return planner.TakePlan();
  if (!options.balances || !planner.Balance() || planner.MovesForBalance() || MovesForBalance(image)) return planner.TakePlan(false);
  planner.SpreadLeadersNow();
  return planner.TakePlan(!planner.ChangesLeaders());
}

MovePlan PlanBalance(const Image& image, const GroupSizes& sizes, const MovePlanOptions& options) {
  MovePlanOptions unlimited = options;
  unlimited.running_max = std::numeric_limits<size_t>::max();
  unlimited.running_per_node_max = std::numeric_limits<size_t>::max();
  Planner planner(image, sizes, unlimited, true);
  planner.Evacuate();
  planner.ForgetMoves();
  planner.Balance();
  planner.CompareLeaders();
  return planner.TakePlan(!planner.MovesForBalance() && !planner.ChangesLeaders());
}

}  // namespace flotilla::metadata
