#include "tests/sim/broker/ledger.h"

#include <algorithm>

namespace flotilla::sim::broker {

std::string Ledger::Name(const PartitionName& partition, int64_t offset) {
  const TopicFacts* topic = TopicById(partition.first);
  return (topic == nullptr ? partition.first : topic->name) + "/" + std::to_string(partition.second) + " offset " + std::to_string(offset);
}

uint64_t Ledger::NewRecord(RecordFate fate) {
  records_.push_back(std::move(fate));
  return records_.size() - 1;
}

void Ledger::Appended(uint64_t record, int32_t partition, int64_t offset, bool deduplicated) {
  RecordFate& fate = records_[record];
  --fate.open;
  const std::pair<int32_t, int64_t> place(partition, offset);
  const PartitionName name(fate.topic, partition);
  if (deduplicated) tally_.Add("append deduplicated");
  tally_.Add("append acknowledged");
  if (fate.acknowledged && *fate.acknowledged != place && fate.durable) {
    verdict_.Violated("an acknowledged record stays where it is", "record ", record, " was acknowledged at ",
                      Name({fate.topic, fate.acknowledged->first}, fate.acknowledged->second), " and then at ", Name(name, offset));
  }
  fate.acknowledged = place;
  if (!fate.durable) return;
  const auto [at, added] = truth_[name].emplace(offset, record);
  if (!added && at->second != record) {
    verdict_.Violated("divergent value", Name(name, offset), " was record ", at->second, ", and is acknowledged for record ", record);
  }
  if (added && known_ != nullptr) known_->OnKnown(name, offset, record, "acknowledged");
  int64_t& end = end_known_[name];
  end = std::max(end, offset + 1);
}

void Ledger::Taken(uint64_t record) {
  RecordFate& fate = records_[record];
  --fate.open;
  fate.unknown = true;
}

void Ledger::Refused(uint64_t record) {
  RecordFate& fate = records_[record];
  --fate.open;
  fate.refused = true;
}

void Ledger::Unknown(uint64_t record) {
  RecordFate& fate = records_[record];
  --fate.open;
  fate.unknown = true;
}

void Ledger::Saw(const PartitionName& partition, int64_t offset, uint64_t record, const char* how) {
  tally_.Add("record read");
  if (record == 0 || record >= records_.size()) {
    return verdict_.Violated("records come from producers", how, " of ", Name(partition, offset),
                             " brings a record that nobody wrote: ", record);
  }
  const auto [at, added] = truth_[partition].emplace(offset, record);
  if (!added && at->second != record) {
    return verdict_.Violated("divergent value", Name(partition, offset), " was record ", at->second, "; ", how, " brings record ", record);
  }
  if (added && known_ != nullptr) known_->OnKnown(partition, offset, record, how);
  RecordFate& fate = records_[record];
  const std::pair<int32_t, int64_t> place(partition.second, offset);
  if (fate.topic != partition.first) {
    return verdict_.Violated("records stay in their topic", how, " of ", Name(partition, offset), " brings record ", record,
                             " of another topic");
  }
  if (fate.seen && *fate.seen != place) {
    return verdict_.Violated("duplicate", "record ", record, " stands at ", Name(partition, offset), " and at ",
                             Name({fate.topic, fate.seen->first}, fate.seen->second), (fate.ordered ? " (idempotent)" : " (sent once)"));
  }
  fate.seen = place;
  if (fate.acknowledged && fate.durable && *fate.acknowledged != place) {
    verdict_.Violated("an acknowledged record stays where it is", "record ", record, " was acknowledged at ",
                      Name({fate.topic, fate.acknowledged->first}, fate.acknowledged->second), " and stands at ", Name(partition, offset));
  }
}

void Ledger::TrimAsked(const PartitionName& partition, int64_t before) {
  int64_t& asked = trim_asked_[partition];
  asked = std::max(asked, before);
}

void Ledger::Trimmed(const PartitionName& partition, int64_t log_start) {
  if (log_start > trim_asked(partition)) {
    verdict_.Violated("only what was asked for is trimmed", Name(partition, log_start),
                      " is the start after a trim; the most that was asked for is ", trim_asked(partition));
  }
  int64_t& trimmed = trimmed_[partition];
  trimmed = std::max(trimmed, log_start);
}

Ledger::Floor Ledger::FloorOf(const PartitionName& partition) const {
  return {.log_start = At(trimmed_, partition), .end = At(end_known_, partition)};
}

void Ledger::Listed(const PartitionName& partition, const Floor& floor, int64_t log_start, int64_t end) {
  tally_.Add("offsets listed");
  if (end < floor.end) {
    verdict_.Violated("stale ListOffsets", Name(partition, end), " is the end that a look tells which began after ", floor.end,
                      " was known");
  }
  if (log_start < floor.log_start) {
    verdict_.Violated("stale ListOffsets", Name(partition, log_start),
                      " is the start that a look tells which began after the log was trimmed to ", floor.log_start);
  }
  if (log_start > trim_asked(partition)) {
    verdict_.Violated("only what was asked for is trimmed", Name(partition, log_start), " is the start; the most that was asked for is ",
                      trim_asked(partition));
  }
  int64_t& known = end_known_[partition];
  known = std::max(known, end);
}

void Ledger::Given(int64_t producer_id) {
  if (!producer_ids_.insert(producer_id).second) {
    verdict_.Violated("a producer id is given once", "two producers are told that they are producer ", producer_id);
  }
}

TopicFacts* Ledger::TopicById(const std::string& id) {
  for (auto& [name, topic] : topics_) {
    if (topic.id == id) return &topic;
  }
  return nullptr;
}

bool Ledger::SurelyThere(const std::string& id) {
  const TopicFacts* topic = TopicById(id);
  return topic != nullptr && topic->created && !topic->delete_asked;
}

std::vector<TopicFacts*> Ledger::LiveTopics() {
  std::vector<TopicFacts*> live;
  for (auto& [name, topic] : topics_) {
    if (topic.created && !topic.delete_asked) live.push_back(&topic);
  }
  return live;
}

void Ledger::CheckEnd(const PartitionName& partition, const Contents& contents) {
  const int64_t asked = trim_asked(partition);
  if (contents.log_start > asked) {
    verdict_.Violated("only what was asked for is trimmed", Name(partition, contents.log_start), " is the start in the end; asked for was ",
                      asked);
  }
  if (static_cast<int64_t>(contents.records.size()) != contents.end - contents.log_start) {
    verdict_.Violated("offsets have no gaps", Name(partition, contents.end), " is the end, the start ", contents.log_start,
                      ", and there are ", contents.records.size(), " records");
  }
  for (const auto& [offset, record] : truth_[partition]) {
    if (offset < contents.log_start) continue;
    const auto at = static_cast<size_t>(offset - contents.log_start);
    if (at >= contents.records.size()) {
      return verdict_.Violated("lost write", "record ", record, " was acknowledged or read at ", Name(partition, offset),
                               ", and the log ends at ", contents.end);
    }
  }
  // Divergence and duplicates were found while reading; what is left is the order.
  std::map<uint64_t, uint64_t> last;
  for (size_t i = 0; i < contents.records.size(); ++i) {
    const RecordFate& fate = records_[contents.records[i]];
    if (!fate.ordered) continue;
    const auto [at, added] = last.emplace(fate.producer, fate.sequence);
    if (!added && at->second >= fate.sequence) {
      return verdict_.Violated("write order", Name(partition, contents.log_start + static_cast<int64_t>(i)), " has sequence ",
                               fate.sequence, " of producer ", fate.producer, " behind ", at->second);
    }
    at->second = fate.sequence;
  }
}

void Ledger::CheckFates() {
  for (size_t i = 1; i < records_.size(); ++i) {
    const RecordFate& fate = records_[i];
    if (fate.seen && fate.refused && !fate.unknown && !fate.acknowledged && fate.open == 0) {
      verdict_.Violated("aborted read", "record ", i, " was answered with a failure that says that nothing was done, and stands at ",
                        Name({fate.topic, fate.seen->first}, fate.seen->second));
    }
  }
}

}  // namespace flotilla::sim::broker
