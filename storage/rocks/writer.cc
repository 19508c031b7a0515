#include "storage/rocks/writer.h"

#include <algorithm>
#include <utility>

#include "storage/rocks/rocks_status.h"

namespace flotilla::storage {

Status DiskReserve::Check() const {
  if (free_bytes() >= reserve_bytes_) return {};
  return Status(Reason::kDiskFull, std::to_string(free_bytes()) + " bytes are free, below the reserve of " +
                                       std::to_string(reserve_bytes_) + "; free space or add a disk")
      .With("free_bytes", free_bytes())
      .With("reserve_bytes", reserve_bytes_);
}

Writer::Writer(const Parts& parts, const RocksStoreOptions& options, Start start)
    : parts_(parts),
      wal_check_bytes_(options.wal_bytes_max / 16),
      tail_bytes_max_(options.tail_bytes),
      pool_(parts.engine.log_families()),
      destroyed_(std::move(start.destroyed)),
      batch_(parts.engine, parts.table, pool_, destroyed_, start.node_mark),
      tails_(options.tail_bytes),
      reserve_(parts.free_space, options.disk_reserve_bytes),
      batch_number_(start.batch_number) {
  for (const auto& [group, family] : start.groups) pool_.Add(family);
}

void Writer::Run(Janitor& janitor) {
  CHECK(janitor_ == nullptr);
  janitor_ = &janitor;
  thread_ = std::thread([this] { Loop(); });
}

void Writer::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

Status Writer::Submit(WriteTask task, WriteSink& sink) {
  if (parts_.latch.failed()) return parts_.latch.status();
  const size_t bytes = task.bytes();
  MutexLock lock(mutex_);
  if (stopping_) return Status(Reason::kShuttingDown, "the store is closing; nothing was queued");
  if (queue_.bytes() + bytes > limits::kWriteQueueBytesMax) {
    return Status(Reason::kOverloaded, std::to_string(queue_.bytes()) +
                                           " bytes wait for the disk, the limit is " +
                                           std::to_string(limits::kWriteQueueBytesMax) + "; retry later");
  }
  const bool was_empty = queue_.empty();
  queue_.Push(std::move(task), sink);
  if (was_empty) changed_.NotifyAll();
  return {};
}

void Writer::Reclaimed(const ReclaimJob& job) {
  MutexLock lock(mutex_);
  reclaimed_.push_back(job);
  changed_.NotifyAll();
}

void Writer::Loop() {
  Engine::MeasureSyncs();
  while (true) {
    Work work = WaitForWork();
    const bool stop = work.stop;
    Handle(std::move(work));
    SyncEvidence(/*now_or_never=*/stop);
    if (stop) return;
  }
}

Writer::Work Writer::WaitForWork() {
  const std::optional<MonotonicTime> evidence_due = parts_.evidence.sync_due();
  MutexLock lock(mutex_);
  while (queue_.empty() && reclaimed_.empty() && !stopping_) {
    if (!evidence_due) {
      changed_.Wait(mutex_);
      continue;
    }
    const MonotonicTime now = parts_.clock.Now();
    if (now >= *evidence_due) break;
    changed_.WaitFor(mutex_, std::min(*evidence_due - now, kEvidenceSyncInterval));
  }
  Work work;
  work.tasks = queue_.TakeBatch();
  work.reclaimed.swap(reclaimed_);
  work.stop = stopping_ && queue_.empty();
  return work;
}

void Writer::Handle(Work work) {
  if (work.tasks.empty() && work.reclaimed.empty()) return;
  std::vector<Status> outcomes;
  outcomes.reserve(work.tasks.size());
  if (parts_.latch.failed()) {
    outcomes.assign(work.tasks.size(), parts_.latch.status());
    return Complete(work.tasks, std::move(outcomes));
  }
  reserve_.Look();
  forgotten_.clear();
  batch_.Begin(batch_number_ + 1);
  for (const ReclaimJob& job : work.reclaimed) {
    if (job.kind == ReclaimJob::Kind::kTrim) batch_.AddTrimReclaimed(job.group, job.upto);
    if (job.kind == ReclaimJob::Kind::kDestroy) batch_.AddDestroyReclaimed(job.group);
  }
  for (const QueuedTask& queued : work.tasks) outcomes.push_back(AddTask(queued.task));
  batch_.Seal();
  const Status written = batch_.empty() ? Status() : WriteBatch();
  if (!written.ok()) {
    parts_.latch.Set(written);
    outcomes.assign(work.tasks.size(), parts_.latch.status());
    return Complete(work.tasks, std::move(outcomes));
  }
  Publish();
  if (reserve_.scarce()) {
    for (ReclaimJob job : work.reclaimed) {
      job.kind = ReclaimJob::Kind::kCompact;
      janitor_->Schedule(job);
    }
  }
  Complete(work.tasks, std::move(outcomes));
}

Status Writer::AddTask(const WriteTask& task) {
  if (task.empty()) return {};
  if (task.grows()) {
    if (Status full = reserve_.Check(); !full.ok()) {
      numbers_.refused_disk_full.fetch_add(1, std::memory_order_relaxed);
      return full;
    }
  }
  if (task.create || task.destroy || task.replace_log) {
    janitor_->Forget(task.group);
    forgotten_.insert(task.group);
  }
  return batch_.Add(task);
}

Status Writer::WriteBatch() {
  FreezeWhatLosesEntries();
  rocksdb::WriteBatch& batch = batch_.rows();
  const uint64_t bytes = batch.GetDataSize();
  const uint64_t nanos_before = Engine::SyncNanosOfThisThread();
  const rocksdb::Status status = parts_.engine.WriteSynced(&batch);
  if (!status.ok()) return FromWrite(status);
  ++batch_number_;
  if (Status recorded = parts_.evidence.Record(batch_number_, parts_.clock.Now()); !recorded.ok()) {
    return Status(Reason::kStorageFailed, std::string(recorded.message()));
  }

  const uint64_t nanos = Engine::SyncNanosOfThisThread() - nanos_before;
  numbers_.syncs.fetch_add(1, std::memory_order_relaxed);
  numbers_.sync_nanos_total.fetch_add(nanos, std::memory_order_relaxed);
  numbers_.sync_nanos_max.store(std::max(nanos, numbers_.sync_nanos_max.load(std::memory_order_relaxed)),
                                std::memory_order_relaxed);
  numbers_.entries.fetch_add(batch_.entries(), std::memory_order_relaxed);
  numbers_.bytes_written.fetch_add(batch_.entry_bytes(), std::memory_order_relaxed);
  for (const Family family : batch_.families()) parts_.engine.pins().Written(family, wal_position_);
  wal_position_ += bytes;
  if (wal_position_ - wal_checked_at_ >= wal_check_bytes_) {
    wal_checked_at_ = wal_position_;
    janitor_->CheckPins(wal_position_);
  }
  return {};
}

void Writer::FreezeWhatLosesEntries() {
  FrozenDatabase frozen;
  for (auto& [id, draft] : batch_.drafts()) {
    if (!draft.removes || draft.published == nullptr) continue;
    if (frozen == nullptr) {
      rocksdb::DB* const db = &parts_.engine.db();
      frozen.reset(db->GetSnapshot(),
                   [db](const rocksdb::Snapshot* snapshot) { db->ReleaseSnapshot(snapshot); });
    }
    draft.published->Freeze(frozen);
  }
}

void Writer::Publish() {
  for (auto& [id, draft] : batch_.drafts()) {
    const bool start_moved = draft.published == nullptr || !draft.before || !draft.state ||
                             draft.before->bounds.start != draft.state->bounds.start;
    if (start_moved || forgotten_.contains(id)) ScheduleReclaim(id, draft);
    PublishGroup(id, &draft);
  }
}

void Writer::PublishGroup(GroupId id, GroupDraft* draft) {
  const bool made_anew = !draft->before;
  if (draft->published != nullptr && made_anew) {
    parts_.table.Erase(id);
    draft->published->MarkDestroyed();
    draft->published.reset();
    tails_.Forget(id);
  }
  if (!draft->state) return;
  std::shared_ptr<Group> group = draft->published;
  if (group == nullptr) group = std::make_shared<Group>(*draft->state, draft->place);
  group->Publish({.state = *std::move(draft->state),
                  .place = draft->place,
                  .tail_cut = draft->tail_cut,
                  .appended = std::move(draft->appended),
                  .removes = draft->removes},
                 tail_bytes_max_);
  if (made_anew) parts_.table.Insert(id, group);
  tails_.Update(id, group->tail_bytes(), parts_.table);
}

void Writer::ScheduleReclaim(GroupId id, const GroupDraft& draft) {
  if (draft.state && draft.place.reclaimed < draft.state->bounds.start.last.index) {
    janitor_->Schedule({.kind = ReclaimJob::Kind::kTrim,
                        .group = id,
                        .family = draft.place.family,
                        .upto = draft.state->bounds.start.last.index});
  }
  if (const auto destroyed = destroyed_.find(id); destroyed != destroyed_.end()) {
    janitor_->Schedule(
        {.kind = ReclaimJob::Kind::kDestroy, .group = id, .family = destroyed->second, .upto = {}});
  }
}

void Writer::Complete(const std::vector<QueuedTask>& tasks, std::vector<Status> outcomes) {
  CHECK_EQ(tasks.size(), outcomes.size());
  std::map<WriteSink*, std::vector<WriteDone>> by_sink;
  for (size_t i = 0; i < tasks.size(); ++i) {
    by_sink[tasks[i].sink].push_back({tasks[i].task.group, tasks[i].task.token, std::move(outcomes[i])});
  }
  numbers_.tasks.fetch_add(tasks.size(), std::memory_order_relaxed);
  for (const auto& [sink, done] : by_sink) sink->OnWritten(done);
}

void Writer::SyncEvidence(bool now_or_never) {
  if (parts_.latch.failed() || !parts_.evidence.sync_due()) return;
  const Status synced = now_or_never ? parts_.evidence.Sync() : parts_.evidence.SyncIfDue(parts_.clock.Now());
  if (!synced.ok()) parts_.latch.Set(Status(Reason::kStorageFailed, std::string(synced.message())));
}

void Writer::Count(StoreCounters* counters) const {
  counters->syncs = numbers_.syncs.load(std::memory_order_relaxed);
  counters->sync_nanos_total = numbers_.sync_nanos_total.load(std::memory_order_relaxed);
  counters->sync_nanos_max = numbers_.sync_nanos_max.load(std::memory_order_relaxed);
  counters->tasks = numbers_.tasks.load(std::memory_order_relaxed);
  counters->entries = numbers_.entries.load(std::memory_order_relaxed);
  counters->bytes_written = numbers_.bytes_written.load(std::memory_order_relaxed);
  counters->refused_disk_full = numbers_.refused_disk_full.load(std::memory_order_relaxed);
  counters->free_bytes = reserve_.free_bytes();
  MutexLock lock(mutex_);
  counters->queue_bytes = queue_.bytes();
  counters->queue_tasks = queue_.tasks();
}

}  // namespace flotilla::storage
