#include "storage/memory/memory_store.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "storage/base/crc32c.h"

namespace flotilla::storage {
namespace {

template <typename... Parts>
Status About(Reason reason, GroupId group, const Parts&... parts) {
  std::ostringstream out;
  out << "group " << group << ": ";
  (out << ... << parts);
  return Status(reason, std::move(out).str()).With("group", group.value());
}

// How many of [first, last) fit into `limits`, at least one.
size_t CountWithin(const GroupImage& image, LogIndex first, LogIndex last, ReadLimits limits) {
  size_t count = 0;
  size_t bytes = 0;
  for (LogIndex index = first; index < last; ++index) {
    bytes += image.At(index).bytes();
    if (count != 0 && (bytes > limits.bytes || count >= limits.entries)) break;
    ++count;
  }
  return count;
}

// Counts down to a fault; 0 is "never".
bool Fires(uint64_t* countdown) { return *countdown != 0 && --*countdown == 0; }

}  // namespace

Result<std::unique_ptr<MemoryStore>> MemoryStore::Open(MemoryDisk& disk, MemoryStoreOptions options) {
  if (disk.in_use_) {
    return Status(Reason::kDirectoryLocked, "this disk has a store open already; close it first");
  }
  disk.in_use_ = true;
  disk.Recover();
  return std::unique_ptr<MemoryStore>(new MemoryStore(disk, options));
}

MemoryStore::~MemoryStore() { disk_.in_use_ = false; }

// --- Writing

Status MemoryStore::Submit(WriteTask task, WriteSink& sink) {
  CHECK(!completing_) << "a sink posts and does not submit";
  if (!failure_.ok()) return failure_;
  const size_t bytes = task.bytes();
  if (queue_.bytes() + bytes > limits::kWriteQueueBytesMax) {
    return About(Reason::kOverloaded, task.group, queue_.bytes(), " bytes wait for the disk, ", bytes, " more are above the limit of ",
                 limits::kWriteQueueBytesMax, "; retry later");
  }
  queue_.Push(std::move(task), sink);
  return {};
}

bool MemoryStore::BeginSync() {
  if (syncing_ || queue_.empty()) return false;
  // What an earlier failure left in the cache is not ours to complete.
  CHECK_EQ(disk_.unsynced_.bytes, 0u);
  MemoryDisk::Unsynced& batch = disk_.unsynced_;
  batch.tasks = queue_.TakeBatch({});
  for (const QueuedTask& queued : batch.tasks) {
    batch.refused.push_back(CheckBeforeWrite(queued.task));
    if (batch.refused.back().ok() && !queued.task.empty()) batch.bytes += std::max<size_t>(queued.bytes, 1);
  }
  write_failed_ = batch.bytes != 0 && Fires(&disk_.fail_write_in_);
  if (write_failed_) batch.bytes = 0;
  batch.survived = batch.bytes;
  syncing_ = true;
  sync_began_ = options_.now();
  return true;
}

bool MemoryStore::CompleteSync() {
  if (!syncing_) return false;
  MemoryDisk::Unsynced& batch = disk_.unsynced_;
  if (write_failed_) {
    ++disk_.events_.writes_failed;
    Latch("write");
    return true;
  }
  if (batch.bytes != 0) {
    if (Fires(&disk_.fail_sync_in_)) {
      ++disk_.events_.syncs_failed;
      Latch("sync");
      return true;
    }
    ++disk_.events_.syncs;
    CountSync();
  }
  MemoryDisk::Unsynced done = std::move(batch);
  disk_.unsynced_ = {};
  syncing_ = false;
  for (size_t i = 0; i < done.tasks.size(); ++i) {
    if (done.refused[i].ok()) done.refused[i] = ApplyAndRemember(done.tasks[i].task);
  }
  Complete(done.tasks, done.refused);
  return true;
}

void MemoryStore::CountSync() {
  const auto nanos = static_cast<uint64_t>((options_.now() - sync_began_).count());
  ++counters_.syncs;
  counters_.sync_nanos_total += nanos;
  counters_.sync_nanos_max = std::max(counters_.sync_nanos_max, nanos);
  ++counters_.sync_times[SyncBucket(nanos)];
}

Status MemoryStore::CheckBeforeWrite(const WriteTask& task) {
  // As the RocksDB store does: what is damaged already would be found only when it is read.
  for (const Entry& entry : task.entries) FLOTILLA_RETURN_IF_ERROR(VerifyEntry(entry));
  if (!task.grows() || disk_.free_bytes() >= options_.reserve_bytes) return {};
  ++counters_.refused_disk_full;
  return About(Reason::kDiskFull, task.group, disk_.free_bytes(), " bytes free, below the reserve of ", options_.reserve_bytes,
               "; free space or add a disk")
      .With("free_bytes", disk_.free_bytes())
      .With("reserve_bytes", options_.reserve_bytes);
}

Status MemoryStore::ApplyAndRemember(WriteTask& task) {
  const GroupId group = task.group;
  const bool forgets = task.create || task.replace_log || task.destroy;
  const size_t count = task.entries.size();
  const LogIndex first_new = count == 0 ? LogIndex{} : task.entries.front().index();
  const size_t bytes = task.bytes();
  size_t new_bytes = 0;
  for (const Entry& entry : task.entries) new_bytes += entry.bytes();
  // What the overwritten suffix took, counted while it is still there.
  size_t old_bytes = 0;
  const GroupImage* image = disk_.Find(group);
  if (auto tail = tails_.find(group); tail != tails_.end() && count != 0 && image != nullptr) {
    const LogIndex from = std::max(first_new, tail->second.first);
    for (LogIndex i = from; i <= image->state.bounds.last_index(); ++i) old_bytes += image->At(i).bytes();
  }

  FLOTILLA_RETURN_IF_ERROR(disk_.Apply(task));
  ++counters_.tasks;
  counters_.entries += count;
  counters_.bytes_written += bytes;

  if (forgets) tails_.erase(group);
  image = disk_.Find(group);
  if (image == nullptr) return {};
  const LogBounds& bounds = image->state.bounds;
  auto [found, made] = tails_.try_emplace(group, Tail{bounds.last_index() + 1 - count, 0});
  Tail& tail = found->second;
  if (count != 0) {
    if (!made) tail.bytes -= old_bytes;
    tail.bytes += new_bytes;
    tail.first = std::min(tail.first, first_new);
  }
  if (tail.first < bounds.first_index()) {
    // Trimmed inside of the tail: rare, so count again.
    tail.first = bounds.first_index();
    tail.bytes = 0;
    for (LogIndex i = tail.first; i <= bounds.last_index(); ++i) tail.bytes += image->At(i).bytes();
  }
  while (tail.bytes > options_.tail_bytes) {
    tail.bytes -= image->At(tail.first).bytes();
    ++tail.first;
  }
  return {};
}

void MemoryStore::Latch(const char* what) {
  failure_ = Status(Reason::kStorageFailed,
                    std::string("a ") + what + " failed: what it held may be lost; stop this process and look at the disk");
  LOG(ERROR) << "storage failed status=" << failure_;
  counters_.failed = true;
  syncing_ = false;
  std::vector<QueuedTask> tasks = std::exchange(disk_.unsynced_.tasks, {});
  // Recovery will find the batch in the cache, so it keeps a copy of the tasks.
  if (disk_.unsynced_.bytes != 0) disk_.unsynced_.tasks = tasks;
  while (!queue_.empty()) {
    for (QueuedTask& queued : queue_.TakeBatch({})) tasks.push_back(std::move(queued));
  }
  Complete(tasks, std::vector<Status>(tasks.size(), failure_));
}

// One call per sink, sinks in the order of their first task.
void MemoryStore::Complete(const std::vector<QueuedTask>& tasks, const std::vector<Status>& outcomes) {
  std::vector<std::pair<WriteSink*, std::vector<WriteDone>>> calls;
  for (size_t i = 0; i < tasks.size(); ++i) {
    auto call = std::find_if(calls.begin(), calls.end(), [&](const auto& c) { return c.first == tasks[i].sink; });
    if (call == calls.end()) call = calls.insert(calls.end(), {tasks[i].sink, {}});
    call->second.push_back({tasks[i].task.group, tasks[i].task.token, outcomes[i]});
  }
  completing_ = true;
  for (auto& [sink, done] : calls) sink->OnWritten(done);
  completing_ = false;
}

// --- Reading

Result<const GroupImage*> MemoryStore::Find(GroupId group) const {
  const GroupImage* image = disk_.Find(group);
  if (image == nullptr) return About(Reason::kGroupNotFound, group, "does not exist on this node");
  return image;
}

Status MemoryStore::Damaged(const Entry& entry) const {
  Status status = VerifyEntry(entry);
  if (status.ok()) return status;
  ++counters_.corruptions;
  return About(Reason::kDataLoss, entry.header.group, "entry ", entry.index(), " is damaged (", status.message(),
               "); this replica has to be replaced by a new one")
      .With("index", entry.index().value());
}

std::vector<GroupId> MemoryStore::Groups() const {
  std::vector<GroupId> groups;
  for (const auto& [group, image] : disk_.Image()) groups.push_back(group);
  return groups;
}

Result<GroupState> MemoryStore::Load(GroupId group) const {
  auto image = Find(group);
  if (!image.ok()) return image.status();
  const GroupState& state = (*image)->state;
  for (const Entry& entry : state.configurations) FLOTILLA_RETURN_IF_ERROR(Damaged((*image)->At(entry.index())));
  return state;
}

Result<GroupIdentity> MemoryStore::Identity(GroupId group) const {
  auto image = Find(group);
  if (!image.ok()) return image.status();
  return (*image)->state.identity;
}

Result<LogBounds> MemoryStore::Bounds(GroupId group) const {
  auto image = Find(group);
  if (!image.ok()) return image.status();
  return (*image)->state.bounds;
}

Result<uint64_t> MemoryStore::ApproximateBytes(GroupId group) const {
  auto image = Find(group);
  if (!image.ok()) return image.status();
  uint64_t bytes = 0;
  for (const Entry& entry : (*image)->entries) bytes += entry.bytes();
  return bytes;
}

Result<std::vector<Entry>> MemoryStore::Read(GroupId group, LogIndex first, LogIndex last, ReadLimits limits) const {
  auto found = Find(group);
  if (!found.ok()) return found.status();
  const GroupImage& image = **found;
  const LogBounds& bounds = image.state.bounds;
  if (first <= bounds.start.last.index) {
    return About(Reason::kTrimmed, group, "index ", first, " was trimmed, the log begins at ", bounds.first_index())
        .With("index", first.value())
        .With("first_index", bounds.first_index().value());
  }
  if (last > bounds.last_index() + 1 || first > last) {
    return About(Reason::kOffsetOutOfRange, group, "asked for [", first, ", ", last, "), the log ends at ", bounds.last_index())
        .With("last_index", bounds.last_index().value());
  }
  std::vector<Entry> entries;
  const size_t count = CountWithin(image, first, last, limits);
  entries.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const Entry& entry = image.At(first + i);
    FLOTILLA_RETURN_IF_ERROR(Damaged(entry));
    entries.push_back(entry);
  }
  return entries;
}

