// A simulated machine, whatever its program is: a disk that outlives everything, and on it, while it is up, a process with a store in
// memory and two threads. The process can die between any two of its effects: from then on nothing that the code still does has an effect.
//
//   class Node final : public Computer { ... };   // the program: what starts, what is an effect, what goes
//   node.Post([&] { ... });
//   node.DieAfter({.effects = 3, .power = true, .survive_percent = 25});
//   node.Kill("killed");
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "raft/node/executor.h"
#include "storage/base/random.h"
#include "storage/memory/memory_disk.h"
#include "storage/memory/memory_store.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/hooked_store.h"
#include "tests/sim/trace.h"

namespace flotilla::sim {

class Computer;

// Work in the order posted, each piece an event of its own.
class SimExecutor final : public raft::Executor {
 public:
  // `delay`: how long a piece waits at most before it runs.
  SimExecutor(Computer& computer, Time delay, Random random) : computer_(computer), delay_(delay), random_(random) {}
  void Post(std::function<void()> work) override;
  size_t size() const { return work_.size(); }

 private:
  void Wake();
  void RunOne();

  Computer& computer_;
  const Time delay_;
  Random random_;
  std::deque<std::function<void()>> work_;
  bool scheduled_ = false;
};

class Computer : private SubmitHook {
 public:
  struct Death {
    uint64_t effects = 1;          // dies at its n-th effect from now; 0: does not
    bool power = false;            // and so does the machine
    uint32_t survive_percent = 0;  // of the unsynced write
  };
  struct DiskPace {
    Time sync_min = 0;
    Time sync_spread = 0;
  };

  ~Computer() override = default;
  Computer(const Computer&) = delete;
  Computer& operator=(const Computer&) = delete;

  NodeId place() const { return place_; }
  storage::MemoryDisk& disk() { return disk_; }
  const storage::MemoryDisk& disk() const { return disk_; }
  // The process runs and has not just died.
  bool up() const { return process_ && !process_->dead; }
  // There is no process.
  bool down() const { return !process_; }
  uint64_t life() const { return life_; }
  bool IsLife(uint64_t life) const { return up() && life_ == life; }
  bool paused() const { return events_.now() < paused_until_; }
  // The end of the last pause.
  Time awake_since() const { return paused_until_; }
  // Only while not down().
  const storage::MemoryStore& store() const { return *process_->store; }
  size_t queued_work() const { return up() ? process_->executor->size() + process_->readers->size() : 0; }

  // --- life and death
  // The process dies; what it wrote is in the system's cache.
  void Kill(const char* why);
  // The machine loses power.
  void PowerCut(uint32_t survive_percent, const char* why);
  void DieAfter(const Death& death) { death_ = death; }
  void Pause(Time until) { paused_until_ = std::max(paused_until_, until); }
  // Syncs take `factor` times as long.
  void SetDiskSlowness(uint64_t factor) { disk_slowness_ = factor; }
  // Faults that last are over.
  void Calm();

  // On the executor, after what is there already. Dropped when the process dies first.
  void Post(std::function<void()> work) {
    if (up()) process_->executor->Post(std::move(work));
  }
  // An effect is about to happen. True: the process is dead, and it does not. `where`: how the trace calls a death here.
  bool DiesHere(std::string_view where);

 protected:
  // `events` and `trace` outlive it.
  Computer(NodeId place, EventQueue& events, Trace& trace, const DiskPace& pace, const storage::MemoryStoreOptions& store, Random random)
      : place_(place), events_(events), trace_(trace), pace_(pace), store_options_(store), random_(random) {}

  // A new life: store and threads are there, the program is the derived class's to start.
  void BeginLife();
  SimExecutor& executor() { return *process_->executor; }
  SimExecutor& readers() { return *process_->readers; }
  HookedStore& hooked_store() { return *process_->hooked; }
  bool dead() const { return process_->dead; }
  Random& random() { return random_; }
  // The end of everything: no more effects, and nobody is told.
  void Silence() {
    if (process_) process_->dead = true;
  }

  // --- the program
  // One event of the process is over.
  virtual void OnEventOver() = 0;
  // The process is about to be gone: give up its program. Store and executors live until this returns.
  virtual void OnDown(bool by_power) = 0;
  // False: it died right there.
  virtual bool OnSubmit(const storage::WriteTask& task) = 0;
  virtual void OnSynced() {}
  // A write or a sync failed for good. The program learns of it by itself.
  virtual void OnStorageFailed() {}

 private:
  friend class SimExecutor;
  struct Process {
    std::unique_ptr<storage::MemoryStore> store;
    std::unique_ptr<HookedStore> hooked;
    std::unique_ptr<SimExecutor> executor;
    std::unique_ptr<SimExecutor> readers;
    bool dead = false;
  };

  void RunEvent(const std::function<void()>& work);
  void Bury(const char* why);
  void PaceDisk();
  bool BeforeSubmit(const storage::WriteTask& task) override { return OnSubmit(task); }
  void Submitted() override;

  const NodeId place_;
  EventQueue& events_;
  Trace& trace_;
  const DiskPace pace_;
  const storage::MemoryStoreOptions store_options_;
  Random random_;
  storage::MemoryDisk disk_;
  std::optional<Process> process_;
  uint64_t life_ = 0;
  Time paused_until_ = 0;
  uint64_t disk_slowness_ = 1;
  bool sync_scheduled_ = false;
  bool in_event_ = false;
  Death death_{.effects = 0};
};

}  // namespace flotilla::sim
