// What clients know: what they asked for, what they were told, and what they saw; and the rules that follow from it. In the names of
// Jepsen's Kafka workload: lost write, aborted read, divergent value, duplicate, poll skip, non-monotonic poll, and ours.
//
//   uint64_t record = ledger.NewRecord({.topic = id, .producer = 7, .sequence = 3, .durable = true});
//   ledger.Attempt(record);                      // sent
//   ledger.Appended(record, 2, 17);              // ... and answered: partition 2, offset 17
//   ledger.Saw(topic, 2, 17, record, "fetch");   // somebody read it
//
// Rules that can be judged at once are; the rest is judged when everything was read at the end (CheckEnd).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/tally.h"
#include "tests/sim/verdict.h"

namespace flotilla::sim::broker {

using PartitionName = std::pair<std::string, int32_t>;  // topic id, number

struct RecordFate {
  std::string topic;      // its id
  uint64_t producer = 0;  // whose; orders by sequence when `ordered`
  uint64_t sequence = 0;
  bool ordered = false;  // idempotent
  bool durable = false;  // acks QUORUM
  // What is known.
  uint32_t open = 0;                                        // attempts without an answer
  bool unknown = false;                                     // an attempt of which nothing is known
  bool refused = false;                                     // an attempt that certainly did nothing
  std::optional<std::pair<int32_t, int64_t>> acknowledged;  // partition, offset
  std::optional<std::pair<int32_t, int64_t>> seen;
};

struct TopicFacts {
  std::string name;
  std::string id;  // empty: nobody was told
  int32_t partitions = 0;
  int32_t replicas = 3;
  bool create_unknown = false;
  bool created = false;
  bool refused = false;
  bool delete_asked = false;
  bool deleted = false;
  int32_t partitions_asked = 0;  // at most so many
  // Of the metadata: a node that has it knows the topic; it knows of `partitions`.
  int64_t made_in_version = 0;
  int64_t grown_in_version = 0;
};

// Learns of each offset of which it became known what stands there for good: it was acknowledged durably, or read.
class KnownRecordSink {
 public:
  virtual ~KnownRecordSink() = default;
  virtual void OnKnown(const PartitionName& partition, int64_t offset, uint64_t record, const char* how) = 0;
};

class Ledger {
 public:
  // `known` may be null.
  Ledger(Verdict& verdict, Tally& tally, KnownRecordSink* known = nullptr) : verdict_(verdict), tally_(tally), known_(known) {
    records_.emplace_back();
  }

  // --- records; numbers from 1
  uint64_t NewRecord(RecordFate fate);
  const RecordFate& fate(uint64_t record) const { return records_.at(record); }
  size_t records() const { return records_.size() - 1; }
  void Attempt(uint64_t record) { ++records_[record].open; }
  void Appended(uint64_t record, int32_t partition, int64_t offset, bool deduplicated);
  // Taken, with acks NONE.
  void Taken(uint64_t record);
  void Refused(uint64_t record);
  void Unknown(uint64_t record);
  // A record was read; 0: it is none of ours.
  void Saw(const PartitionName& partition, int64_t offset, uint64_t record, const char* how);

  // --- partitions
  void TrimAsked(const PartitionName& partition, int64_t before);
  void Trimmed(const PartitionName& partition, int64_t log_start);
  int64_t trim_asked(const PartitionName& partition) const { return At(trim_asked_, partition); }
  // Lower bounds of what a look that begins now may answer.
  struct Floor {
    int64_t log_start = 0;
    int64_t end = 0;
  };
  Floor FloorOf(const PartitionName& partition) const;
  // Records by offset that were acknowledged durably, or read.
  const std::map<int64_t, uint64_t>& Known(const PartitionName& partition) { return truth_[partition]; }
  void Listed(const PartitionName& partition, const Floor& floor, int64_t log_start, int64_t end);

  // --- producers
  // An id was given to a new producer.
  void Given(int64_t producer_id);

  // --- topics
  std::map<std::string, TopicFacts>& topics() { return topics_; }  // by name
  TopicFacts* TopicById(const std::string& id);
  // Known to exist, and nobody asked to delete it.
  bool SurelyThere(const std::string& id);
  std::vector<TopicFacts*> LiveTopics();

  // --- the end: everything that the partition holds was read
  struct Contents {
    int64_t log_start = 0;
    int64_t end = 0;
    std::vector<uint64_t> records;  // from log_start on
  };
  void CheckEnd(const PartitionName& partition, const Contents& contents);
  void CheckFates();

 private:
  template <typename Map>
  static int64_t At(const Map& map, const PartitionName& key) {
    const auto found = map.find(key);
    return found == map.end() ? 0 : found->second;
  }
  std::string Name(const PartitionName& partition, int64_t offset);

  Verdict& verdict_;
  Tally& tally_;
  KnownRecordSink* const known_;
  std::vector<RecordFate> records_;
  std::map<std::string, TopicFacts> topics_;
  std::map<PartitionName, std::map<int64_t, uint64_t>> truth_;  // by offset: what was read, or acknowledged durably
  std::map<PartitionName, int64_t> trim_asked_;
  std::map<PartitionName, int64_t> trimmed_;
  std::map<PartitionName, int64_t> end_known_;
  std::set<int64_t> producer_ids_;
};

}  // namespace flotilla::sim::broker