std::optional<std::vector<Entry>> MemoryStore::ReadCached(GroupId group, LogIndex first, LogIndex last, ReadLimits limits) const {
  auto tail = tails_.find(group);
  if (tail == tails_.end() || first < tail->second.first) return std::nullopt;
  const GroupImage& image = *disk_.Find(group);
  if (first > last || last > image.state.bounds.last_index() + 1) return std::nullopt;
  std::vector<Entry> entries;
  const size_t count = CountWithin(image, first, last, limits);
  entries.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const Entry& entry = image.At(first + i);
    // The tail shares its bytes with the disk; a damaged entry is left to Read, which says so.
    if (disk_.events().bits_flipped != 0 && !VerifyEntry(entry).ok()) return std::nullopt;
    entries.push_back(entry);
  }
  return entries;
}

Result<EntryHeader> MemoryStore::FindOffset(GroupId group, Offset offset) const {
  auto found = Find(group);
  if (!found.ok()) return found.status();
  const GroupImage& image = **found;
  const LogBounds& bounds = image.state.bounds;
  if (offset < bounds.start.end_offset || offset >= bounds.end.end_offset) {
    return About(Reason::kOffsetOutOfRange, group, "offset ", offset, " is outside of [", bounds.start.end_offset, ", ",
                 bounds.end.end_offset, ")")
        .With("start_offset", bounds.start.end_offset.value())
        .With("end_offset", bounds.end.end_offset.value());
  }
  auto entry = std::partition_point(image.entries.begin(), image.entries.end(),
                                    [offset](const Entry& e) { return e.header.end_offset() <= offset; });
  CHECK(entry != image.entries.end());
  FLOTILLA_RETURN_IF_ERROR(Damaged(*entry));
  return entry->header;
}

