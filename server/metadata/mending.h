// Moves with a replica that is damaged: it has stopped, would never catch up, and nobody can ask for it to be
// rebuilt while its partition moves. So that is done by itself. Pure; the metadata leader asks every second
// and proposes what comes out.
//
//   std::vector<Record> records = PlanMending(image, damaged, {.now_ms = ...});
//
// A damaged replica that is new, or is to come back because the move was called off, is built anew on the
// same node, under a new incarnation, when the others are a sound majority of the wanted replicas, and of
// those from before the move: what RebuildReplica asks for, too. The group can go on whatever its
// configuration is at that moment, and of what a majority has at least one copy is left besides the one that
// goes. Otherwise the damaged one may be the only one that votes (a partition with one replica), and must not
// be deleted: the move is called off, if there is a way back. One that votes since before the move does not
// hold it up, and waits for somebody to ask.
#pragma once

#include <compare>
#include <cstdint>
#include <set>
#include <vector>

#include "server/metadata/image.h"
#include "server/metadata/records.h"

namespace flotilla::metadata {

// A replica that says of itself that what it has on its disk is damaged.
struct DamagedReplica {
  GroupId group;
  ReplicaId replica;
  auto operator<=>(const DamagedReplica&) const = default;
};

struct MendOptions {
  int64_t now_ms = 0;
  // A partition's replicas are not built anew twice within this time: a disk that damages all it gets would
  // be written to without end. By the clocks of metadata leaders.
  int64_t pause_ms = 10'000;
};

// One record for each partition, by group.
std::vector<Record> PlanMending(const Image& image, const std::set<DamagedReplica>& damaged, const MendOptions& options);

}  // namespace flotilla::metadata
