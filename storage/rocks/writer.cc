#include "storage/rocks/writer.h"

#include <algorithm>
#include <utility>

#include "storage/rocks/rocks_status.h"
#include "storage/rocks/wal_file_system.h"

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
      turns_(parts.clock, options.second_thread_bytes),
      pool_(parts.engine.log_families()),
      destroyed_(std::move(start.destroyed)),
      reserve_(parts.free_space, options.disk_reserve_bytes),
      batch_number_(start.batch_number),
      tails_(options.tail_bytes),
      lanes_{Lane(TaskBatch(parts.engine, parts.table, pool_, destroyed_, start.node_mark)),
             Lane(TaskBatch(parts.engine, parts.table, pool_, destroyed_, start.node_mark))} {
  for (const auto& [group, family] : start.groups) pool_.Add(family);
}

void Writer::Run(Janitor& janitor) {
  CHECK(janitor_ == nullptr);
  janitor_ = &janitor;
  for (Lane& lane : lanes_) lane.thread = std::thread([this, &lane] { Loop(lane); });
}

void Writer::Stop() {
  turns_.Stop();
  for (Lane& lane : lanes_) {
    if (lane.thread.joinable()) lane.thread.join();
  }
}

Status Writer::Submit(WriteTask task, WriteSink& sink) {
  if (parts_.latch.failed()) return parts_.latch.status();
  return turns_.Push(std::move(task), sink);
}

void Writer::Loop(Lane& lane) {
  Engine::MeasureSyncs();
  while (const std::optional<uint64_t> turn = turns_.Take()) {
    lane.turn = *turn;
    Build(lane);
    turns_.Sealed();
    Write(lane);
    turns_.WaitUntilPublished(lane.turn - 1);
    Publish(lane);
    turns_.Published(lane.turn, parts_.latch.failed() ? std::nullopt : parts_.evidence.sync_due());
  }
}

// The batch of the turn ahead, when the other thread has it and it is perhaps not published yet.
const TaskBatch* Writer::BatchAhead(const Lane& lane) const {
  const Lane& other = &lane == &lanes_[0] ? lanes_[1] : lanes_[0];
  return other.turn + 1 == lane.turn ? &other.batch : nullptr;
}

// --- Build

void Writer::Build(Lane& lane) {
  lane.tasks.clear();
  lane.outcomes.clear();
  lane.bytes = 0;
  lane.reclaimed.clear();
  lane.forgotten.clear();
  lane.batch_number = 0;
  lane.passed_sync = false;
  lane.batch.Begin({.number = batch_number_ + 1, .ahead = BatchAhead(lane), .settle = [this, turn = lane.turn] {
                      turns_.WaitUntilPublished(turn - 1);
                    }});
  while (true) {
    Turns::Work work = turns_.Next(lane.turn, lane.bytes);
    for (const ReclaimJob& job : work.reclaimed) {
      if (job.kind == ReclaimJob::Kind::kTrim) lane.batch.AddTrimReclaimed(job.group, job.upto);
      if (job.kind == ReclaimJob::Kind::kDestroy) lane.batch.AddDestroyReclaimed(job.group);
    }
    lane.reclaimed = std::move(work.reclaimed);
    AddTasks(lane, std::move(work.tasks));
    lane.last = work.stop;
    if (!work.more) break;
  }
  lane.batch.Seal();
  if (!lane.batch.empty()) lane.batch_number = ++batch_number_;
}

void Writer::AddTasks(Lane& lane, std::vector<QueuedTask> tasks) {
  if (tasks.empty()) return;
  reserve_.Look();
  for (QueuedTask& queued : tasks) {
    lane.outcomes.push_back(parts_.latch.failed() ? parts_.latch.status() : AddTask(lane, queued.task));
    lane.bytes += queued.bytes;
    lane.tasks.push_back(std::move(queued));
  }
}

Status Writer::AddTask(Lane& lane, const WriteTask& task) {
  if (task.empty()) return {};
  if (task.grows()) {
    if (Status full = reserve_.Check(); !full.ok()) {
      numbers_.refused_disk_full.fetch_add(1, std::memory_order_relaxed);
      return full;
    }
  }
  if (task.create || task.destroy || task.replace_log) {
    // The turn ahead may still give the janitor a job for the group.
    turns_.WaitUntilPublished(lane.turn - 1);
    janitor_->Forget(task.group);
    turns_.ForgetReclaimed(task.group);
    lane.forgotten.insert(task.group);
  }
  return lane.batch.Add(task);
}

