#include "tests/raft/cluster.h"

#include <algorithm>
#include <sstream>

namespace flotilla::raft::scenario {
namespace {

// Settling that takes more than this many steps will never end: two replicas answer each other for ever.
constexpr int kSettleStepsMax = 20'000;

void Require(const Oracle::Wrong& wrong) {
  if (wrong) throw Failure{*wrong};
}

std::string ShortState(const RaftCore& core) {
  std::string text = Text(RoleName(core.role()), " of term ", core.term());
  if (core.role() != Role::kLeader && core.leader().valid()) text += Text(" under ", core.leader());
  if (!core.fault().ok()) text += Text(", faulty: ", core.fault());
  return text;
}

}  // namespace

std::string LogText(const RaftLog& log) {
  std::string text;
  const auto& runs = log.terms();
  for (size_t i = 0; i < runs.size(); ++i) {
    const LogIndex last = i + 1 < runs.size() ? runs[i + 1].first - 1 : log.last();
    text += Text(text.empty() ? "" : " ", runs[i].first);
    if (last > runs[i].first) text += Text("-", last);
    text += Text("@", runs[i].term);
  }
  return text.empty() ? "empty" : text;
}

std::optional<Entry> EntryAt(const Replica& replica, LogIndex index) {
  const RaftLog& log = replica.core->log();
  if (index < log.first() || index > log.last()) return std::nullopt;
  if (auto tail = log.TailEntries(index, index + 1, 1, 1); tail && tail->size() == 1) return tail->front();
  if (!replica.disk.Has(index)) return std::nullopt;
  return replica.disk.At(index);
}

Cluster::Cluster(TraceSink trace) : trace_(std::move(trace)) {
  options_.group = kGroup;
  options_.election_ticks = 100;
  options_.heartbeat_ticks = 10;
  options_.resend_ticks = 30;
  options_.vote_resend_ticks = 20;
  options_.leader_lost_ticks = 10;
  options_.disk_full_retry_ticks = 40;
}

// --- replicas

void Cluster::Create(ReplicaId id, const Configuration& members) {
  Replica& replica = replicas_[id];
  replica.id = id;
  replica.options = options_;
  replica.options.self = id;
  replica.disk = Disk(kGroup, id, members);
}

Replica& Cluster::At(ReplicaId id) {
  auto found = replicas_.find(id);
  if (found != replicas_.end()) return found->second;
  std::string known;
  for (const auto& [other, replica] : replicas_) known += Text(" ", other);
  throw Failure{Text("there is no replica ", id, "; there are", known)};
}

void Cluster::Start(Replica& replica) {
  ++replica.starts;
  replica.machine_at = replica.disk.state().bounds.start.last.index;
  replica.apply_to = replica.machine_at;
  replica.machine = oracle_.MachineAt(replica.machine_at);
  const uint64_t seed = replica.id.node.value() * 1000 + replica.id.incarnation * 100 + replica.starts;
  replica.core = std::make_unique<RaftCore>(replica.options, replica.disk.state(), replica.machine_at, Random(seed), replica.now);
  CarryOut(replica);
}

void Cluster::Crash(Replica& replica, size_t surviving_tasks) {
  replica.core.reset();
  replica.disk.Crash(surviving_tasks);
  replica.fetches.clear();
  replica.snapshots_wanted.clear();
  replica.restore.reset();
  replica.busy = false;
  replica.machine.clear();
  oracle_.OnCrash(replica);
  last_shown_.erase(replica.id);
  for (auto read = reads_.begin(); read != reads_.end();) {
    read = read->second.at == replica.id && !read->second.ready ? reads_.erase(read) : std::next(read);
  }
}

void Cluster::Wipe(Replica& replica) { replica.disk = Disk(kGroup, replica.id, {}); }

// --- the network

void Cluster::PutInPool(Message message) {
  if (IsCut(message.from, message.to)) {
    Trace(Text("  ", message, "   lost: the link is cut"));
    return;
  }
  Trace(Text("  ", message));
  pool_.push_back(std::move(message));
}

void Cluster::Deliver(size_t position) {
  Message message = std::move(pool_[position]);
  pool_.erase(pool_.begin() + static_cast<std::ptrdiff_t>(position));
  // Nodes are connected, not replicas: what is meant for a former life of a node reaches the present one.
  const auto to = std::find_if(replicas_.begin(), replicas_.end(),
                               [&](const auto& row) { return row.first.node == message.to.node && row.second.running(); });
  const bool arrives = to != replicas_.end();
  Trace(Text("  > ", message, arrives ? "" : "   nobody there"));
  const ReplicaId from = message.from;
  const ReplicaId receiver = message.to;
  std::optional<LogIndex> anchor;
  if (const auto* install = std::get_if<SnapshotInstall>(&message.body)) anchor = install->meta.anchor.last.index;
  if (arrives) Do(to->second, [&](RaftCore& core) { core.Step(std::move(message)); });
  if (anchor) EndTransfer(from, receiver, arrives ? anchor : std::nullopt);
}

// The sender learns how its snapshot fared: installed up to `anchor`, or lost.
void Cluster::EndTransfer(ReplicaId from, ReplicaId to, std::optional<LogIndex> anchor) {
  auto sender = replicas_.find(from);
  if (sender == replicas_.end() || !sender->second.running()) return;
  Do(sender->second, [&](RaftCore& core) { anchor ? core.SnapshotSent(to, *anchor) : core.SnapshotFailed(to); });
}

void Cluster::Drop(size_t position) {
  const Message message = std::move(pool_[position]);
  pool_.erase(pool_.begin() + static_cast<std::ptrdiff_t>(position));
  Trace(Text("  x ", message));
  if (std::holds_alternative<SnapshotInstall>(message.body)) EndTransfer(message.from, message.to, std::nullopt);
}

void Cluster::DropOverCutLinks() {
  for (size_t i = 0; i < pool_.size();) {
    if (IsCut(pool_[i].from, pool_[i].to)) {
      Drop(i);
    } else {
      ++i;
    }
  }
}

// --- time and disk

void Cluster::Tick1(Replica& replica) {
  ++replica.now;
  Do(replica, [](RaftCore&) {});
}

bool Cluster::SyncOne(Replica& replica) {
  if (replica.disk.waiting() == 0) return false;
  Completion done = replica.disk.CompleteOldest();
  Trace(Text("  ", replica.id, " disk: task ", done.task.token, " ",
             done.status.ok() ? Text("durable, last ", replica.disk.last()) : done.status.ToString()));
  const uint64_t token = done.task.token;
  const bool ok = done.status.ok();
  if (ok && replica.restore && replica.restore_token == token) {
    RestoreMachine(replica, replica.restore->anchor.last.index);
    replica.restore.reset();
  }
  Do(replica, [&](RaftCore& core) { core.Written(std::move(done.task), done.status); });
  return true;
}

bool Cluster::AnswerFetch(Replica& replica, const Status& error) {
  if (replica.fetches.empty()) return false;
  const LogFetch fetch = replica.fetches.front();
  replica.fetches.erase(replica.fetches.begin());
  Result<std::vector<Entry>> entries =
      error.ok() ? replica.disk.Read(fetch.first, fetch.last, fetch.bytes_max) : Result<std::vector<Entry>>(error);
  Trace(Text("  ", replica.id, " reads entries ", fetch.first, "..", fetch.last - 1, " for ", fetch.to));
  Do(replica, [&](RaftCore& core) { core.LogRead(fetch, std::move(entries)); });
  return true;
}

bool Cluster::SendSnapshot(Replica& replica) {
  if (replica.snapshots_wanted.empty()) return false;
  const ReplicaId to = replica.snapshots_wanted.front();
  replica.snapshots_wanted.erase(replica.snapshots_wanted.begin());
  const RaftCore& core = *replica.core;
  if (core.role() != Role::kLeader) return true;
  storage::SnapshotMeta meta{.anchor = core.log().start(),
                             .configuration = EncodeConfiguration(core.log().ConfigurationAt(core.log().start().last.index)),
                             .id = core.log().start().last.index.value()};
  Message message{.group = kGroup, .from = replica.id, .to = to, .term = core.term(), .body = SnapshotInstall{meta}};
  if (IsCut(replica.id, to)) {
    EndTransfer(replica.id, to, std::nullopt);
  } else {
    PutInPool(std::move(message));
  }
  return true;
}

void Cluster::Settle() {
  for (int step = 0; step < kSettleStepsMax; ++step) {
    bool worked = false;
    if (!pool_.empty()) {
      Deliver(0);
      worked = true;
    }
    for (auto& [id, replica] : replicas_) {
      if (!replica.running()) continue;
      if (!replica.disk.slow) worked |= SyncOne(replica);
      if (replica.running()) worked |= AnswerFetch(replica, {});
      // A snapshot that is lost is wanted again at once: over a cut link that would never end.
      if (replica.running() && !replica.snapshots_wanted.empty() && !IsCut(id, replica.snapshots_wanted.front())) {
        worked |= SendSnapshot(replica);
      }
    }
    if (!worked) return;
  }
  throw Failure{Text("it does not settle: after ", kSettleStepsMax, " steps messages still cause messages")};
}

// --- inputs and effects

void Cluster::Compact(Replica& replica, LogIndex index) {
  if (!replica.disk.Has(index)) throw Failure{Text(replica.id, " has no durable entry ", index, " to compact up to")};
  const RaftCore& core = *replica.core;
  storage::SnapshotMeta meta{.anchor = storage::AnchorAfter(replica.disk.At(index).header),
                             .configuration = EncodeConfiguration(core.log().ConfigurationAt(index)),
                             .id = index.value()};
  Do(replica, [&](RaftCore& c) { c.Compact(meta); });
}

Status Cluster::AskRead(Replica& replica, const std::string& name) {
  if (reads_.contains(name)) throw Failure{Text("a read '", name, "' was asked before; choose another name")};
  const uint64_t id = next_read_++;
  read_names_[id] = name;
  reads_[name] = {.at = replica.id, .floor = oracle_.committed(), .ready = {}};
  Status status = Do(replica, [&](RaftCore& core) { return core.ReadIndex(id); });
  if (!status.ok()) reads_.erase(name);
  return status;
}

void Cluster::ResumeApply(Replica& replica) {
  replica.apply_paused = false;
  Apply(replica);
  CarryOut(replica);
}

void Cluster::EndBusy(Replica& replica) {
  replica.busy = false;
  CarryOut(replica);
}

void Cluster::CarryOut(Replica& replica) {
  if (replica.busy) {
    replica.core->CheckInvariants();
    return Require(oracle_.OnInput(replicas_, replica));
  }
  // Effects may cause effects (applied entries let go of memory); a core that never runs out of them would
  // loop.
  for (int turn = 0;; ++turn) {
    if (turn > kSettleStepsMax) throw Failure{Text(replica.id, " never runs out of effects")};
    Output output = replica.core->TakeOutput();
    if (output.empty()) break;
    Take(replica, std::move(output));
  }
  replica.core->CheckInvariants();
  Require(oracle_.OnInput(replicas_, replica));
  TraceStateChange(replica);
}

void Cluster::Take(Replica& replica, Output output) {
  Require(oracle_.OnInput(replicas_, replica));
  for (Message& message : output.messages) {
    Require(oracle_.OnSend(replica, message));
    PutInPool(std::move(message));
  }
  for (AppendTask& task : output.append) {
    if (!replica.core->fault().ok()) throw Failure{Text(replica.id, " is faulty and writes")};
    replica.disk.Queue(std::move(task));
  }
  for (const LogFetch& fetch : output.fetches) replica.fetches.push_back(fetch);
  for (const SnapshotWanted& wanted : output.snapshots) replica.snapshots_wanted.push_back(wanted.to);
  if (output.restore) {
    replica.restore = output.restore;
    replica.restore_token = output.restore_token;
    // What was to be applied before is replaced.
    replica.apply_to = std::min(replica.apply_to, replica.machine_at);
  }
  if (output.apply_to) replica.apply_to = std::max(replica.apply_to, *output.apply_to);
  Apply(replica);
  for (const ReadReady& ready : output.reads) NoteRead(ready);
  replica.heartbeat_wanted |= output.heartbeat_changed || output.heartbeat_now;
}

void Cluster::Apply(Replica& replica) {
  if (replica.apply_paused || replica.restore || replica.apply_to <= replica.machine_at) return;
  while (replica.machine_at < replica.apply_to) {
    const LogIndex index = replica.machine_at + 1;
    if (!replica.disk.Has(index)) throw Failure{Text(replica.id, " is told to apply ", index, ", which is not durable here")};
    const Entry& entry = replica.disk.At(index);
    Require(oracle_.OnApply(replica, entry));
    if (entry.header.kind == EntryKind::kData) replica.machine.emplace_back(entry.payload.view());
    replica.machine_at = index;
  }
  replica.core->Applied(replica.machine_at);
}

void Cluster::RestoreMachine(Replica& replica, LogIndex index) {
  replica.machine = oracle_.MachineAt(index);
  replica.machine_at = index;
  replica.apply_to = std::max(replica.apply_to, index);
}

void Cluster::NoteRead(const ReadReady& ready) {
  auto name = read_names_.find(ready.id);
  if (name == read_names_.end()) throw Failure{Text("a read nobody asked is answered: id ", ready.id)};
  auto found = reads_.find(name->second);
  if (found == reads_.end()) throw Failure{Text("read '", name->second, "' is answered although its replica crashed")};
  Read& read = found->second;
  if (read.ready) throw Failure{Text("read '", name->second, "' is answered twice")};
  if (ready.status.ok() && ready.index < read.floor) {
    throw Failure{
        Text("stale read '", name->second, "': released at ", ready.index, " although ", read.floor, " was committed when it was asked")};
  }
  read.ready = ready;
  Trace(Text("  read ", name->second, ready.status.ok() ? Text(" released at ", ready.index) : Text(": ", ready.status)));
}

void Cluster::CheckAll() { Require(oracle_.CheckAll(replicas_)); }

void Cluster::TraceStateChange(const Replica& replica) {
  const std::string now = ShortState(*replica.core);
  std::string& shown = last_shown_[replica.id];
  if (now == shown) return;
  shown = now;
  Trace(Text("  ", replica.id, " is ", now));
}

std::string Cluster::Describe() const {
  std::ostringstream out;
  for (const auto& [id, replica] : replicas_) {
    out << "  " << id << " ";
    if (replica.running()) {
      const RaftCore& core = *replica.core;
      out << ShortState(core) << "; log " << LogText(core.log()) << "; stable " << core.log().stable() << " commit " << core.commit()
          << " applied " << core.applied() << "; " << core.configuration();
    } else {
      out << (replica.starts == 0 ? "not started" : "crashed");
    }
    const storage::GroupState& disk = replica.disk.state();
    out << "; disk: term " << disk.hard_state.term << " vote " << disk.hard_state.voted_for << " entries (" << disk.bounds.start.last
        << ", " << disk.bounds.end.last << "]";
    if (replica.disk.waiting() > 0) out << " + " << replica.disk.waiting() << " tasks waiting";
    out << "\n";
  }
  constexpr size_t kShown = 10;
  for (size_t i = 0; i < std::min(pool_.size(), kShown); ++i) out << "  on its way: " << pool_[i] << "\n";
  if (pool_.size() > kShown) out << "  ... and " << pool_.size() - kShown << " more messages\n";
  return std::move(out).str();
}

}  // namespace flotilla::raft::scenario
