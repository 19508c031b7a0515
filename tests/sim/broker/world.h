// All of a run: machines, wires, clients' knowledge, and the rules that look at the machines from outside.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "storage/base/random.h"
#include "tests/sim/broker/connections.h"
#include "tests/sim/broker/ledger.h"
#include "tests/sim/broker/machine.h"
#include "tests/sim/broker/moves_watch.h"
#include "tests/sim/broker/witness.h"
#include "tests/sim/parts.h"

namespace flotilla::sim::broker {

class World final : private MachineOwner, private PeerDirectory {
 public:
  // `excerpt`: what of the run is run. `trace_out` gets what the mode prints, and outlives it.
  World(const Swarm& swarm, const Excerpt& excerpt, Trace::Mode mode, std::ostream* trace_out);
  ~World() override;

  const Swarm& swarm() const { return swarm_; }
  EventQueue& events() { return events_; }
  Time now() const { return events_.now(); }
  Parts& parts() { return parts_; }
  Trace& trace() { return trace_; }
  Tally& tally() { return tally_; }
  Verdict& verdict() { return verdict_; }
  Wires& wires() { return wires_; }
  Ledger& ledger() { return ledger_; }
  Witness& witness() { return witness_; }
  Connections& connections() { return *connections_; }
  MovesWatch& moves() { return moves_; }
  std::vector<std::unique_ptr<Machine>>& machines() { return machines_; }
  Random Fork() { return random_.Fork(); }
  Place NewClient() { return Place{1000 + ++clients_}; }
  // A client says what it does.
  template <typename... Parts>
  void Tell(Place client, const Parts&... parts) {
    trace_.Story(NodeId{}, "client ", client.value() - 1000, ' ', parts...);
  }

  // Faults are over: everything has to succeed soon.
  bool healed = false;
  // The machine that may lose what is on its disk: more than one the cluster is not built to lose.
  Machine* harmed = nullptr;
  // It lost all of it, and so is another node.
  bool wiped = false;
  // The machine whose disk stays slow although all is healed, if it is one alone.
  Machine* sick = nullptr;
  bool cluster_made = false;
  // Nodes that lost their disks: they never come back.
  std::set<NodeId> ghosts;
  bool IsGhost(NodeId node) const { return ghosts.contains(node); }
  // Some machine that serves and is not removed; once all is healed there is one.
  Machine& OneInService();

 private:
  void OnSubmit(Machine& machine, const storage::WriteTask& task) override {
    witness_.OnSubmit(machine, task);
    moves_.OnWrite(machine, task);
  }
  void OnDown(Machine& machine) override;
  void OnEventOver(Machine& machine) override;
  void OnRemoved(Machine& machine) override;
  Machine* AtAddress(const std::string& peer_address) override;
  // Rule: the metadata at one version is the same everywhere.
  void CheckImage(Machine& machine);
  // Rule: nobody runs at a feature level that it does not know, nor has one beside it that does not.
  void CheckFeatureLevel(const Machine& machine, const metadata::Image& image);
  void CountFitness(const metadata::Image& image);

  Parts parts_;
  const Swarm swarm_;
  EventQueue events_;
  Trace trace_;
  Tally tally_;
  Random random_;
  Wires wires_;
  Verdict verdict_;
  std::vector<std::unique_ptr<Machine>> machines_;
  Witness witness_;
  Ledger ledger_;
  MovesWatch moves_;
  std::unique_ptr<Connections> connections_;
  std::map<std::pair<std::string, uint64_t>, uint32_t> checksums_;  // by cluster and version
  std::map<uint64_t, const metadata::Image*> looked_at_;            // by machine
  std::map<uint64_t, metadata::Shared<metadata::Image>> kept_;      // so that an address is not used again
  std::string cluster_;
  std::map<NodeId, bool> unfit_;  // as of version
  LogIndex fitness_of_;
  uint64_t clients_ = 0;
};

// What runs are expected to meet, all together.
std::vector<std::string> ExpectedMet();

}  // namespace flotilla::sim::broker
