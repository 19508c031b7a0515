// What scenarios expect: the properties of replicas, logs, reads and messages.
#include <optional>
#include <string>
#include <vector>

#include "tests/raft/fields.h"
#include "tests/raft/runner.h"

namespace flotilla::raft::scenario {
namespace {

template <typename T>
std::string Joined(const std::vector<T>& items) {
  std::string text;
  for (const T& item : items) text += Text(text.empty() ? "" : " ", item);
  return text.empty() ? "nothing" : text;
}

}  // namespace

void Runner::Expect(Words& words) {
  if (words.Take("leader")) return ExpectLeader(words);
  if (words.Take("log")) return ExpectLog(words);
  if (words.Take("machine")) return ExpectMachine(words);
  if (words.Take("read")) return ExpectRead(words);
  if (words.Take("message")) return ExpectMessages(words, std::nullopt);
  if (words.Take("no")) return ExpectMessages(words, 0);
  if (words.Take("messages")) {
    const uint64_t count = words.Number("how many messages");
    return ExpectMessages(words, count);
  }
  if (words.Take("converged")) return ExpectConverged();
  ExpectFields(words);
}

// Who leads is the leader of the newest term; a deposed one may not know yet.
void Runner::ExpectLeader(Words& words) {
  ReplicaId leader;
  Term term;
  for (const Replica* replica : AllRunning()) {
    if (replica->core->role() != Role::kLeader || replica->core->term() < term) continue;
    leader = replica->id;
    term = replica->core->term();
  }
  const std::string wanted = words.Next("a replica, none or any");
  if (wanted == "any" ? !leader.valid() : Text(leader) != (wanted == "none" ? "-" : wanted)) {
    throw Failure{Text("the leader is ", leader, ", not ", wanted)};
  }
}

void Runner::ExpectLog(Words& words) {
  const Replica& replica = Running(words.Id());
  std::vector<storage::EntryId> wanted, actual;
  for (const std::string& word : words.Rest()) {
    if (word != "empty") wanted.push_back(Words::EntryIdOf(word));
  }
  const RaftLog& log = replica.core->log();
  for (LogIndex index = log.first(); index <= log.last(); ++index) actual.push_back({*log.TermAt(index), index});
  if (actual != wanted) throw Failure{Text("the log of ", replica.id, " is ", Joined(actual))};
}

void Runner::ExpectMachine(Words& words) {
  const Replica& replica = Running(words.Id());
  std::vector<std::string> wanted = words.Rest();
  if (wanted == std::vector<std::string>{"nothing"}) wanted.clear();
  if (replica.machine != wanted) throw Failure{Text(replica.id, " has applied ", Joined(replica.machine))};
}

void Runner::ExpectRead(Words& words) {
  const std::string name = words.Next("the name of a read");
  auto found = cluster_.reads().find(name);
  if (found == cluster_.reads().end()) throw Failure{Text("there is no read '", name, "'")};
  const std::optional<ReadReady>& ready = found->second.ready;
  const std::string actual = !ready ? "waiting" : ready->status.ok() ? Text("released ", ready->index) : ReasonOf(ready->status);
  std::string wanted = words.Next("waiting, released INDEX, or a reason");
  if (wanted == "released") wanted += " " + words.Next("the index at which it is released");
  if (actual != wanted) throw Failure{Text("read '", name, "' is: ", actual)};
}

void Runner::ExpectMessages(Words& words, std::optional<uint64_t> count) {
  const size_t found = MessageFilter(words.Rest()).Select(cluster_.pool()).size();
  if (count ? found == *count : found > 0) return;
  throw Failure{Text(found, " such messages are on their way")};
}

// Among the members as the replica that knows most is aware of them: who was removed may never be told.
void Runner::ExpectConverged() {
  const Replica* best = nullptr;
  for (const Replica* replica : AllRunning()) {
    if (!replica->core->fault().ok()) continue;
    if (best == nullptr || replica->core->commit() > best->core->commit()) best = replica;
  }
  if (best == nullptr) throw Failure{"no replica is running"};
  const RaftCore& most = *best->core;
  for (const Replica* replica : AllRunning()) {
    const RaftCore& core = *replica->core;
    if (!core.fault().ok() || !most.configuration().Contains(replica->id)) continue;
    if (core.commit() != core.log().last()) throw Failure{Text(replica->id, " has committed only up to ", core.commit())};
    if (replica->machine_at != core.commit()) throw Failure{Text(replica->id, " has applied only up to ", replica->machine_at)};
    if (core.log().last_id() != most.log().last_id() || replica->machine != best->machine) {
      throw Failure{Text(replica->id, " and ", best->id, " differ")};
    }
  }
}

void Runner::ExpectFields(Words& words) {
  const std::string who = words.Next("a replica, all, leader, log, machine, read, message, no, messages or converged");
  std::vector<ReplicaId> ids;
  if (who == "all") {
    for (const Replica* replica : AllRunning()) ids.push_back(replica->id);
  } else {
    ids = Words::IdsOf(who);
  }
  const std::vector<std::string> fields = words.Rest();
  if (fields.empty()) throw Failure{"what is expected of it? Write field=value"};
  for (const ReplicaId& id : ids) {
    const Replica& replica = cluster_.At(id);
    for (const std::string& word : fields) {
      const auto field = ParseComparison(word);
      if (!field) throw Failure{Text("'", word, "' is no property; write field=value")};
      const std::string actual = FieldOf(replica, field->key);
      if (field->key == "fault" && actual != "none") expected_faults_.insert(id);
      if (!field->Holds(actual)) throw Failure{Text(field->key, " of ", id, " is ", actual, ", not ", field->op, field->value)};
    }
  }
}

}  // namespace flotilla::raft::scenario
