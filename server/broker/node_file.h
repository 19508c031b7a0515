// What a node remembers of itself beside its logs. A file in the data directory; in the simulator, a part of the simulated disk.
#pragma once

#include "flotilla/internal/v1/node_state.pb.h"
#include "storage/base/status.h"

namespace flotilla::broker {

class NodeFile {
 public:
  virtual ~NodeFile() = default;
  // An empty state when nothing was ever saved. DATA_LOSS: it does not decode.
  virtual Result<internal::v1::NodeState> Load() = 0;
  // Durable once it returned OK; before, the old state is. Blocks: it is called a few times in the life of a node.
  virtual Status Save(const internal::v1::NodeState& state) = 0;
};

}  // namespace flotilla::broker
