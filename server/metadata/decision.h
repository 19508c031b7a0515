// What every decider shares: what it may look at beside request and image, and what it returns.
//
//   Result<Decision> decided = DecideTopicCreation(request, image, context);
//   if (decided.ok()) propose(decided->records);
//
// Deciders are pure: no clock, no chance, no I/O. The records of a decision go into one entry, or nowhere.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/errors/refusal.h"
#include "server/metadata/image.h"
#include "server/metadata/records.h"

namespace flotilla::metadata {

// Time and chance of one decision, drawn by whoever asks for it.
struct Context {
  int64_t now_ms = 0;
  Uuid fresh_id;      // names what is created, if anything
  uint64_t seed = 0;  // breaks ties of placement
};

// What is told to the caller once the records are applied.
struct Outcome {
  Uuid cluster;
  NodeId node;
  Uuid topic;
  uint64_t config_version = 0;
  // A producer, and how many partitions the topic has that it is going to write; 0: none was named.
  uint64_t producer_id = 0;
  uint32_t producer_epoch = 0;
  uint32_t partition_count = 0;
  // Ids of producers for a node to hand out.
  uint64_t producer_ids_first = 0;
  uint32_t producer_ids_count = 0;
  // The cluster's, before and after.
  uint32_t feature_level_before = 0;
  uint32_t feature_level = 0;
  // Nothing was done now: this very request was carried out before, or the state was as asked for.
  bool repeated = false;
  bool operator==(const Outcome&) const = default;
};

struct Decision {
  // In order. None: there is nothing to do.
  std::vector<Record> records;
  Outcome outcome;
};

// What any change may carry.
struct RequestTag {
  // The caller's name for the request; a repetition under the same name is answered, not done again. Empty:
  // none.
  std::string request_id;
  // Everything is checked and nothing is done.
  bool validate_only = false;
};

}  // namespace flotilla::metadata
