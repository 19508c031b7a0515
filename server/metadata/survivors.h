// Partitions whose majority is lost for good. Raft cannot help any more: whatever was acknowledged may be on
// the lost replicas alone. A person decides that one of those that are left goes on without them
// (SurvivorChosen); its node gives the replica its next life (raft: GoOnAlone), and the others are deleted
// wherever they come back. Afterwards the partition gets as many replicas as its topic wants, by itself.
#pragma once

#include <cstdint>
#include <vector>

#include "server/metadata/decision.h"
#include "server/metadata/topic_rules.h"

namespace flotilla::metadata {

struct ChooseSurvivor {
  TopicSelector topic;
  int64_t partition = 0;
  // The node whose replica is kept.
  NodeId keep;
  // The node that was asked for; none: whichever has the newest log, which need not be the same when a request is repeated.
  NodeId asked_for = {};
  // Replicas that were asked just now and are sound.
  std::vector<ReplicaId> sound;
  // Where the kept log ends, and up to where it is known to be committed.
  Offset end;
  Offset committed;
  RequestTag tag = {};
};
// NOT_INITIALIZED, TOPIC_NOT_FOUND, PARTITION_NOT_FOUND, NODE_NOT_FOUND, REPLICA_NOT_FOUND (none on the node, or
// not a sound one), QUORUM_ALIVE (the sound ones are a majority).
Result<Decision> DecideSurvivor(const ChooseSurvivor& request, const Image& image, const Context& context);

// One record for each partition that went on alone, has fewer replicas than its topic wants, and for which
// there are nodes; by group.
std::vector<Record> PlanRegrowth(const Image& image, const Context& context);

}  // namespace flotilla::metadata
