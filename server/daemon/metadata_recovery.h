// `flotillad recover-metadata`: when a majority of the metadata's voters is lost for good, this stopped node goes on as the only one,
// with what it has of the metadata (raft: SurvivorTask). The others that are left follow it by themselves once it runs, if it is the one
// whose metadata is the newest; those that are lost must not come back with what they had.
#pragma once

#include <string>

#include "server/daemon/stopped_node.h"

namespace flotilla {

// Nothing was done: it wants to be told that data may be lost, or there is nothing to recover.
inline constexpr int kExitNotDone = 5;

struct MetadataRecoveryOptions {
  std::string directory;
  // Without: says what there is, and changes nothing.
  bool accept_data_loss = false;
};
// 0: the node may be started; 5: nothing was done; 1: it cannot be done (a node runs in it, it is in no cluster, it has no metadata);
// 65: its metadata is damaged. What was done is written into NODE, for those who look later.
int RecoverMetadata(const MetadataRecoveryOptions& options, const Talk& talk);

}  // namespace flotilla
