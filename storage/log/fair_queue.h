// Tasks that wait for the writer, and which of them share its next synced write. Pure and not thread safe: the RocksDB store
// guards it, the simulator's needs no guard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "storage/base/ids.h"
#include "storage/base/limits.h"
#include "storage/log/log_store.h"

namespace flotilla::storage {

struct QueuedTask {
  WriteTask task;
  WriteSink* sink = nullptr;
  size_t bytes = 0;  // task.bytes(), counted once
};

class FairQueue {
 public:
  struct Limits {
    size_t bytes = limits::kWriteGroupBytesMax;
    size_t share_bytes = limits::kWriteGroupShareBytes;  // of a group in its turn
    bool one_turn_each = false;                          // leaves room for who comes later
  };

  bool empty() const { return tasks_ == 0; }
  size_t tasks() const { return tasks_; }
  size_t bytes() const { return bytes_; }

  void Push(WriteTask task, WriteSink& sink) {
    const size_t bytes = task.bytes();
    std::deque<QueuedTask>& waiting = groups_[task.group];
    if (waiting.empty()) turns_.push_back(task.group);
    waiting.push_back({std::move(task), &sink, bytes});
    bytes_ += bytes;
    ++tasks_;
  }

  // The next batch, in the order in which it is applied: groups take turns, each with what fits into its share, until the
  // batch is full or the queue empty. Tasks of one group stay in order. A task larger than share or batch goes through
  // when it comes first. Empty when nothing waits.
  std::vector<QueuedTask> TakeBatch(const Limits& limits) {
    std::vector<QueuedTask> batch;
    size_t total = 0;
    for (size_t turns = limits.one_turn_each ? turns_.size() : SIZE_MAX; turns > 0 && !turns_.empty(); --turns) {
      auto group = groups_.find(turns_.front());
      std::deque<QueuedTask>& waiting = group->second;
      size_t share = 0;
      bool full = false;
      while (!waiting.empty()) {
        const size_t bytes = waiting.front().bytes;
        full = !batch.empty() && total + bytes > limits.bytes;
        if (full || (share != 0 && share + bytes > limits.share_bytes)) break;
        share += bytes;
        total += bytes;
        batch.push_back(std::move(waiting.front()));
        waiting.pop_front();
      }
      if (full) break;  // this group has the first turn of the next batch
      turns_.pop_front();
      if (waiting.empty()) {
        groups_.erase(group);
      } else {
        turns_.push_back(group->first);
      }
    }
    tasks_ -= batch.size();
    bytes_ -= total;
    return batch;
  }

 private:
  std::map<GroupId, std::deque<QueuedTask>> groups_;  // only groups that wait
  std::deque<GroupId> turns_;                         // the same groups, in the order of their turns
  size_t tasks_ = 0;
  size_t bytes_ = 0;
};

}  // namespace flotilla::storage
