#include "tests/raft/runner.h"

#include <algorithm>
#include <functional>
#include <iostream>
#include <sstream>
#include <type_traits>

#include "tests/raft/fields.h"
#include "tests/raft/forge.h"

namespace flotilla::raft::scenario {
namespace {

// Commands that prepare a cluster. The first other one starts every replica that was created.
const std::set<std::string>& Preparing() {
  static const std::set<std::string> names = {"options", "nodes", "blank", "log"};
  return names;
}

// "a", "a:3" with three records, "@4096" of so many bytes.
Proposal ProposalOf(const std::string& word) {
  Proposal proposal{.kind = EntryKind::kData, .record_count = 1, .payload = {}};
  if (word[0] == '@') {
    proposal.payload = Bytes(std::string(Words::NumberOf(word.substr(1)), 'x'));
    return proposal;
  }
  const size_t colon = word.find(':');
  if (colon != std::string::npos) proposal.record_count = static_cast<uint32_t>(Words::NumberOf(word.substr(colon + 1)));
  proposal.payload = Bytes(word.substr(0, colon));
  return proposal;
}

}  // namespace

const std::map<std::string, Runner::Handler>& Runner::Commands() {
  static const std::map<std::string, Handler> commands = {
      {"options", &Runner::Options},
      {"nodes", &Runner::Nodes},
      {"blank", &Runner::Blank},
      {"log", &Runner::Log},
      {"start", &Runner::Start},
      {"restart", &Runner::Start},
      {"crash", &Runner::Crash},
      {"wipe", &Runner::Wipe},
      {"lose", &Runner::Lose},
      {"forget-vote", &Runner::ForgetVote},
      {"forget-term", &Runner::ForgetTerm},
      {"sync", &Runner::Sync},
      {"sync-fail", &Runner::SyncFail},
      {"disk-full", &Runner::DiskFull},
      {"disk-free", &Runner::DiskFree},
      {"disk-slow", &Runner::DiskSlow},
      {"disk-ready", &Runner::DiskReady},
      {"fetch", &Runner::Fetch},
      {"apply-pause", &Runner::ApplyPause},
      {"apply-resume", &Runner::ApplyResume},
      {"busy", &Runner::Busy},
      {"idle", &Runner::Idle},
      {"deliver", &Runner::Deliver},
      {"drop", &Runner::Drop},
      {"repeat", &Runner::Repeat},
      {"reorder", &Runner::Reorder},
      {"hold", &Runner::Hold},
      {"release", &Runner::Release},
      {"cut", &Runner::Cut},
      {"isolate", &Runner::Isolate},
      {"partition", &Runner::Partition},
      {"heal", &Runner::Heal},
      {"forge", &Runner::Forge},
      {"tick", &Runner::Tick},
      {"silence", &Runner::Silence},
      {"timeout", &Runner::Timeout},
      {"settle", &Runner::Settle},
      {"run", &Runner::RunFor},
      {"elect", &Runner::Elect},
      {"campaign", &Runner::Campaign},
      {"propose", &Runner::Propose},
      {"change", &Runner::Change},
      {"transfer", &Runner::Transfer},
      {"read", &Runner::ReadCommand},
      {"compact", &Runner::Compact},
      {"snapshot", &Runner::Snapshot},
      {"unreachable", &Runner::Unreachable},
      {"priority", &Runner::Priority},
      {"fail", &Runner::Fail},
      {"heartbeat", &Runner::Heartbeat},
      {"alive", &Runner::Alive},
      {"expect", &Runner::Expect},
  };
  return commands;
}

Runner::Runner(const Script& script, bool trace)
    : script_(script), trace_(trace), cluster_([this](const std::string& line) { Print(line); }) {}

void Runner::Print(const std::string& line) {
  if (trace_) std::cout << line << "\n";
}

std::string Runner::Where() const {
  if (current_ == nullptr) return script_.file;
  return Text(script_.file, ":", current_->line, ": ", current_->text);
}

std::optional<std::string> Runner::Run() {
  try {
    for (const Command& command : script_.commands) Execute(command);
    for (const auto& [id, replica] : cluster_.replicas()) {
      if (!replica.running() || replica.core->fault().ok() || expected_faults_.contains(id)) continue;
      throw Failure{Text("replica ", id, " became faulty and the script does not expect it: ", replica.core->fault())};
    }
  } catch (const Failure& failure) {
    return Text(Where(), "\n", failure.what, "\n", cluster_.Describe());
  }
  return std::nullopt;
}

void Runner::Execute(const Command& command) {
  current_ = &command;
  has_outcome_ = false;
  outcome_ = Status();
  Print(Text(command.line, ": ", command.text));
  auto found = Commands().find(command.name);
  if (found == Commands().end()) {
    std::string names;
    for (const auto& [name, handler] : Commands()) names += " " + name;
    throw Failure{Text("there is no command '", command.name, "'; there are", names)};
  }
  if (!Preparing().contains(command.name)) StartFresh();
  Words words(command.words);
  (this->*found->second)(words);
  words.End();
  CheckOutcome(command);
  cluster_.CheckAll();
}

void Runner::CheckOutcome(const Command& command) {
  if (!command.outcome.empty() && !has_outcome_) throw Failure{Text("'", command.name, "' has no outcome that => could check")};
  const std::string wanted = command.outcome.empty() ? "OK" : command.outcome[0];
  if (ReasonOf(outcome_) != wanted) throw Failure{Text("the outcome is ", outcome_, ", not ", wanted)};
  for (size_t i = 1; i < command.outcome.size(); ++i) {
    const auto detail = ParseComparison(command.outcome[i]);
    if (!detail) throw Failure{Text("'", command.outcome[i], "' is not a detail; write key=value")};
    const auto actual = outcome_.Detail(detail->key);
    if (!actual || !detail->Holds(*actual)) throw Failure{Text("the outcome ", outcome_, " does not have ", command.outcome[i])};
  }
}

void Runner::StartFresh() {
  if (cluster_.replicas().empty()) throw Failure{"there are no replicas yet; begin with: nodes 1 2 3"};
  for (const auto& [id, replica] : cluster_.replicas()) {
    if (replica.starts == 0) cluster_.Start(cluster_.At(id));
  }
}

Replica& Runner::Running(ReplicaId id) {
  Replica& replica = cluster_.At(id);
  if (!replica.running()) throw Failure{Text("replica ", id, " is not running; restart it first")};
  return replica;
}

Replica& Runner::Stopped(ReplicaId id) {
  Replica& replica = cluster_.At(id);
  if (replica.running()) throw Failure{Text("replica ", id, " is running; crash it first")};
  return replica;
}

std::vector<Replica*> Runner::AllRunning() {
  std::vector<Replica*> all;
  for (const auto& [id, replica] : cluster_.replicas()) {
    if (replica.running()) all.push_back(&cluster_.At(id));
  }
  return all;
}

std::vector<Replica*> Runner::RunningOf(Words& words) {
  if (words.empty()) return AllRunning();
  std::vector<Replica*> named;
  for (const std::string& word : words.Rest()) {
    for (const ReplicaId& id : Words::IdsOf(word)) named.push_back(&Running(id));
  }
  return named;
}

// --- before the first input

void Runner::Options(Words& words) {
  CoreOptions& o = cluster_.options();
  const std::map<std::string, std::function<void(uint64_t)>> setters = {
      {"election_ticks", [&](uint64_t n) { o.election_ticks = static_cast<uint32_t>(n); }},
      {"heartbeat_ticks", [&](uint64_t n) { o.heartbeat_ticks = static_cast<uint32_t>(n); }},
      {"resend_ticks", [&](uint64_t n) { o.resend_ticks = static_cast<uint32_t>(n); }},
      {"vote_resend_ticks", [&](uint64_t n) { o.vote_resend_ticks = static_cast<uint32_t>(n); }},
      {"leader_lost_ticks", [&](uint64_t n) { o.leader_lost_ticks = static_cast<uint32_t>(n); }},
      {"disk_full_retry_ticks", [&](uint64_t n) { o.disk_full_retry_ticks = static_cast<uint32_t>(n); }},
      {"append_bytes_max", [&](uint64_t n) { o.append_bytes_max = n; }},
      {"append_entries_max", [&](uint64_t n) { o.append_entries_max = n; }},
      {"inflight_messages_max", [&](uint64_t n) { o.inflight_messages_max = n; }},
      {"inflight_bytes_max", [&](uint64_t n) { o.inflight_bytes_max = n; }},
      {"uncommitted_bytes_max", [&](uint64_t n) { o.uncommitted_bytes_max = n; }},
      {"tail_bytes_max", [&](uint64_t n) { o.tail_bytes_max = n; }},
      {"pending_reads_max", [&](uint64_t n) { o.pending_reads_max = n; }},
      {"promotion_lag_entries_max", [&](uint64_t n) { o.promotion_lag_entries_max = n; }},
      {"priority", [&](uint64_t n) { o.priority = static_cast<uint32_t>(n); }},
  };
  if (!cluster_.replicas().empty()) throw Failure{"options come before the replicas they are for"};
  for (const std::string& word : words.Rest()) {
    const auto option = ParseComparison(word);
    if (!option || option->op != "=") throw Failure{Text("'", word, "' is not an option; write name=number")};
    auto setter = setters.find(option->key);
    if (setter == setters.end()) {
      std::string names;
      for (const auto& [name, set] : setters) names += " " + name;
      throw Failure{Text("there is no option '", option->key, "'; there are", names)};
    }
    setter->second(Words::NumberOf(option->value));
  }
}

void Runner::Nodes(Words& words) {
  Configuration members;
  bool learners = false;
  for (const std::string& word : words.Rest()) {
    if (word == "learners") {
      learners = true;
    } else {
      (learners ? members.learners : members.voters).push_back(Words::IdOf(word));
    }
  }
  members.Normalize();
  if (members.voters.empty()) throw Failure{"name the voters: nodes 1 2 3 learners 4"};
  for (const ReplicaId& id : members.Replicas()) cluster_.Create(id, members);
}

void Runner::Blank(Words& words) {
  for (const std::string& word : words.Rest()) cluster_.Create(Words::IdOf(word), {});
}

void Runner::Log(Words& words) {
  Replica& replica = Stopped(words.Id());
  storage::HardState hard_state;
  std::vector<storage::EntryId> log;
  for (const std::string& word : words.Rest()) {
    const auto field = ParseComparison(word);
    if (field && field->key == "term") {
      hard_state.term = Term{Words::NumberOf(field->value)};
    } else if (field && field->key == "vote") {
      hard_state.voted_for = Words::IdOf(field->value);
    } else if (field && field->key == "commit") {
      hard_state.commit = LogIndex{Words::NumberOf(field->value)};
    } else {
      const storage::EntryId id = Words::EntryIdOf(word);
      const storage::EntryId before = log.empty() ? storage::EntryId{} : log.back();
      if (id.index != before.index + 1 || id.term < before.term) throw Failure{Text(word, " does not follow ", before)};
      log.push_back(id);
    }
  }
  if (!log.empty()) hard_state.term = std::max(hard_state.term, log.back().term);
  replica.disk.Prepare(log, hard_state);
}

// --- processes and disks

void Runner::Start(Words& words) {
  while (!words.empty()) {
    Replica& replica = Stopped(words.Id());
    expected_faults_.erase(replica.id);
    cluster_.Start(replica);
  }
}

void Runner::Crash(Words& words) {
  std::vector<Replica*> crashing;
  uint64_t survivors = 0;
  while (!words.empty()) {
    if (words.Take("keep")) {
      survivors = words.Number("how many of the waiting tasks reached the disk");
    } else {
      crashing.push_back(&Running(words.Id()));
    }
  }
  for (Replica* replica : crashing) cluster_.Crash(*replica, survivors);
}

void Runner::Wipe(Words& words) { cluster_.Wipe(Stopped(words.Id())); }

void Runner::Lose(Words& words) {
  Replica& replica = Stopped(words.Id());
  if (!words.Take("after")) throw Failure{"write: lose 3 after 5"};
  replica.disk.LoseAfter(LogIndex{words.Number("the last index that stays")});
}

void Runner::ForgetVote(Words& words) { Stopped(words.Id()).disk.ForgetVote(); }
void Runner::ForgetTerm(Words& words) { Stopped(words.Id()).disk.ForgetTerm(); }

void Runner::Sync(Words& words) {
  Replica& replica = Running(words.Id());
  size_t count = words.empty() ? replica.disk.waiting() : words.Number("how many tasks");
  if (count == 0) throw Failure{Text("nothing waits for the disk of ", replica.id)};
  for (; count > 0; --count) {
    if (!cluster_.SyncOne(replica)) throw Failure{Text("only so many tasks wait for the disk of ", replica.id, "; ", count, " less")};
  }
}

void Runner::SyncFail(Words& words) { Running(words.Id()).disk.fail_next = true; }
void Runner::DiskFull(Words& words) { cluster_.At(words.Id()).disk.full = true; }
void Runner::DiskFree(Words& words) { cluster_.At(words.Id()).disk.full = false; }

void Runner::DiskSlow(Words& words) {
  while (!words.empty()) cluster_.At(words.Id()).disk.slow = true;
}

void Runner::DiskReady(Words& words) {
  while (!words.empty()) cluster_.At(words.Id()).disk.slow = false;
}

void Runner::Fetch(Words& words) {
  Replica& replica = Running(words.Id());
  Status error;
  if (words.Take("damaged")) error = Status(Reason::kDataLoss, "the entry's checksum is wrong");
  if (!cluster_.AnswerFetch(replica, error)) throw Failure{Text(replica.id, " reads nothing from its disk")};
}

void Runner::ApplyPause(Words& words) { Running(words.Id()).apply_paused = true; }
void Runner::ApplyResume(Words& words) { cluster_.ResumeApply(Running(words.Id())); }

void Runner::Busy(Words& words) { Running(words.Id()).busy = true; }
void Runner::Idle(Words& words) { cluster_.EndBusy(Running(words.Id())); }

// --- the network

void Runner::Deliver(Words& words) {
  std::vector<size_t> selected = MessageFilter(words.Rest()).Select(cluster_.pool());
  if (selected.empty()) throw Failure{"no such message is on its way"};
  // New messages go to the back of the pool: positions only move by what is delivered before them.
  for (size_t done = 0; done < selected.size(); ++done) cluster_.Deliver(selected[done] - done);
}

void Runner::Drop(Words& words) {
  std::vector<size_t> selected = MessageFilter(words.Rest()).Select(cluster_.pool());
  for (size_t done = 0; done < selected.size(); ++done) cluster_.Drop(selected[done] - done);
}

void Runner::Repeat(Words& words) {
  std::vector<Message>& pool = cluster_.pool();
  const std::vector<size_t> selected = MessageFilter(words.Rest()).Select(pool);
  if (selected.empty()) throw Failure{"no such message is on its way"};
  for (size_t position : selected) pool.push_back(Message(pool[position]));
}

void Runner::Reorder(Words& words) {
  std::vector<Message>& pool = cluster_.pool();
  const std::vector<size_t> selected = MessageFilter(words.Rest()).Select(pool);
  if (selected.size() < 2) throw Failure{"fewer than two such messages are on their way"};
  for (size_t i = 0; i < selected.size() / 2; ++i) std::swap(pool[selected[i]], pool[selected[selected.size() - 1 - i]]);
}

void Runner::Hold(Words& words) {
  const std::string name = words.Next("a name for what is held back");
  const std::vector<size_t> selected = MessageFilter(words.Rest()).Select(cluster_.pool());
  if (selected.empty()) throw Failure{"no such message is on its way"};
  std::vector<Message>& pool = cluster_.pool();
  for (size_t position : selected) held_[name].push_back(pool[position]);
  for (auto position = selected.rbegin(); position != selected.rend(); ++position) {
    pool.erase(pool.begin() + static_cast<std::ptrdiff_t>(*position));
  }
}

void Runner::Release(Words& words) {
  const std::string name = words.Next("the name of what is held back");
  auto held = held_.extract(name);
  if (held.empty()) throw Failure{Text("nothing is held back as '", name, "'")};
  for (Message& message : held.mapped()) cluster_.PutInPool(std::move(message));
}

void Runner::Cut(Words& words) {
  const std::string link = words.Next("a link such as 1->2");
  const size_t arrow = link.find("->");
  if (arrow == std::string::npos) throw Failure{Text("'", link, "' is not a link; write 1->2")};
  for (const ReplicaId& from : Words::IdsOf(link.substr(0, arrow))) {
    for (const ReplicaId& to : Words::IdsOf(link.substr(arrow + 2))) cluster_.Cut(from, to);
  }
  cluster_.DropOverCutLinks();
}

void Runner::Isolate(Words& words) {
  while (!words.empty()) {
    const ReplicaId alone = cluster_.At(words.Id()).id;
    for (const auto& [id, replica] : cluster_.replicas()) {
      cluster_.Cut(alone, id);
      cluster_.Cut(id, alone);
    }
  }
  cluster_.DropOverCutLinks();
}

void Runner::Partition(Words& words) {
  std::vector<std::vector<ReplicaId>> sides;
  while (!words.empty()) sides.push_back(words.Ids());
  if (sides.size() < 2) throw Failure{"name two sides or more: partition 1,2 3,4,5"};
  for (const auto& here : sides) {
    for (const auto& there : sides) {
      if (&here == &there) continue;
      for (const ReplicaId& from : here) {
        for (const ReplicaId& to : there) cluster_.Cut(from, to);
      }
    }
  }
  cluster_.DropOverCutLinks();
}

void Runner::Heal(Words& words) {
  if (words.empty()) return cluster_.Heal();
  const std::string link = words.Next("a link such as 1->2");
  const size_t arrow = link.find("->");
  if (arrow == std::string::npos) throw Failure{Text("'", link, "' is not a link; write 1->2")};
  for (const ReplicaId& from : Words::IdsOf(link.substr(0, arrow))) {
    for (const ReplicaId& to : Words::IdsOf(link.substr(arrow + 2))) cluster_.Heal(from, to);
  }
}

void Runner::Forge(Words& words) { cluster_.PutInPool(Forged(words)); }

// --- time

void Runner::Tick(Words& words) {
  const uint64_t ticks = words.Number("how many ticks");
  const std::vector<Replica*> replicas = RunningOf(words);
  for (uint64_t tick = 0; tick < ticks; ++tick) {
    for (Replica* replica : replicas) cluster_.Tick1(*replica);
  }
}

void Runner::Silence(Words& words) {
  if (words.empty()) throw Failure{"whose clock moves on?"};
  for (Replica* replica : RunningOf(words)) {
    for (uint32_t tick = 0; tick < replica->options.election_ticks; ++tick) cluster_.Tick1(*replica);
  }
}

void Runner::Timeout(Words& words) {
  Replica& replica = Running(words.Id());
  const uint64_t before = replica.core->status().elections_started;
  for (uint32_t tick = 0; tick <= 2 * replica.options.election_ticks; ++tick) {
    cluster_.Tick1(replica);
    if (replica.core->status().elections_started > before) return;
  }
  throw Failure{Text("two election timeouts passed at ", replica.id, " and it did not ask for votes")};
}

void Runner::Settle(Words&) { cluster_.Settle(); }

void Runner::RunFor(Words& words) {
  const uint64_t ticks = words.Number("how many ticks");
  for (uint64_t tick = 0; tick < ticks; ++tick) {
    for (Replica* replica : AllRunning()) cluster_.Tick1(*replica);
    cluster_.Settle();
  }
}

// --- inputs to a core

void Runner::Elect(Words& words) {
  Replica& winner = Running(words.Id());
  for (Replica* replica : AllRunning()) {
    if (replica == &winner || replica->core->role() == Role::kLeader) continue;
    for (uint32_t tick = 0; tick < replica->options.election_ticks; ++tick) {
      ++replica->now;
      if (tick + 1 == replica->options.election_ticks) cluster_.Do(*replica, [](RaftCore&) {});
    }
  }
  cluster_.Do(winner, [](RaftCore& core) { core.Campaign(); });
  cluster_.Settle();
  if (winner.core->role() != Role::kLeader) throw Failure{Text(winner.id, " was not elected")};
}

void Runner::Campaign(Words& words) {
  cluster_.Do(Running(words.Id()), [](RaftCore& core) { core.Campaign(); });
}

void Runner::Propose(Words& words) {
  Replica& replica = Running(words.Id());
  std::vector<Proposal> proposals;
  for (const std::string& word : words.Rest()) proposals.push_back(ProposalOf(word));
  has_outcome_ = true;
  outcome_ = cluster_.Do(replica, [&](RaftCore& core) { return core.Propose(proposals); }).status();
}

void Runner::Change(Words& words) {
  Replica& replica = Running(words.Id());
  MembershipChange change;
  while (!words.empty()) {
    const std::string what = words.Next("add, promote, demote or remove");
    std::vector<ReplicaId>* list = what == "add"       ? &change.add_learners
                                   : what == "promote" ? &change.promote
                                   : what == "demote"  ? &change.demote
                                   : what == "remove"  ? &change.remove
                                                       : nullptr;
    if (list == nullptr) throw Failure{Text("'", what, "' is not add, promote, demote or remove")};
    *list = words.Ids();
  }
  has_outcome_ = true;
  outcome_ = cluster_.Do(replica, [&](RaftCore& core) { return core.ProposeChange(change); }).status();
}

void Runner::Transfer(Words& words) {
  Replica& replica = Running(words.Id());
  const ReplicaId target = words.empty() ? kNoReplica : words.Id();
  has_outcome_ = true;
  outcome_ = cluster_.Do(replica, [&](RaftCore& core) { return core.TransferLeadership(target); });
}

void Runner::ReadCommand(Words& words) {
  Replica& replica = Running(words.Id());
  has_outcome_ = true;
  outcome_ = cluster_.AskRead(replica, words.Next("a name for the read"));
}

void Runner::Compact(Words& words) {
  Replica& replica = Running(words.Id());
  cluster_.Compact(replica, LogIndex{words.Number("the last index that goes")});
}

void Runner::Snapshot(Words& words) {
  Replica& replica = Running(words.Id());
  if (!cluster_.SendSnapshot(replica)) throw Failure{Text("nobody needs a snapshot of ", replica.id)};
}

void Runner::Unreachable(Words& words) {
  Replica& replica = Running(words.Id());
  const ReplicaId other = words.Id();
  cluster_.Do(replica, [&](RaftCore& core) { core.Unreachable(other); });
}

void Runner::Priority(Words& words) {
  Replica& replica = Running(words.Id());
  replica.options.priority = static_cast<uint32_t>(words.Number("the priority"));
  cluster_.Do(replica, [&](RaftCore& core) { core.SetPriority(replica.options.priority); });
}

void Runner::Fail(Words& words) {
  cluster_.Do(Running(words.Id()), [](RaftCore& core) { core.Fail(Status(Reason::kDataLoss, "the script says so")); });
}

void Runner::Heartbeat(Words& words) {
  Replica& replica = Running(words.Id());
  replica.heartbeat_wanted = false;
  std::vector<ReplicaId> others;
  for (const ReplicaId& id : replica.core->configuration().Replicas()) {
    if (id != replica.id) others.push_back(id);
  }
  for (const ReplicaId& id : others) cluster_.PutInPool(replica.core->MakeHeartbeat(id));
}

void Runner::Alive(Words& words) {
  Replica& replica = Running(words.Id());
  if (words.Take("leader")) {
    cluster_.Do(replica, [&](RaftCore& core) { core.LeaderAlive(replica.now); });
  } else {
    const ReplicaId other = words.Id();
    cluster_.Do(replica, [&](RaftCore& core) { core.ReplicaAlive(other, replica.now); });
  }
}

}  // namespace flotilla::raft::scenario