// --- Write

void Writer::Write(Lane& lane) {
  if (lane.batch_number != 0 && !parts_.latch.failed()) {
    FreezeWhatLosesEntries(lane);
    const uint64_t nanos_before = Engine::SyncNanosOfThisThread();
    numbers_.writing_since.store(parts_.clock.Now(), std::memory_order_relaxed);
    const rocksdb::Status status = WriteAndPassOnceSynced(lane);
    lane.sync_nanos = Engine::SyncNanosOfThisThread() - nanos_before;
    // Before the next turn may write: a sync that succeeds after this one would prove nothing.
    if (!status.ok()) parts_.latch.Set(FromWrite(status));
  }
  if (!lane.passed_sync) turns_.Synced(lane.turn);
}

rocksdb::Status Writer::WriteAndPassOnceSynced(Lane& lane) {
  const WalSyncWatch watch([&] { PassSync(lane); });
  rocksdb::Status status = parts_.engine.WriteSynced(&lane.batch.rows());
  if (status.ok() && !lane.passed_sync) PassSync(lane);  // files of the WAL that are not ours
  return status;
}

void Writer::FreezeWhatLosesEntries(Lane& lane) {
  FrozenDatabase frozen;
  for (const auto& [id, draft] : lane.batch.drafts()) {
    if (!draft.removes) continue;
    // The snapshot has to hold all that is published, and only that of the group.
    turns_.WaitUntilPublished(lane.turn - 1);
    const std::shared_ptr<Group> group = parts_.table.Find(id);
    if (group == nullptr) continue;
    if (frozen == nullptr) {
      rocksdb::DB* const db = &parts_.engine.db();
      frozen.reset(db->GetSnapshot(), [db](const rocksdb::Snapshot* snapshot) { db->ReleaseSnapshot(snapshot); });
    }
    group->Freeze(frozen);
  }
}

// The batch is in the WAL and synced. Where that is noticed at once, it is not in the memtables yet: what is sealed from now on holds it.
void Writer::PassSync(Lane& lane) {
  for (const Family family : lane.batch.families()) parts_.engine.pins().Written(family, wal_position_);
  wal_position_ += lane.batch.rows().GetDataSize();
  if (wal_position_ - wal_checked_at_ >= wal_check_bytes_) {
    wal_checked_at_ = wal_position_;
    janitor_->CheckPins(wal_position_);
  }
  lane.passed_sync = true;
  numbers_.writing_since.store(MonotonicTime{}, std::memory_order_relaxed);
  turns_.Synced(lane.turn);
}

// --- Publish

void Writer::Publish(Lane& lane) {
  if (!parts_.latch.failed() && lane.batch_number != 0) {
    if (Status recorded = RecordEvidence(lane); !recorded.ok()) parts_.latch.Set(std::move(recorded));
  }
  if (parts_.latch.failed()) {
    // Nothing is acknowledged after a failure, whatever the disk holds.
    lane.outcomes.assign(lane.tasks.size(), parts_.latch.status());
  } else {
    CountWritten(lane);
    PublishGroups(lane);
    if (reserve_.scarce()) {
      for (ReclaimJob job : lane.reclaimed) {
        job.kind = ReclaimJob::Kind::kCompact;
        janitor_->Schedule(job);
      }
    }
  }
  Complete(lane);
  SyncEvidence(/*now_or_never=*/lane.last);
}

Status Writer::RecordEvidence(const Lane& lane) {
  const Status recorded = parts_.evidence.Record(lane.batch_number, parts_.clock.Now());
  if (recorded.ok()) return {};
  return Status(Reason::kStorageFailed, std::string(recorded.message()));
}

