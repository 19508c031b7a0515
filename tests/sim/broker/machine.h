// One simulated machine: a disk that outlives everything, and on it, while it is up, a process with the real store in memory and the
// real broker. The process can die between any two of its effects: from then on nothing that the code still does has an effect.
//
//   Machine machine(place, environment, owner, random);
//   machine.Boot();
//   machine.Post([&] { machine.broker().Call(...); });
//   machine.DieAfter({.effects = 3, .power = true});
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "flotilla/internal/v1/node_state.pb.h"
#include "server/broker/broker.h"
#include "server/broker/node_file.h"
#include "storage/memory/memory_disk.h"
#include "storage/memory/memory_store.h"
#include "tests/sim/broker/peer_ports.h"
#include "tests/sim/broker/sim_clock.h"
#include "tests/sim/broker/swarm.h"
#include "tests/sim/broker/wires.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/tally.h"
#include "tests/sim/trace.h"
#include "tests/sim/verdict.h"

namespace flotilla::sim::broker {

class Machine;

// What a machine reports.
class MachineOwner {
 public:
  virtual ~MachineOwner() = default;
  // The process is gone, or is about to; its sessions are to be given up.
  virtual void OnDown(Machine& machine) = 0;
  // One event of the process is over, and it lives.
  virtual void OnEventOver(Machine& machine) = 0;
};

struct Environment {
  EventQueue& events;
  Wires& wires;
  Trace& trace;
  Tally& tally;
  Verdict& verdict;
  const Swarm& swarm;
};

// Work in the order posted, each piece an event of its own.
class MachineExecutor final : public raft::Executor {
 public:
  // `delay`: how long a piece waits at most before it runs.
  MachineExecutor(Machine& machine, Time delay, Random random) : machine_(machine), delay_(delay), random_(random) {}
  void Post(std::function<void()> work) override;
  size_t size() const { return work_.size(); }

 private:
  void Wake();
  void RunOne();

  Machine& machine_;
  const Time delay_;
  Random random_;
  std::deque<std::function<void()>> work_;
  bool scheduled_ = false;
};

// Something at a machine that lives no longer than its process: a session of a client or of a peer.
class Session {
 public:
  virtual ~Session() = default;
};

class Machine final {
 public:
  struct Death {
    uint64_t effects = 1;  // dies at its n-th effect from now
    bool power = false;    // and so does the machine
    uint32_t survive_percent = 0;  // of the unsynced write
  };

  // `owner` and all of `environment` outlive it. `directory`: all machines by address.
  Machine(Place place, const Environment& environment, MachineOwner& owner, PeerDirectory& directory, Random random);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  Place place() const { return place_; }
  std::string peer_address() const { return "machine-" + std::to_string(place_.value()) + ":9651"; }
  std::string client_address() const { return "machine-" + std::to_string(place_.value()) + ":9650"; }
  const Environment& environment() const { return environment_; }
  // The process runs and has not just died.
  bool up() const { return process_ != nullptr && !process_->dead; }
  // ... and has read what it remembers.
  bool serving() const { return up() && process_->started; }
  // There is no process.
  bool down() const { return process_ == nullptr; }
  uint64_t life() const { return life_; }
  bool IsLife(uint64_t life) const { return up() && life_ == life; }
  bool paused() const { return environment_.events.now() < paused_until_; }
  bool stopping() const { return up() && process_->stopping; }
  SimClock& clock() { return clock_; }
  storage::MemoryDisk& disk() { return disk_; }
  const internal::v1::NodeState& remembered() const { return file_.state; }
  const Uuid& uuid() const { return uuid_; }
  // Only while up().
  flotilla::broker::Broker& broker() { return *process_->broker; }
  SimPeerNetwork& network() { return *process_->network; }
  const storage::MemoryStore& store() const { return *process_->store; }
  size_t queued_work() const { return up() ? process_->executor->size() + process_->readers->size() : 0; }

  // Sessions die with the process, before the broker. Executor only.
  uint64_t Keep(std::unique_ptr<Session> session);
  Session* Find(uint64_t session) const;
  void Drop(uint64_t session);
  size_t sessions() const { return up() ? process_->sessions.size() : 0; }

  // --- life and death
  void Boot();
  void Kill(const char* why);
  void PowerCut(uint32_t survive_percent, const char* why);
  void DieAfter(const Death& death) { death_ = death; }
  // As a service manager stops it: hands over, then ends.
  void StopOrderly();
  void Pause(Time until) { paused_until_ = std::max(paused_until_, until); }
  void SetDiskSlowness(uint64_t factor) { disk_slowness_ = factor; }
  // Down: an empty disk, and so another node.
  void Wipe();
  void Calm();

  // On the executor, after what is there already. Dropped when the process dies first.
  void Post(std::function<void()> work);
  // An effect is about to happen. True: the process is dead, and it does not.
  bool DiesHere(const char* where);

 private:
  friend class MachineExecutor;
  class HookedStore;
  // The part of the disk that holds the node's own file.
  struct RememberedFile final : flotilla::broker::NodeFile {
    explicit RememberedFile(Machine& owner) : machine(owner) {}
    Result<internal::v1::NodeState> Load() override { return state; }
    Status Save(const internal::v1::NodeState& saved) override;
    Machine& machine;
    internal::v1::NodeState state;
  };
  // Stands between the network and the broker until both are there.
  struct LateSink final : flotilla::broker::PeerSink {
    void OnForwardAnswer(NodeId from, flotilla::broker::ForwardAnswer answer) override { sink->OnForwardAnswer(from, std::move(answer)); }
    void OnForwardBroken(NodeId to) override { sink->OnForwardBroken(to); }
    void OnUnreachable(NodeId node) override { sink->OnUnreachable(node); }
    flotilla::broker::PeerSink* sink = nullptr;
  };
  struct Process {
    std::unique_ptr<storage::MemoryStore> store;
    std::unique_ptr<HookedStore> hooked;
    std::unique_ptr<MachineExecutor> executor;
    std::unique_ptr<MachineExecutor> readers;
    LateSink sink;
    std::unique_ptr<SimPeerNetwork> network;
    std::unique_ptr<flotilla::broker::Broker> broker;
    std::map<uint64_t, std::unique_ptr<Session>> sessions;  // the first to go
    uint64_t ticks_waiting = 0;
    bool started = false;
    bool stopping = false;
    bool leaving = false;
    bool dead = false;
  };

  flotilla::broker::BrokerOptions Options();
  void StartBroker();
  void RunEvent(const std::function<void()>& work);
  void Bury(const char* why);
  void Tick(uint64_t life);
  void LookAfter();
  void LookAfterStop(uint64_t life, Time deadline);
  void PaceDisk();
  void Submitted();

  const Place place_;
  const Environment environment_;
  MachineOwner& owner_;
  PeerDirectory& directory_;
  Random random_;
  SimClock clock_;
  storage::MemoryDisk disk_;
  RememberedFile file_;
  Uuid uuid_;
  std::unique_ptr<Process> process_;
  uint64_t life_ = 0;
  uint64_t next_session_ = 1;
  Time paused_until_ = 0;
  uint64_t disk_slowness_ = 1;
  bool sync_scheduled_ = false;
  bool in_event_ = false;
  Death death_{.effects = 0};
};

}  // namespace flotilla::sim::broker
