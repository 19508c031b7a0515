#include "storage/rocks/janitor.h"

#include <rocksdb/convenience.h>

#include <algorithm>
#include <utility>

#include "storage/rocks/rows.h"

namespace flotilla::storage {

Janitor::Janitor(Engine& engine, uint64_t wal_bytes_max, std::function<void(const ReclaimJob&)> done)
    : engine_(engine), pinned_bytes_max_(wal_bytes_max / 2), done_(std::move(done)), thread_([this] { Run(); }) {}

void Janitor::Schedule(const ReclaimJob& job) {
  MutexLock lock(mutex_);
  std::erase_if(jobs_, [&](const ReclaimJob& old) { return old.group == job.group && old.kind == job.kind; });
  jobs_.push_back(job);
  changed_.NotifyAll();
}

void Janitor::Forget(GroupId group) {
  MutexLock lock(mutex_);
  std::erase_if(jobs_, [group](const ReclaimJob& job) { return job.group == group; });
  while (running_ == group) changed_.Wait(mutex_);
}

void Janitor::CheckPins(uint64_t position) {
  MutexLock lock(mutex_);
  position_ = position;
  changed_.NotifyAll();
}

void Janitor::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    jobs_.clear();
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Janitor::Run() {
  while (true) {
    std::optional<ReclaimJob> job;
    std::optional<uint64_t> position;
    {
      MutexLock lock(mutex_);
      while (!stopping_ && jobs_.empty() && !position_) changed_.Wait(mutex_);
      if (stopping_) return;
      position = std::exchange(position_, std::nullopt);
      if (!jobs_.empty()) {
        job = jobs_.front();
        jobs_.pop_front();
        if (job->kind != ReclaimJob::Kind::kCompact) running_ = job->group;
      }
    }
    if (position) FlushPinned(*position);
    if (!job) continue;
    Reclaim(*job);
    MutexLock lock(mutex_);
    running_.reset();
    changed_.NotifyAll();
  }
}

void Janitor::Reclaim(const ReclaimJob& job) {
  const std::string begin = GroupPrefix(job.group);
  bool deleted = true;
  switch (job.kind) {
    case ReclaimJob::Kind::kCompact: return Compact(job);
    case ReclaimJob::Kind::kTrim: deleted = DeleteFiles(engine_.log(job.family), begin, LogKey(job.group, job.upto + 1)); break;
    case ReclaimJob::Kind::kDestroy:
      for (auto* family : {engine_.log(job.family), engine_.family(kStateFamily), engine_.family(kSnapshotsFamily)}) {
        deleted = DeleteFiles(family, begin, GroupEnd(job.group)) && deleted;
      }
  }
  if (deleted) done_(job);
}

bool Janitor::DeleteFiles(rocksdb::ColumnFamilyHandle* family, const std::string& begin, const std::string& end) {
  const rocksdb::Slice begin_slice = ToSlice(begin);
  const rocksdb::Slice end_slice = ToSlice(end);
  const rocksdb::RangePtr range(&begin_slice, &end_slice);
  const rocksdb::Status status = rocksdb::DeleteFilesInRanges(&engine_.db(), family, &range, 1, /*include_end=*/false);
  LOG_IF(WARNING, !status.ok()) << "files of removed entries stay family=" << family->GetName() << " error=" << status.ToString();
  return status.ok();
}

// Files in level 0 are not deleted by range; a compaction of the range drops them, at the price of the files
// at its edges.
void Janitor::Compact(const ReclaimJob& job) {
  const std::string begin = GroupPrefix(job.group);
  const std::string end = GroupEnd(job.group);
  const rocksdb::Slice begin_slice = ToSlice(begin);
  const rocksdb::Slice end_slice = ToSlice(end);
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  const rocksdb::Status status = engine_.db().CompactRange(options, engine_.log(job.family), &begin_slice, &end_slice);
  LOG_IF(WARNING, !status.ok()) << "compacting removed entries group=" << job.group << " error=" << status.ToString();
}

void Janitor::FlushPinned(uint64_t position) {
  rocksdb::FlushOptions options;
  options.wait = true;
  options.allow_write_stall = false;
  for (Family family = 0; family < engine_.pins().size(); ++family) {
    if (engine_.pins().PinnedBytes(family, position) <= pinned_bytes_max_) continue;
    const rocksdb::Status status = engine_.db().Flush(options, engine_.family(family));
    LOG_IF(WARNING, !status.ok()) << "flushing a cold family failed family=" << engine_.family(family)->GetName()
                                  << " error=" << status.ToString();
  }
}

}  // namespace flotilla::storage
