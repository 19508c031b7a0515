// An executor with a thread of its own.
//
//   ThreadExecutor executor("shard-0");
//   executor.Start();
//   executor.Post([...] { ... });   // any thread
//   executor.Stop();                // everything posted before has run
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "raft/node/executor.h"
#include "storage/base/mutex.h"

namespace flotilla::raft {

class ThreadExecutor final : public Executor {
 public:
  // `name` is what tools show, up to 15 characters of it.
  explicit ThreadExecutor(std::string name) : name_(std::move(name)) {}
  ~ThreadExecutor() override { Stop(); }

  // Work posted before waits until here. Once.
  void Start();
  // Runs what was posted before the call, then ends the thread; later work is dropped. May be called again, not by the work itself.
  void Stop();
  // Whether the caller runs on this executor.
  bool InThread() const;

  void Post(std::function<void()> work) override;

 private:
  void Run();

  const std::string name_;
  Mutex mutex_;
  ConditionVariable posted_;
  std::vector<std::function<void()>> queue_ FLOTILLA_GUARDED_BY(mutex_);
  bool stopping_ FLOTILLA_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace flotilla::raft
