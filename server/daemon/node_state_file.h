// broker::NodeFile as the file NODE in the data directory.
//
//   file = "flotilla-node 1\n" crc32c-of-the-rest-in-8-hexadecimal-digits "\n" NodeState, serialized
#pragma once

#include <optional>
#include <string>

#include "server/broker/node_file.h"
#include "storage/rocks/rocks_store.h"

namespace flotilla {

// What the file in a data directory says; nothing: there is none. DATA_LOSS: it is damaged.
Result<std::optional<internal::v1::NodeState>> ReadNodeState(const std::string& directory);

class NodeStateFile final : public broker::NodeFile {
 public:
  // `store` is the one in `directory`: its identity gets the cluster's id, too. It outlives the calls.
  NodeStateFile(std::string directory, storage::RocksStore& store) : directory_(std::move(directory)), store_(store) {}

  Result<internal::v1::NodeState> Load() override;
  Status Save(const internal::v1::NodeState& state) override;

 private:
  Status MarkCluster(const internal::v1::NodeState& state);

  const std::string directory_;
  storage::RocksStore& store_;
};

}  // namespace flotilla
