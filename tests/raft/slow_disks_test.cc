// Elections over disks that are slow: a vote is durable before it is sent, so each costs writes, one after the other.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <ostream>
#include <vector>

#include "storage/base/random.h"
#include "tests/raft/cluster.h"

namespace flotilla::raft::scenario {
namespace {

constexpr uint32_t kElectionTicks = 20;
constexpr Tick kNeverElected = 100'000;

// A disk that always syncs something, and takes this many ticks each time. What comes meanwhile waits for the next sync.
struct SlowDisk {
  Tick sync_ends;
  size_t tasks = 0;  // that this sync makes durable
};

struct Scene {
  size_t voters;
  size_t dead;
  Tick sync_ticks;
  Tick elected_within;  // in each of many runs
};

std::ostream& operator<<(std::ostream& out, const Scene& scene) {
  return out << scene.voters << " voters, " << scene.dead << " of them dead, syncs of " << scene.sync_ticks << " ticks";
}

class Election {
 public:
  Election(const Scene& scene, uint64_t seed) : scene_(scene), cluster_([](const std::string&) {}) {
    CoreOptions& options = cluster_.options();
    options.election_ticks = kElectionTicks;
    options.heartbeat_ticks = 3;
    options.resend_ticks = 10;
    options.vote_resend_ticks = 2;
    Configuration members;
    // A replica's course depends on its id.
    for (size_t i = 0; i < scene.voters; ++i)
      members.voters.push_back({.node = NodeId(static_cast<uint32_t>(8 * seed + i)), .incarnation = 1});
    for (const ReplicaId& id : members.voters) cluster_.Create(id, members);
    Random random(seed);
    for (size_t i = scene.dead; i < scene.voters; ++i) {
      cluster_.Start(cluster_.At(members.voters[i]));
      disks_[members.voters[i]] = {.sync_ends = random.Below(scene.sync_ticks)};
    }
  }

  // Ticks until a leader knows that its first entry is committed.
  Tick Run() {
    for (Tick now = 0; now < kNeverElected; ++now) {
      for (auto& [id, disk] : disks_) cluster_.Tick1(cluster_.At(id));
      DeliverAll();
      for (auto& [id, disk] : disks_) {
        if (now >= disk.sync_ends) EndSync(cluster_.At(id), disk, now);
      }
      DeliverAll();
      const bool elected =
          std::any_of(disks_.begin(), disks_.end(), [&](const auto& row) { return cluster_.At(row.first).core->leads_surely(); });
      if (elected) return now;
    }
    return kNeverElected;
  }

 private:
  void DeliverAll() {
    while (!cluster_.pool().empty()) cluster_.Deliver(0);
  }

  void EndSync(Replica& replica, SlowDisk& disk, Tick now) {
    for (; disk.tasks > 0; --disk.tasks) cluster_.SyncOne(replica);
    disk = {.sync_ends = now + scene_.sync_ticks, .tasks = replica.disk.waiting()};
  }

  const Scene scene_;
  Cluster cluster_;
  std::map<ReplicaId, SlowDisk> disks_;
};

class SlowDisksTest : public testing::TestWithParam<Scene> {};

TEST_P(SlowDisksTest, SomebodyIsElected) {
  Tick longest = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) longest = std::max(longest, Election(GetParam(), seed).Run());
  EXPECT_LE(longest, GetParam().elected_within);
  RecordProperty("longest", static_cast<int>(longest));
}

// A sync as long as the election timeout, and twice as long: before timeouts grew, nobody was elected at all.
INSTANTIATE_TEST_SUITE_P(Raft, SlowDisksTest,
                         testing::Values(Scene{3, 0, 1, 100}, Scene{3, 1, 1, 100}, Scene{3, 1, 10, 200}, Scene{3, 0, 20, 500},
                                         Scene{3, 1, 20, 500}, Scene{5, 0, 20, 500}, Scene{5, 2, 20, 500}, Scene{3, 1, 40, 800},
                                         Scene{5, 2, 40, 800}));

}  // namespace
}  // namespace flotilla::raft::scenario
