// Where replicas of new partitions go.
#include "server/metadata/placement.h"

#include <algorithm>
#include <set>

#include "server/metadata/limits.h"
#include "tests/unit/metadata/scene.h"

namespace flotilla::metadata {
namespace {

using ::testing::SizeIs;

// --- placement

std::vector<PlacementNode> Nodes(size_t count, const std::vector<std::string>& racks = {""}) {
  std::vector<PlacementNode> nodes;
  for (size_t i = 0; i < count; ++i) nodes.push_back({.id = NodeId{i + 1}, .rack = racks[i % racks.size()], .load = {}, .topic = {}});
  return nodes;
}

struct Spread {
  uint64_t least = ~uint64_t{0};
  uint64_t most = 0;
  void Add(uint64_t count) {
    least = std::min(least, count);
    most = std::max(most, count);
  }
  uint64_t gap() const { return most - least; }
};

struct Balance {
  Spread replicas;
  Spread leaders;
};
Balance BalanceOf(const Placement& placement, size_t nodes) {
  std::vector<uint64_t> replicas(nodes + 1), leaders(nodes + 1);
  for (const auto& partition : placement.partitions) {
    ++leaders[partition.front().value()];
    for (const NodeId node : partition) ++replicas[node.value()];
  }
  Balance balance;
  for (size_t i = 1; i <= nodes; ++i) {
    balance.replicas.Add(replicas[i]);
    balance.leaders.Add(leaders[i]);
  }
  return balance;
}

Placement Place(std::vector<PlacementNode> nodes, uint32_t partitions, uint32_t factor, uint64_t seed = 1) {
  return PlaceReplicas(
      std::move(nodes),
      {.partitions = partitions, .replication_factor = factor, .replicas_per_node_max = limits::kReplicasPerNodeMax, .seed = seed});
}

TEST(PlacementTest, ReplicasAndLeadersAreEvenForAnyNumberOfNodesAndPartitions) {
  for (size_t nodes = 3; nodes <= 9; ++nodes) {
    for (uint32_t partitions = 1; partitions <= 40; ++partitions) {
      const Balance balance = BalanceOf(Place(Nodes(nodes), partitions, 3, partitions), nodes);
      EXPECT_LE(balance.replicas.gap(), 1u) << nodes << " nodes, " << partitions << " partitions";
      EXPECT_LE(balance.leaders.gap(), 2u) << nodes << " nodes, " << partitions << " partitions";
    }
  }
}

TEST(PlacementTest, ReplicasOfAPartitionStandInDifferentRacks) {
  for (const auto& replicas : Place(Nodes(9, {"a", "b", "c"}), 50, 3).partitions) {
    std::set<uint64_t> racks;
    for (const NodeId node : replicas) racks.insert((node.value() - 1) % 3);
    EXPECT_THAT(racks, SizeIs(3));
  }
}

TEST(PlacementTest, WithFewerRacksThanReplicasEachRackHasOne) {
  for (const auto& replicas : Place(Nodes(6, {"a", "b"}), 50, 3).partitions) {
    std::set<uint64_t> racks;
    for (const NodeId node : replicas) racks.insert((node.value() - 1) % 2);
    EXPECT_THAT(racks, SizeIs(2));
  }
}

TEST(PlacementTest, TheSameSeedGivesTheSamePlaces) {
  EXPECT_EQ(Place(Nodes(7), 20, 3, 5).partitions, Place(Nodes(7), 20, 3, 5).partitions);
  EXPECT_NE(Place(Nodes(7), 20, 3, 5).partitions, Place(Nodes(7), 20, 3, 6).partitions);
}

TEST(PlacementTest, AnEmptyNodeTakesItsShareOfANewTopicNotAllOfIt) {
  std::vector<PlacementNode> nodes = Nodes(4);
  for (size_t i = 0; i < 3; ++i) nodes[i].load = {.replicas = 300, .preferred_leaders = 100};
  const Balance balance = BalanceOf(Place(nodes, 40, 3), 4);
  EXPECT_EQ(balance.replicas.gap(), 0u);
}

TEST(PlacementTest, ManySmallTopicsEvenOutWhatNodesCarry) {
  Scene scene;
  scene.Found({.nodes = 5});
  for (int i = 0; i < 100; ++i) scene.Create("t" + std::to_string(i), {.partitions = 1, .replication_factor = 3});
  Spread replicas;
  Spread leaders;
  for (uint64_t node = 1; node <= 5; ++node) {
    replicas.Add(scene.image().LoadOf(NodeId{node}).replicas);
    leaders.Add(scene.image().LoadOf(NodeId{node}).preferred_leaders);
  }
  EXPECT_LE(replicas.gap(), 1u);
  EXPECT_LE(leaders.gap(), 2u);
}

TEST(PlacementTest, DeadNodesGetNothing) {
  Scene scene;
  scene.Found({.nodes = 4});
  scene.SetAlive(2, false);
  scene.Create("orders", {.partitions = 12, .replication_factor = 3});
  EXPECT_EQ(scene.image().LoadOf(NodeId{2}).replicas, 0u);
}

TEST(PlacementTest, WhereThereIsNoRoomPlacementEnds) {
  std::vector<PlacementNode> nodes = Nodes(3);
  nodes[1].load.replicas = limits::kReplicasPerNodeMax - 2;
  EXPECT_THAT(Place(nodes, 10, 3).partitions, SizeIs(2));
}

}  // namespace
}  // namespace flotilla::metadata