void Writer::CountWritten(const Lane& lane) {
  if (lane.batch_number == 0) return;
  const uint64_t nanos = lane.sync_nanos;
  numbers_.syncs.fetch_add(1, std::memory_order_relaxed);
  numbers_.sync_nanos_total.fetch_add(nanos, std::memory_order_relaxed);
  numbers_.sync_nanos_max.store(std::max(nanos, numbers_.sync_nanos_max.load(std::memory_order_relaxed)), std::memory_order_relaxed);
  numbers_.sync_times[SyncBucket(nanos)].fetch_add(1, std::memory_order_relaxed);
  numbers_.entries.fetch_add(lane.batch.entries(), std::memory_order_relaxed);
  numbers_.bytes_written.fetch_add(lane.batch.entry_bytes(), std::memory_order_relaxed);
}

void Writer::PublishGroups(Lane& lane) {
  for (auto& [id, draft] : lane.batch.drafts()) {
    const bool start_moved = !draft.before || !draft.state || draft.before->bounds.start != draft.state->bounds.start;
    if (start_moved || lane.forgotten.contains(id)) ScheduleReclaim(id, draft);
    PublishGroup(id, &draft);
  }
}

// The turn behind may look at the draft: what it may need of it stays.
void Writer::PublishGroup(GroupId id, GroupDraft* draft) {
  const bool made_anew = !draft->before;
  std::shared_ptr<Group> group = parts_.table.Find(id);
  if (group != nullptr && made_anew) {
    parts_.table.Erase(id);
    group->MarkDestroyed();
    group.reset();
    tails_.Forget(id);
  }
  if (!draft->state) return;
  if (group == nullptr) group = std::make_shared<Group>(*draft->state, draft->place);
  group->Publish({.state = *draft->state,
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
    janitor_->Schedule(
        {.kind = ReclaimJob::Kind::kTrim, .group = id, .family = draft.place.family, .upto = draft.state->bounds.start.last.index});
  }
  if (draft.destroyed_in) {
    janitor_->Schedule({.kind = ReclaimJob::Kind::kDestroy, .group = id, .family = *draft.destroyed_in, .upto = {}});
  }
}

void Writer::Complete(Lane& lane) {
  CHECK_EQ(lane.tasks.size(), lane.outcomes.size());
  std::map<WriteSink*, std::vector<WriteDone>> by_sink;
  for (size_t i = 0; i < lane.tasks.size(); ++i) {
    const QueuedTask& queued = lane.tasks[i];
    by_sink[queued.sink].push_back({queued.task.group, queued.task.token, std::move(lane.outcomes[i])});
  }
  numbers_.tasks.fetch_add(lane.tasks.size(), std::memory_order_relaxed);
  for (const auto& [sink, done] : by_sink) sink->OnWritten(done);
  lane.tasks.clear();
}

void Writer::SyncEvidence(bool now_or_never) {
  if (parts_.latch.failed() || !parts_.evidence.sync_due()) return;
  const Status synced = now_or_never ? parts_.evidence.Sync() : parts_.evidence.SyncIfDue(parts_.clock.Now());
  if (!synced.ok()) parts_.latch.Set(Status(Reason::kStorageFailed, std::string(synced.message())));
}

void Writer::CountSyncs(SyncCounters* counters) const {
  counters->syncs = numbers_.syncs.load(std::memory_order_relaxed);
  counters->sync_nanos_total = numbers_.sync_nanos_total.load(std::memory_order_relaxed);
  counters->sync_nanos_max = numbers_.sync_nanos_max.load(std::memory_order_relaxed);
  if (const MonotonicTime since = numbers_.writing_since.load(std::memory_order_relaxed); since != MonotonicTime{}) {
    counters->sync_nanos_running = static_cast<uint64_t>(std::max(parts_.clock.Now() - since, Duration::zero()).count());
  }
  for (size_t i = 0; i < counters->sync_times.size(); ++i) {
    counters->sync_times[i] = numbers_.sync_times[i].load(std::memory_order_relaxed);
  }
}

void Writer::Count(StoreCounters* counters) const {
  CountSyncs(counters);
  counters->tasks = numbers_.tasks.load(std::memory_order_relaxed);
  counters->entries = numbers_.entries.load(std::memory_order_relaxed);
  counters->bytes_written = numbers_.bytes_written.load(std::memory_order_relaxed);
  counters->refused_disk_full = numbers_.refused_disk_full.load(std::memory_order_relaxed);
  counters->free_bytes = reserve_.free_bytes();
  counters->queue_bytes = turns_.bytes();
  counters->queue_tasks = turns_.tasks();
}

}  // namespace flotilla::storage
