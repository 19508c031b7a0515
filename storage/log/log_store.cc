#include "storage/log/log_store.h"

#include <algorithm>
#include <bit>

namespace flotilla::storage {
namespace {

// What a part costs beside its payload, in queues and in the store: keys, rows, bookkeeping.
constexpr size_t kPartOverheadBytes = 64;

}  // namespace

size_t SyncBucket(uint64_t nanos) {
  return std::min<size_t>(static_cast<size_t>(std::bit_width(nanos / 1000)), std::tuple_size_v<SyncTimes> - 1);
}

size_t WriteTask::bytes() const {
  size_t sum = kPartOverheadBytes;
  if (create) sum += kPartOverheadBytes + create->label.size();
  if (snapshot) sum += kPartOverheadBytes + snapshot->configuration.size();
  for (const Entry& entry : entries) sum += entry.bytes();
  for (const StateWrite& row : state) sum += kPartOverheadBytes + row.key.size() + row.value.size();
  for (const SnapshotChunkWrite& chunk : chunks) sum += kPartOverheadBytes + chunk.data.size();
  return sum + kPartOverheadBytes * drop_snapshots.size();
}

bool WriteTask::empty() const {
  return !create && !next_life && !snapshot && entries.empty() && !hard_state && state.empty() && chunks.empty() &&
         drop_snapshots.empty() && !destroy;
}

bool WriteTask::grows() const {
  const bool data = std::any_of(entries.begin(), entries.end(), [](const Entry& entry) { return entry.header.kind == EntryKind::kData; });
  const bool more_chunks = std::any_of(chunks.begin(), chunks.end(), [](const SnapshotChunkWrite& chunk) { return chunk.number > 0; });
  return data || !state.empty() || more_chunks || create.has_value();
}

}  // namespace flotilla::storage
