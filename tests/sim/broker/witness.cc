#include "tests/sim/broker/witness.h"

#include <algorithm>

#include "server/metadata/metadata_machine.h"
#include "tests/sim/broker/batches.h"

namespace flotilla::sim::broker {
namespace {

// The record at `offset` of an entry that holds it; 0: none of ours.
uint64_t RecordAt(const storage::Entry& entry, int64_t offset) {
  if (entry.header.kind != storage::EntryKind::kData) return 0;
  const Result<partition::BatchHeader> header = partition::DecodeBatchHeader(entry.payload.view());
  if (!header.ok()) return 0;
  const std::optional<v1::RecordSet> set = RecordsIn(*header, partition::RecordsOf(entry.payload).view());
  const auto at = static_cast<int>(offset - static_cast<int64_t>(entry.header.base_offset.value()));
  return set && at < set->records_size() ? NumberIn(set->records(at)) : 0;
}

bool Contains(const std::vector<ReplicaId>& replicas, ReplicaId id) {
  return std::find(replicas.begin(), replicas.end(), id) != replicas.end();
}

}  // namespace

std::string Witness::NameOf(GroupId group) const {
  if (group == metadata::kMetadataGroup) return "the metadata";
  const metadata::PartitionKey* key = newest_ == nullptr ? nullptr : newest_->groups.Find(group);
  if (key == nullptr) return "group " + std::to_string(group.value());
  return newest_->FindTopic(key->topic)->name + "/" + std::to_string(key->partition);
}

void Witness::OnSubmit(const Machine& machine, const storage::WriteTask& task) {
  const storage::GroupImage* before = machine.disk().Find(task.group);
  if (task.create) tally_.Add("replica made");
  if (task.destroy) tally_.Add("replica deleted");
  if (task.replace_log) {
    tally_.Add("log replaced by a snapshot");
    trace_.Story(machine.place(), "takes a snapshot of ", NameOf(task.group), " from its leader");
  } else if (task.snapshot && !task.create) {
    tally_.Add(task.group == metadata::kMetadataGroup ? "metadata's log cut behind a snapshot" : "log cut behind a trim");
  }
  if (!task.state.empty()) tally_.Add("checkpoint written");
  if (task.hard_state && before != nullptr && task.hard_state->voted_for != before->state.hard_state.voted_for &&
      task.hard_state->voted_for.valid()) {
    tally_.Add("vote cast");
  }
  if (task.entries.empty()) return;
  if (before != nullptr && task.entries.front().index() <= before->state.bounds.last_index()) {
    tally_.Add("entries overwritten");
    trace_.Story(machine.place(), "gives up ", NameOf(task.group), " from index ", task.entries.front().index(), " on");
  }
  for (const storage::Entry& entry : task.entries) {
    if (entry.header.kind == storage::EntryKind::kConfiguration) tally_.Add("members changed");
    // The first one to write it is who made it.
    Term& led = led_[task.group];
    if (entry.header.kind != storage::EntryKind::kNoop || entry.term() <= led) continue;
    led = entry.term();
    tally_.Add("leader elected");
    trace_.Story(machine.place(), "leads ", NameOf(task.group), " in term ", led);
  }
}

void Witness::OnImage(const metadata::Shared<metadata::Image>& image) {
  if (newest_ == nullptr || image->version > newest_->version) newest_ = image;
}

void Witness::OnWiped(const Machine& machine) { wiped_.insert(NodeId{machine.remembered().node_id()}); }

const Machine* Witness::MachineOf(NodeId node) const {
  for (const auto& machine : machines_) {
    if (machine->remembered().node_id() == node.value()) return machine.get();
  }
  return nullptr;
}

Witness::Held Witness::Holds(const storage::MemoryDisk& disk, GroupId group, const ReplicaId& replica, int64_t offset,
                             uint64_t record) const {
  const storage::GroupImage* image = disk.Find(group);
  // An earlier life stands for the one that is wanted until its group goes on without it.
  if (image == nullptr || image->state.identity.self.incarnation > replica.incarnation) return Held::kNo;
  const Offset wanted{static_cast<uint64_t>(offset)};
  // It was there, and was trimmed.
  if (wanted < image->state.bounds.start.end_offset) return Held::kYes;
  const auto entry = std::partition_point(image->entries.begin(), image->entries.end(),
                                          [wanted](const storage::Entry& other) { return other.header.end_offset() <= wanted; });
  if (entry == image->entries.end()) return Held::kNo;
  if (disk.events().bits_flipped != 0 && !storage::VerifyEntry(*entry).ok()) return Held::kDamaged;
  return RecordAt(*entry, offset) == record ? Held::kYes : Held::kNo;
}

void Witness::OnKnown(const PartitionName& name, int64_t offset, uint64_t record, const char* how) {
  const std::optional<Uuid> topic_id = Uuid::FromText(name.first);
  const metadata::Topic* topic = newest_ == nullptr || !topic_id ? nullptr : newest_->FindTopic(*topic_id);
  if (topic == nullptr || static_cast<size_t>(name.second) >= topic->partitions.size()) return;  // deleted meanwhile
  const metadata::Partition& partition = *topic->partitions[static_cast<size_t>(name.second)];
  const bool rebuilt = partition.movement && partition.movement->cause == metadata::MoveCause::kRebuild;
  size_t held = 0;
  std::string without;
  for (const ReplicaId& replica : partition.Existing()) {
    const Machine* machine = MachineOf(replica.node);
    // What is built anew replaces one that was lost on purpose.
    const bool lost = wiped_.contains(replica.node) || (rebuilt && !Contains(partition.movement->settled, replica));
    const Held holds = lost                 ? Held::kDamaged
                       : machine == nullptr ? Held::kNo
                                            : Holds(machine->disk(), partition.group, replica, offset, record);
    // What is lost or damaged was there once, for all we know.
    if (holds != Held::kNo) {
      ++held;
    } else {
      without += " " + std::to_string(replica.node.value());
    }
  }
  tally_.Add("record looked for on the disks");
  // While replicas move, there are more of them; a majority of those that vote has it all the same.
  if (held > partition.replicas.size() / 2) return;
  verdict_.Violated("known records are on a majority of disks", "record ", record, " of ", topic->name, '/', name.second, " offset ",
                    offset, ", ", how, ", is not on the disks of nodes", without, " of ", partition.replicas.size());
}

bool Witness::HasAllKnown(const Machine& machine, const metadata::Partition& partition, const std::map<int64_t, uint64_t>& known,
                          const Ledger::Floor& floor) const {
  const storage::MemoryDisk& disk = machine.disk();
  const storage::GroupImage* image = disk.Find(partition.group);
  if (image == nullptr) return false;
  const storage::LogBounds& bounds = image->state.bounds;
  if (bounds.end.end_offset < Offset{static_cast<uint64_t>(floor.end)}) return false;
  if (bounds.start.end_offset < Offset{static_cast<uint64_t>(floor.log_start)}) return false;
  const ReplicaId self = image->state.identity.self;
  return std::all_of(known.begin(), known.end(),
                     [&](const auto& row) { return Holds(disk, partition.group, self, row.first, row.second) == Held::kYes; });
}

void Witness::CheckLeftovers() {
  if (newest_ == nullptr) return;
  for (const auto& machine : machines_) {
    if (machine->removed()) continue;  // nobody asks what it keeps
    // A node whose metadata is damaged ends whenever it starts, and deletes nothing: people remove it and start it empty.
    if (machine->crippled() && machine->down()) continue;
    for (const auto& [group, image] : machine->disk().Image()) {
      if (group == metadata::kMetadataGroup) continue;
      const metadata::Partition* partition = newest_->FindPartition(group);
      const ReplicaId self = image.state.identity.self;
      if (partition != nullptr && partition->ReplicaOn(self.node) == self) continue;
      verdict_.Violated("what was deleted is gone", "machine ", machine->place(), " keeps replica ", self, " of group ", group, " (",
                        image.state.identity.label, "), which nobody knows any more");
    }
  }
}

}  // namespace flotilla::sim::broker
