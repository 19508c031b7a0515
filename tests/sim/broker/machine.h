// One simulated machine (computer.h) whose program is the real broker.
//
//   Machine machine(place, environment, owner, directory, random);
//   machine.Boot();
//   machine.Post([&] { machine.broker().Call(...); });
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "flotilla/internal/v1/node_state.pb.h"
#include "server/broker/broker.h"
#include "server/broker/node_file.h"
#include "server/metadata/records.h"
#include "tests/sim/broker/peer_ports.h"
#include "tests/sim/broker/sim_clock.h"
#include "tests/sim/broker/swarm.h"
#include "tests/sim/broker/wires.h"
#include "tests/sim/computer.h"
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
  // A write is about to go to its disk.
  virtual void OnSubmit(Machine& machine, const storage::WriteTask& task) = 0;
  // The process is gone, or is about to; its sessions are to be given up.
  virtual void OnDown(Machine& machine) = 0;
  // One event of the process is over, and it lives.
  virtual void OnEventOver(Machine& machine) = 0;
  // Its broker says that the node was removed from the cluster, and ends.
  virtual void OnRemoved(Machine& machine) = 0;
};

struct Environment {
  EventQueue& events;
  Wires& wires;
  Trace& trace;
  Tally& tally;
  Verdict& verdict;
  const Swarm& swarm;
};

// Something at a machine that lives no longer than its process: a session of a client or of a peer.
class Session {
 public:
  virtual ~Session() = default;
};

class Machine final : public Computer {
 public:
  // `owner` and all of `environment` outlive it. `directory`: all machines by address.
  Machine(Place place, const Environment& environment, MachineOwner& owner, PeerDirectory& directory, Random random);
  ~Machine() override;

  std::string peer_address() const { return "machine-" + std::to_string(place().value()) + ":9651"; }
  std::string client_address() const { return "machine-" + std::to_string(place().value()) + ":9650"; }
  const Environment& environment() const { return environment_; }
  // It runs, and has read what it remembers.
  bool serving() const { return up() && program_->started; }
  bool stopping() const { return up() && program_->stopping; }
  // Nobody starts it for the time being.
  bool set_aside() const { return set_aside_; }
  void SetAside(bool aside) { set_aside_ = aside; }
  // Its node was removed from the cluster: nobody starts it again before it has an empty disk.
  bool removed() const { return removed_; }
  SimClock& clock() { return clock_; }
  const internal::v1::NodeState& remembered() const { return file_.state; }
  const Uuid& uuid() const { return uuid_; }
  // What the program that runs knows, or the one that runs next.
  metadata::FeatureRange features() const { return up() ? program_->features : installed_; }
  // The highest feature level for which its program was too old; 0: never.
  uint32_t too_old_for() const { return too_old_for_; }
  // From the next start on it runs another program.
  void Install(metadata::FeatureRange features);
  // Only while up().
  flotilla::broker::Broker& broker() { return *program_->broker; }
  SimPeerNetwork& network() { return *program_->network; }

  // Sessions die with the process, before the broker. Executor only.
  uint64_t Keep(std::unique_ptr<Session> session);
  Session* Find(uint64_t session) const;
  void Drop(uint64_t session);
  size_t sessions() const { return up() ? program_->sessions.size() : 0; }

  // --- life and death
  void Boot();
  // As a service manager stops it: hands over, then ends.
  void StopOrderly();
  // Down: an empty disk, and so another node.
  void Wipe();
  // Down, with metadata on its disk: from its next start on it is the metadata's only voter (flotillad recover-metadata). False: its disk
  // failed, and it may be or not.
  bool RecoverMetadata();
  // A bit of what it has of the group changes. False: there is nothing.
  bool FlipBit(GroupId group, uint64_t chance);
  // Nothing on its disk is damaged.
  bool sound() const { return !damaged_; }
  // What is damaged is of the metadata, without which it cannot run.
  bool crippled() const { return crippled_; }
  void Calm();

  // An effect is about to happen. True: the process is dead, and it does not.
  bool DiesHere(const char* where);

 private:
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
  struct Program {
    LateSink sink;
    std::unique_ptr<SimPeerNetwork> network;
    std::unique_ptr<flotilla::broker::Broker> broker;
    std::map<uint64_t, std::unique_ptr<Session>> sessions;  // the first to go
    metadata::FeatureRange features;
    uint64_t ticks_waiting = 0;
    bool started = false;
    bool stopping = false;
    bool leaving = false;
  };

  flotilla::broker::BrokerOptions Options();
  void StartBroker();
  void Tick(uint64_t life);
  void LookAfter();
  // Its program says that the cluster has gone beyond what it knows. Whether it has is seen in the end.
  bool IsTooOld(const Status& halted);
  void LookAfterStop(uint64_t life, Time deadline);
  void LookAfterFailure(uint64_t life, Time since);

  void OnStorageFailed() override { LookAfterFailure(life(), environment_.events.now()); }
  void OnEventOver() override;
  void OnDown(bool by_power) override;
  bool OnSubmit(const storage::WriteTask& task) override;

  const Environment environment_;
  MachineOwner& owner_;
  PeerDirectory& directory_;
  SimClock clock_;
  RememberedFile file_;
  Uuid uuid_;
  uint32_t too_old_for_ = 0;
  metadata::FeatureRange installed_ = metadata::kSupportedFeatures;
  std::unique_ptr<Program> program_;
  uint64_t next_session_ = 1;
  bool removed_ = false;
  bool set_aside_ = false;
  bool damaged_ = false;
  bool crippled_ = false;
};

}  // namespace flotilla::sim::broker
