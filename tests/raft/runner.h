// Runs one scenario. The language is in README.md, beside this file; a command is a method here.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/raft/cluster.h"
#include "tests/raft/script.h"

namespace flotilla::raft::scenario {

class Runner {
 public:
  // `trace`: print every command and everything that happens.
  Runner(const Script& script, bool trace);
  // Nothing, or what failed: "file:line: command", why, and the state of all replicas.
  std::optional<std::string> Run();
  // For a CHECK that fails inside a core: where the script stood.
  std::string Where() const;

 private:
  using Handler = void (Runner::*)(Words&);
  static const std::map<std::string, Handler>& Commands();

  void Execute(const Command& command);
  void CheckOutcome(const Command& command);

  // --- before the first input
  void Options(Words& words);
  void Nodes(Words& words);
  void Blank(Words& words);
  void Log(Words& words);
  // --- processes and disks
  void Start(Words& words);
  void Crash(Words& words);
  void Wipe(Words& words);
  void Lose(Words& words);
  void ForgetVote(Words& words);
  void ForgetTerm(Words& words);
  void Sync(Words& words);
  void SyncFail(Words& words);
  void DiskFull(Words& words);
  void DiskFree(Words& words);
  void DiskSlow(Words& words);
  void DiskReady(Words& words);
  void Fetch(Words& words);
  void ApplyPause(Words& words);
  void ApplyResume(Words& words);
  void Busy(Words& words);
  void Idle(Words& words);
  // --- the network
  void Deliver(Words& words);
  void Drop(Words& words);
  void Repeat(Words& words);
  void Reorder(Words& words);
  void Hold(Words& words);
  void Release(Words& words);
  void Cut(Words& words);
  void Isolate(Words& words);
  void Partition(Words& words);
  void Heal(Words& words);
  void Forge(Words& words);
  // --- time
  void Tick(Words& words);
  void Silence(Words& words);
  void Timeout(Words& words);
  void Settle(Words& words);
  void RunFor(Words& words);
  // --- inputs to a core
  void Elect(Words& words);
  void Campaign(Words& words);
  void Propose(Words& words);
  void Change(Words& words);
  void Transfer(Words& words);
  void ReadCommand(Words& words);
  void Compact(Words& words);
  void Snapshot(Words& words);
  void Unreachable(Words& words);
  void Priority(Words& words);
  void Fail(Words& words);
  void Heartbeat(Words& words);
  void Alive(Words& words);
  // --- properties
  void Expect(Words& words);
  void ExpectLeader(Words& words);
  void ExpectLog(Words& words);
  void ExpectMachine(Words& words);
  void ExpectRead(Words& words);
  void ExpectMessages(Words& words, std::optional<uint64_t> count);
  void ExpectConverged();
  void ExpectFields(Words& words);

  void StartFresh();
  Replica& Running(ReplicaId id);
  Replica& Stopped(ReplicaId id);
  // The replicas named, or all that run.
  std::vector<Replica*> RunningOf(Words& words);
  std::vector<Replica*> AllRunning();
  void Print(const std::string& line);

  const Script& script_;
  bool trace_;
  Cluster cluster_;
  const Command* current_ = nullptr;
  Status outcome_;  // of the current command, where it has one
  bool has_outcome_ = false;
  std::map<std::string, std::vector<Message>> held_;
  std::set<ReplicaId> expected_faults_;
};

}  // namespace flotilla::raft::scenario