Result<std::optional<EntryHeader>> MemoryStore::FindTimestamp(GroupId group, int64_t timestamp_ms) const {
  auto found = Find(group);
  if (!found.ok()) return found.status();
  const std::deque<Entry>& entries = (*found)->entries;
  auto entry = std::partition_point(entries.begin(), entries.end(),
                                    [timestamp_ms](const Entry& e) { return e.header.running_max_timestamp_ms < timestamp_ms; });
  // The running maximum may come from an entry that was trimmed: then the first one with a time of its own counts.
  while (entry != entries.end() && entry->header.max_timestamp_ms < timestamp_ms) ++entry;
  if (entry == entries.end()) return std::optional<EntryHeader>();
  FLOTILLA_RETURN_IF_ERROR(Damaged(*entry));
  return std::optional<EntryHeader>(entry->header);
}

Result<std::optional<Bytes>> MemoryStore::GetState(GroupId group, std::string_view key) const {
  auto image = Find(group);
  if (!image.ok()) return image.status();
  auto row = (*image)->rows.find(key);
  if (row == (*image)->rows.end()) return std::optional<Bytes>();
  return std::optional<Bytes>(row->second);
}

Result<std::vector<LogReader::StateRow>> MemoryStore::ScanState(GroupId group, std::string_view prefix, std::string_view after,
                                                                size_t bytes_max) const {
  auto image = Find(group);
  if (!image.ok()) return image.status();
  const auto& rows = (*image)->rows;
  const bool resumes = !after.empty() && after >= prefix;
  auto row = resumes ? rows.upper_bound(after) : rows.lower_bound(prefix);
  std::vector<StateRow> result;
  size_t bytes = 0;
  for (; row != rows.end() && row->first.starts_with(prefix); ++row) {
    bytes += row->first.size() + row->second.size();
    if (!result.empty() && bytes > bytes_max) break;
    result.push_back({row->first, row->second});
  }
  return result;
}

Result<Bytes> MemoryStore::ReadSnapshotChunk(GroupId group, uint64_t id, uint32_t number) const {
  auto image = Find(group);
  if (!image.ok()) return image.status();
  auto chunk = (*image)->chunks.find({id, number});
  const bool missing = chunk == (*image)->chunks.end();
  if (missing || crc32c::Value(chunk->second.data.view()) != chunk->second.checksum) {
    ++counters_.corruptions;
    return About(Reason::kDataLoss, group, "chunk ", number, " of snapshot ", id, missing ? " is missing" : " is damaged")
        .With("snapshot", id)
        .With("chunk", number);
  }
  return chunk->second.data;
}

StoreCounters MemoryStore::Counters() const {
  StoreCounters counters = counters_;
  counters.queue_bytes = queue_.bytes();
  counters.queue_tasks = queue_.tasks();
  counters.free_bytes = disk_.free_bytes();
  if (syncing_) counters.sync_nanos_running = static_cast<uint64_t>((options_.now() - sync_began_).count());
  return counters;
}

}  // namespace flotilla::storage
