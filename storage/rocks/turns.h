// What waits for the writer, and which of its threads may do what. Batches take turns, which are numbered from 1; each turn passes
// three gates, and no turn passes one before the turn ahead of it has:
//
//   sealed      what it writes is decided: the next batch may be built on what it leaves
//   synced      it is on the disk, or never will be: the next one may be written
//   published   readers and owners know
//
// A thread takes a turn when there is something to do: with nothing else under way, at once; while another turn is being
// written, only when enough waits to be worth a second thread. So a light load stays on one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/mutex.h"
#include "storage/log/fair_queue.h"
#include "storage/rocks/janitor.h"

namespace flotilla::storage {

class Turns {
 public:
  // `second_thread_bytes`: what has to wait to be worth a second thread.
  Turns(const Clock& clock, size_t second_thread_bytes) : clock_(clock), second_thread_bytes_(second_thread_bytes) {}

  // --- Any thread
  // OVERLOADED, SHUTTING_DOWN: nothing was queued.
  Status Push(WriteTask task, WriteSink& sink) FLOTILLA_EXCLUDES(mutex_);
  void PushReclaimed(const ReclaimJob& job) FLOTILLA_EXCLUDES(mutex_);
  // What was reclaimed of the group, and not taken yet, is of a former life of it.
  void ForgetReclaimed(GroupId group) FLOTILLA_EXCLUDES(mutex_);
  // Turns go on until the queue is empty.
  void Stop() FLOTILLA_EXCLUDES(mutex_);
  size_t bytes() const FLOTILLA_EXCLUDES(mutex_);
  size_t tasks() const FLOTILLA_EXCLUDES(mutex_);

  // --- The writer's threads
  struct Work {
    std::vector<QueuedTask> tasks;
    std::vector<ReclaimJob> reclaimed;
    bool more = false;  // ask again: the turn ahead was still being written
    bool stop = false;  // it is the last turn
  };
  // Waits until this thread is to build a batch. Its turn; nothing: no more.
  std::optional<uint64_t> Take() FLOTILLA_EXCLUDES(mutex_);
  // What goes into the batch of `turn`, which holds `bytes` so far. Waits for it; may be empty when `due` was announced.
  Work Next(uint64_t turn, size_t bytes) FLOTILLA_EXCLUDES(mutex_);
  void Sealed() FLOTILLA_EXCLUDES(mutex_);
  void Synced(uint64_t turn) FLOTILLA_EXCLUDES(mutex_);
  void WaitUntilPublished(uint64_t turn) FLOTILLA_EXCLUDES(mutex_);
  // `due`: when there is something to do even without tasks.
  void Published(uint64_t turn, std::optional<MonotonicTime> due) FLOTILLA_EXCLUDES(mutex_);

 private:
  // What is taken before the turn ahead is synced, one turn of each group at a time. The rest of the batch is for who comes meanwhile.
  static constexpr size_t kTakenAheadBytes = limits::kWriteGroupBytesMax / 4 * 3;

  bool WorthAThread() const FLOTILLA_REQUIRES(mutex_) { return queue_.bytes() >= second_thread_bytes_; }
  bool MayWrite(uint64_t turn) const FLOTILLA_REQUIRES(mutex_) { return last_synced_ + 1 == turn; }
  bool Waits() const FLOTILLA_REQUIRES(mutex_) { return !queue_.empty() || !reclaimed_.empty() || stopping_; }

  const Clock& clock_;
  const size_t second_thread_bytes_;  // above 0
  mutable Mutex mutex_;
  ConditionVariable work_;                               // for who builds: more to do, or the turn ahead is synced
  ConditionVariable second_;                             // for who has no turn
  ConditionVariable published_;                          // for who waits for the turn ahead
  size_t wanted_bytes_ FLOTILLA_GUARDED_BY(mutex_) = 0;  // in the queue, for who waits for work_
  FairQueue queue_ FLOTILLA_GUARDED_BY(mutex_);
  std::vector<ReclaimJob> reclaimed_ FLOTILLA_GUARDED_BY(mutex_);
  bool stopping_ FLOTILLA_GUARDED_BY(mutex_) = false;
  bool stopped_ FLOTILLA_GUARDED_BY(mutex_) = false;   // the last turn was taken
  bool building_ FLOTILLA_GUARDED_BY(mutex_) = false;  // somebody has a turn that is not sealed
  uint64_t last_taken_ FLOTILLA_GUARDED_BY(mutex_) = 0;
  uint64_t last_synced_ FLOTILLA_GUARDED_BY(mutex_) = 0;
  uint64_t last_published_ FLOTILLA_GUARDED_BY(mutex_) = 0;
  std::optional<MonotonicTime> due_ FLOTILLA_GUARDED_BY(mutex_);
};

}  // namespace flotilla::storage
