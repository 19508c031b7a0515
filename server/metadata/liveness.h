// Which nodes live, as the leader of group 0 hears of them. What it concludes becomes a record, so that
// everyone sees the same.
//
//   tracker.Begin();                                  // leads since now: silence before means nothing
//   tracker.Heard(node, now);                         // a report came
//   propose(tracker.Conclude(image, now, wall_ms));   // nodes that failed or returned since the image
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "raft/core/raft_core.h"
#include "server/metadata/image.h"
#include "server/metadata/records.h"

namespace flotilla::metadata {

struct LivenessOptions {
  // Silence for so long is a failure: 6 s of 50 ms. Six reports may be lost; partitions do not wait for this
  // to elect leaders.
  raft::Tick failure_ticks = 120;
};

class LivenessTracker {
 public:
  explicit LivenessTracker(const LivenessOptions& options) : options_(options) {}

  // A new leader knows nothing: every node has the whole timeout to be heard.
  void Begin();
  void Heard(NodeId node, raft::Tick now);
  // Records for the nodes whose state differs from the image's, by id. Those that are proposed are in the
  // next image that is passed.
  std::vector<Record> Conclude(const Image& image, raft::Tick now, int64_t now_ms);
  // Records for those that count as alive and were not heard of since Begin: after a recovery most of them are lost, and nothing new may
  // be given to nodes that nobody has seen.
  std::vector<Record> FailUnheard(const Image& image, int64_t now_ms) const;
  // When the node was heard of since Begin; nothing if it was not.
  std::optional<raft::Tick> LastHeard(NodeId node) const;

 private:
  struct Seen {
    raft::Tick at = 0;  // heard, or first known of
    bool heard = false;
  };

  const LivenessOptions options_;
  std::map<NodeId, Seen> seen_;
};

}  // namespace flotilla::metadata
