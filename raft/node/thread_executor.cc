#include "raft/node/thread_executor.h"

#include <glog/logging.h>
#include <pthread.h>

#include <utility>

namespace flotilla::raft {
namespace {

thread_local const ThreadExecutor* running_executor = nullptr;

}  // namespace

void ThreadExecutor::Start() {
  CHECK(!thread_.joinable()) << "executor " << name_ << " runs already";
  thread_ = std::thread(&ThreadExecutor::Run, this);
  pthread_setname_np(thread_.native_handle(), name_.substr(0, 15).c_str());
}

void ThreadExecutor::Stop() {
  CHECK(!InThread()) << "executor " << name_ << " cannot wait for itself";
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  posted_.NotifyOne();
  if (thread_.joinable()) thread_.join();
}

bool ThreadExecutor::InThread() const { return running_executor == this; }

void ThreadExecutor::Post(std::function<void()> work) {
  bool was_empty = false;
  {
    MutexLock lock(mutex_);
    if (stopping_) return;
    was_empty = queue_.empty();
    queue_.push_back(std::move(work));
  }
  // With work in the queue the thread is awake, or somebody has woken it.
  if (was_empty) posted_.NotifyOne();
}

void ThreadExecutor::Run() {
  running_executor = this;
  std::vector<std::function<void()>> batch;
  for (;;) {
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !stopping_) posted_.Wait(mutex_);
      if (queue_.empty()) return;
      batch.swap(queue_);
    }
    for (std::function<void()>& work : batch) {
      work();
      work = nullptr;  // what it holds goes with it, not with the batch
    }
    batch.clear();
  }
}

}  // namespace flotilla::raft
