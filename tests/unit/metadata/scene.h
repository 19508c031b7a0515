// A cluster's metadata without a cluster: decisions are replayed as soon as they are made.
//
//   Scene scene;
//   scene.Found({.nodes = 3});
//   scene.Create("orders", {.partitions = 6});
//   scene.topic("orders").partitions[0]->replicas ...
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/metadata/founding.h"
#include "server/metadata/image_codec.h"
#include "server/metadata/membership.h"
#include "server/metadata/moves.h"
#include "server/metadata/node_changes.h"
#include "server/metadata/replay.h"
#include "server/metadata/topics.h"
#include "storage/base/random.h"

namespace flotilla::metadata {

// What a test's node says of itself: node 2 is "n2", at n2:9650 and n2:9651.
NodeDescription NodeCalled(uint64_t number, std::string rack = "");
Uuid UuidOf(uint64_t number);

struct FoundOptions {
  uint64_t nodes = 3;
  std::vector<std::string> racks = {};  // by turns
};
struct CreateOptions {
  std::optional<int64_t> partitions = {};
  std::optional<int64_t> replication_factor = {};
  std::map<std::string, std::string> configs = {};
  std::string request_id = "";
};

class Scene {
 public:
  explicit Scene(uint64_t seed = 1) : random_(seed) {}

  const Image& image() const { return *image_; }
  const Shared<Image>& shared() const { return image_; }
  // Everything that was replayed, in order.
  const std::vector<std::pair<LogIndex, Batch>>& log() const { return log_; }

  // Replays what was decided, and hands it on.
  Result<Decision> Do(Result<Decision> decided);
  void Replay(std::vector<Record> records);
  Context Draw();
  int64_t now_ms = 1'700'000'000'000;

  // --- what scenes are made of; they must succeed
  void Found(const FoundOptions& options);
  void Create(const std::string& name, const CreateOptions& options = {});
  void Delete(const std::string& name);
  void SetAlive(uint64_t node, bool alive);
  void SetMode(uint64_t node, NodeMode mode);
  void SetUnfit(uint64_t node, bool unfit);
  // Node `number` is new in the cluster; its id.
  NodeId Join(uint64_t number, std::string rack = "");
  // From "orders/0" off one node to another.
  void Move(const std::string& topic, uint32_t partition, uint64_t from, uint64_t to);
  // The group, or all groups, became what was asked for.
  void Settle(GroupId group);
  void SettleAll();
  // Replicas are where a scene wants them, settled: on these nodes, of which the first should lead.
  void Place(const std::string& topic, uint32_t partition, const std::vector<uint64_t>& nodes);

  // --- the same, for what may be refused
  Result<Decision> TryCreate(const std::string& name, const CreateOptions& options = {});
  Result<Decision> Register(const RegisterNode& request);

  const Topic& topic(const std::string& name) const;
  const Partition& partition(const std::string& topic, uint32_t number) const;

 private:
  Shared<Image> image_ = std::make_shared<const Image>();
  std::vector<std::pair<LogIndex, Batch>> log_;
  Random random_;
};

// "1,2,4.1 leader 1"; while it moves "1,2,4.1 leader 1 leaving 3 was 1,2,3 requested".
std::string Told(const Partition& partition);

// "TOPIC_EXISTS", "INVALID_ARGUMENT"; "OK".
std::string ReasonOf(const Status& status);
template <typename T>
std::string ReasonOf(const Result<T>& result) {
  return ReasonOf(result.status());
}
template <typename T>
std::string TextOf(const Result<T>& result) {
  return std::string(result.status().message());
}

}  // namespace flotilla::metadata
