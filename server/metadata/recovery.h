// The metadata after a majority of its voters was lost for good (flotillad recover-metadata): one node goes on with what it has, and what
// was decided without it is lost. Nodes that heard of it may still have replicas of partitions that nobody knows any more, and clients
// ids of producers. So the node, before it decides anything else, leaves out ids as if very many had been given.
#pragma once

#include <cstdint>
#include <optional>

#include "server/metadata/image.h"
#include "server/metadata/records.h"
#include "storage/base/ids.h"

namespace flotilla::metadata {

// Ids that are left out. More than a cluster gives while one of its voters does not hear of it.
inline constexpr uint64_t kNodesLeftOut = 100;
inline constexpr uint64_t kGroupsLeftOut = 1'000'000;
inline constexpr uint64_t kProducersLeftOut = 1'000'000'000;

// What a leader of the metadata has to write first; nothing: its replica never went on alone, or it is written. `self`: its replica.
std::optional<Record> PlanRecovery(const Image& image, ReplicaId self, int64_t now_ms);

}  // namespace flotilla::metadata
