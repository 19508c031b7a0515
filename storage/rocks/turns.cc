#include "storage/rocks/turns.h"

#include <glog/logging.h>

#include <algorithm>
#include <string>
#include <utility>

#include "storage/rocks/evidence.h"

namespace flotilla::storage {

Status Turns::Push(WriteTask task, WriteSink& sink) {
  const size_t bytes = task.bytes();
  MutexLock lock(mutex_);
  if (stopping_) return Status(Reason::kShuttingDown, "the store is closing; nothing was queued");
  const size_t before = queue_.bytes();
  if (before + bytes > limits::kWriteQueueBytesMax) {
    return Status(Reason::kOverloaded, std::to_string(before) + " bytes wait for the disk, the limit is " +
                                           std::to_string(limits::kWriteQueueBytesMax) + "; retry later");
  }
  queue_.Push(std::move(task), sink);
  const auto reaches = [&](size_t wanted) { return before < wanted && before + bytes >= wanted; };
  if (reaches(wanted_bytes_)) work_.NotifyOne();
  if (!building_ && reaches(second_thread_bytes_)) second_.NotifyOne();
  return {};
}

void Turns::PushReclaimed(const ReclaimJob& job) {
  MutexLock lock(mutex_);
  reclaimed_.push_back(job);
  work_.NotifyOne();
}

void Turns::ForgetReclaimed(GroupId group) {
  MutexLock lock(mutex_);
  std::erase_if(reclaimed_, [group](const ReclaimJob& job) { return job.group == group; });
}

void Turns::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  work_.NotifyOne();
}

size_t Turns::bytes() const {
  MutexLock lock(mutex_);
  return queue_.bytes();
}

size_t Turns::tasks() const {
  MutexLock lock(mutex_);
  return queue_.tasks();
}

std::optional<uint64_t> Turns::Take() {
  MutexLock lock(mutex_);
  while (!stopped_) {
    const bool idle = last_published_ == last_taken_;
    if (!building_ && (idle || WorthAThread())) {
      building_ = true;
      return ++last_taken_;
    }
    second_.Wait(mutex_);
  }
  return std::nullopt;
}

Turns::Work Turns::Next(uint64_t turn, size_t bytes) {
  MutexLock lock(mutex_);
  Work work;
  while (!MayWrite(turn)) {
    const size_t room = kTakenAheadBytes - std::min(bytes, kTakenAheadBytes);
    if (room > 0 && WorthAThread()) {
      work.tasks = queue_.TakeBatch({.bytes = room, .one_turn_each = true});
      work.more = true;
      return work;
    }
    wanted_bytes_ = room > 0 ? second_thread_bytes_ : SIZE_MAX;
    work_.Wait(mutex_);
  }
  wanted_bytes_ = 1;
  while (!Waits() && bytes == 0) {
    const MonotonicTime now = due_ ? clock_.Now() : MonotonicTime{};
    if (due_ && now >= *due_) break;
    if (due_) {
      work_.WaitFor(mutex_, std::min(*due_ - now, kEvidenceSyncInterval));
    } else {
      work_.Wait(mutex_);
    }
  }
  if (bytes < limits::kWriteGroupBytesMax) {
    work.tasks = queue_.TakeBatch({.bytes = limits::kWriteGroupBytesMax - bytes});
  }
  work.reclaimed.swap(reclaimed_);
  work.stop = stopping_ && queue_.empty();
  if (work.stop) stopped_ = true;
  return work;
}

void Turns::Sealed() {
  MutexLock lock(mutex_);
  CHECK(building_);
  building_ = false;
  if (stopped_ || WorthAThread()) second_.NotifyOne();
}

void Turns::Synced(uint64_t turn) {
  MutexLock lock(mutex_);
  CHECK_EQ(last_synced_ + 1, turn);
  last_synced_ = turn;
  work_.NotifyOne();
}

void Turns::WaitUntilPublished(uint64_t turn) {
  MutexLock lock(mutex_);
  while (last_published_ < turn) published_.Wait(mutex_);
}

void Turns::Published(uint64_t turn, std::optional<MonotonicTime> due) {
  MutexLock lock(mutex_);
  CHECK_EQ(last_published_ + 1, turn);
  last_published_ = turn;
  due_ = due;
  published_.NotifyAll();
}

}  // namespace flotilla::storage
