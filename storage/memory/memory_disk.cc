#include "storage/memory/memory_disk.h"

#include <optional>

#include "storage/base/crc32c.h"
#include "storage/log/task_check.h"

namespace flotilla::storage {
namespace {

Bytes WithBitFlipped(const Bytes& bytes, uint64_t bit) {
  std::string text(bytes.view());
  bit %= text.size() * 8;
  text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << (bit % 8)));
  return Bytes(std::move(text));
}

void ApplyRow(const StateWrite& write, GroupImage* image) {
  auto& rows = image->rows;
  switch (write.kind) {
    case StateWrite::Kind::kPut: rows.insert_or_assign(write.key, write.value); return;
    case StateWrite::Kind::kDelete: rows.erase(write.key); return;
    case StateWrite::Kind::kDeletePrefix: {
      auto first = rows.lower_bound(write.key);
      auto last = first;
      while (last != rows.end() && last->first.starts_with(write.key)) ++last;
      rows.erase(first, last);
      return;
    }
  }
}

void DropSnapshot(uint64_t id, GroupImage* image) {
  image->chunks.erase(image->chunks.lower_bound({id, 0}), image->chunks.upper_bound({id, UINT32_MAX}));
}

}  // namespace

bool operator==(const GroupImage& a, const GroupImage& b) {
  const GroupState& x = a.state;
  const GroupState& y = b.state;
  return x.group == y.group && x.identity == y.identity && x.hard_state == y.hard_state && x.bounds == y.bounds && x.terms == y.terms &&
         x.configurations == y.configurations && x.snapshot == y.snapshot && a.entries == b.entries && a.rows == b.rows &&
         a.chunks == b.chunks;
}

const GroupImage* MemoryDisk::Find(GroupId group) const {
  auto found = durable_.find(group);
  return found == durable_.end() ? nullptr : &found->second;
}

void MemoryDisk::PowerCut(size_t survived_bytes) {
  CHECK(!in_use_) << "a machine without power runs no store";
  CHECK_LE(survived_bytes, unsynced_.bytes);
  if (unsynced_.bytes == 0) return;
  if (survived_bytes == 0) {
    ++events_.unsynced_lost;
    unsynced_ = {};
    return;
  }
  unsynced_.survived = survived_bytes;
}

void MemoryDisk::Wipe() {
  CHECK(!in_use_) << "close the store before its disk is taken away";
  ++events_.wipes;
  durable_.clear();
  unsynced_ = {};
}

bool MemoryDisk::FlipBit(GroupId group, LogIndex index, uint64_t bit) {
  auto found = durable_.find(group);
  if (found == durable_.end()) return false;
  GroupImage& image = found->second;
  if (index < image.state.bounds.first_index() || index > image.state.bounds.last_index()) return false;
  Entry& entry = image.entries[index - image.state.bounds.first_index()];
  if (entry.payload.empty()) {
    entry.header.checksum ^= uint32_t{1} << (bit % 32);
  } else {
    entry.payload = WithBitFlipped(entry.payload, bit);
  }
  ++events_.bits_flipped;
  return true;
}

bool MemoryDisk::FlipChunkBit(GroupId group, uint64_t snapshot, uint32_t chunk, uint64_t bit) {
  auto image = durable_.find(group);
  if (image == durable_.end()) return false;
  auto found = image->second.chunks.find({snapshot, chunk});
  if (found == image->second.chunks.end()) return false;
  StoredChunk& stored = found->second;
  if (stored.data.empty()) {
    stored.checksum ^= uint32_t{1} << (bit % 32);
  } else {
    stored.data = WithBitFlipped(stored.data, bit);
  }
  ++events_.bits_flipped;
  return true;
}

Status MemoryDisk::Apply(WriteTask& task) {
  auto found = durable_.find(task.group);
  GroupImage* image = found == durable_.end() ? nullptr : &found->second;
  const AnchorAt anchor_at = [image](LogIndex index) { return Result<LogAnchor>(AnchorAfter(image->At(index).header)); };
  Result<TaskEffect> effect = PlanTask(image != nullptr ? &image->state : nullptr, task, anchor_at);
  if (!effect.ok()) return effect.status();

  if (task.destroy) {
    if (image != nullptr) durable_.erase(found);
    return {};
  }
  // The state moves in and out because "no such group" is one of its values.
  std::optional<GroupState> state;
  if (image != nullptr) {
    state = std::move(image->state);
  } else {
    image = &durable_[task.group];
  }
  ApplyTask(task, &state);
  image->state = std::move(*state);

  auto& entries = image->entries;
  entries.erase(entries.begin(), entries.begin() + static_cast<ptrdiff_t>(effect->trimmed.size()));
  entries.erase(entries.end() - static_cast<ptrdiff_t>(effect->overwritten.size()), entries.end());
  for (Entry& entry : task.entries) entries.push_back(std::move(entry));
  for (const StateWrite& write : task.state) ApplyRow(write, image);
  for (const SnapshotChunkWrite& chunk : task.chunks) {
    image->chunks[{chunk.id, chunk.number}] = {chunk.data, crc32c::Value(chunk.data.view())};
  }
  for (uint64_t id : task.drop_snapshots) DropSnapshot(id, image);
  return {};
}

void MemoryDisk::Recover() {
  Unsynced found = std::move(unsynced_);
  unsynced_ = {};
  if (found.bytes == 0) return;
  // A batch is one record with one checksum: whole, or nothing.
  if (found.survived < found.bytes) {
    ++events_.unsynced_torn;
    return;
  }
  ++events_.unsynced_kept;
  for (size_t i = 0; i < found.tasks.size(); ++i) {
    if (!found.refused[i].ok()) continue;
    // What the rules refuse was never written.
    if (Status refused = Apply(found.tasks[i].task); !refused.ok()) VLOG(1) << refused;
  }
}

}  // namespace flotilla::storage
