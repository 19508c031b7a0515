// broker::NodeFile as the file NODE in the data directory.
//
//   file = "flotilla-node 1\n" crc32c-of-the-rest-in-8-hexadecimal-digits "\n" NodeState, serialized
#pragma once

#include <string>

#include "server/broker/node_file.h"
#include "storage/rocks/rocks_store.h"

namespace flotilla {

class NodeStateFile final : public broker::NodeFile {
 public:
  // `store` is the one in `directory`: its identity gets the cluster's id, too. It outlives the calls.
  NodeStateFile(std::string directory, storage::RocksStore& store) : path_(std::move(directory) + "/NODE"), store_(store) {}

  Result<internal::v1::NodeState> Load() override;
  Status Save(const internal::v1::NodeState& state) override;

 private:
  Status MarkCluster(const internal::v1::NodeState& state);

  const std::string path_;
  storage::RocksStore& store_;
};

}  // namespace flotilla
