#include "tests/raft/fields.h"

#include <algorithm>
#include <functional>
#include <map>

namespace flotilla::raft::scenario {
namespace {

const char* YesNo(bool value) { return value ? "yes" : "no"; }

const std::vector<std::string>& Kinds() {
  static const std::vector<std::string> kinds = {"PreVote",   "PreVoteReply",   "Vote",     "VoteReply",  "Append",    "AppendReply",
                                                 "Heartbeat", "HeartbeatReply", "Snapshot", "TimeoutNow", "ReadIndex", "ReadIndexReply"};
  return kinds;
}

using FieldMap = std::map<std::string, std::string>;

struct FieldsOf {
  FieldMap operator()(const VoteRequest& m) const {
    return {{"for", Text(m.campaign_term)}, {"last", Text(m.last)}, {"transfer", YesNo(m.transfer)}};
  }
  FieldMap operator()(const VoteReply& m) const { return {{"for", Text(m.campaign_term)}, {"granted", YesNo(m.granted)}}; }
  FieldMap operator()(const AppendRequest& m) const {
    FieldMap fields = {
        {"prev", Text(m.prev)}, {"commit", Text(m.commit)}, {"acknowledged", Text(m.acknowledged)}, {"count", Text(m.entries.size())}};
    if (!m.entries.empty()) fields["last"] = Text(m.entries.back().id());
    return fields;
  }
  FieldMap operator()(const AppendReply& m) const {
    return {{"accepted", YesNo(m.accepted)}, {"index", Text(m.index)}, {"hint", Text(m.hint)}};
  }
  FieldMap operator()(const Heartbeat& m) const { return {{"commit", Text(m.commit)}, {"round", Text(m.read_round)}}; }
  FieldMap operator()(const HeartbeatReply& m) const { return {{"round", Text(m.read_round)}, {"last", Text(m.last)}}; }
  FieldMap operator()(const SnapshotInstall& m) const { return {{"anchor", Text(m.meta.anchor.last)}}; }
  FieldMap operator()(const TimeoutNow&) const { return {}; }
  FieldMap operator()(const ReadIndexRequest& m) const { return {{"sequence", Text(m.sequence)}}; }
  FieldMap operator()(const ReadIndexReply& m) const {
    return {{"sequence", Text(m.sequence)}, {"ok", YesNo(m.ok)}, {"index", Text(m.index)}};
  }
};

std::string Names(const FieldMap& fields) {
  std::string names;
  for (const auto& [name, value] : fields) names += " " + name;
  return names;
}

std::string ListOf(const std::vector<ReplicaId>& ids) {
  std::string text;
  for (const ReplicaId& id : ids) text += Text(text.empty() ? "" : ",", id);
  return text.empty() ? "-" : text;
}

FieldMap DiskFields(const Replica& replica) {
  const storage::GroupState& state = replica.disk.state();
  return {{"disk.term", Text(state.hard_state.term)},     {"disk.vote", Text(state.hard_state.voted_for)},
          {"disk.commit", Text(state.hard_state.commit)}, {"disk.first", Text(replica.disk.first())},
          {"disk.last", Text(replica.disk.last())},       {"disk.last_id", Text(state.bounds.end.last)},
          {"disk.tasks", Text(replica.disk.waiting())},   {"running", YesNo(replica.running())}};
}

FieldMap CoreFields(const Replica& replica) {
  const CoreStatus s = replica.core->status();
  const RaftCore& core = *replica.core;
  FieldMap fields = {{"role", RoleName(s.role)},
                     {"term", Text(s.term)},
                     {"leader", Text(s.leader)},
                     {"vote", Text(s.voted_for)},
                     {"first", Text(s.first)},
                     {"last", Text(s.last)},
                     {"last_id", Text(core.log().last_id())},
                     {"stable", Text(s.stable)},
                     {"commit", Text(s.commit)},
                     {"applied", Text(s.applied)},
                     {"start_offset", Text(s.start_offset)},
                     {"end_offset", Text(s.end_offset)},
                     {"voters", ListOf(s.configuration.voters)},
                     {"outgoing", ListOf(s.configuration.outgoing)},
                     {"learners", ListOf(s.configuration.learners)},
                     {"joint", YesNo(s.configuration.joint())},
                     {"configuration_index", Text(s.configuration_index)},
                     {"transfer", Text(s.transfer_target)},
                     {"uncommitted_bytes", Text(s.uncommitted_bytes)},
                     {"tail_bytes", Text(s.tail_bytes)},
                     {"pending_reads", Text(s.pending_reads)},
                     {"fault", std::string(s.fault.ok() ? "none" : ReasonName(s.fault.reason()))},
                     {"surely", YesNo(core.role() == Role::kLeader && core.leads_surely())},
                     {"min_match", core.role() == Role::kLeader ? Text(core.MinMatch()) : "-"},
                     {"elections", Text(s.elections_started)},
                     {"elections_won", Text(s.elections_won)},
                     {"refused_here", Text(s.appends_refused_here)},
                     {"refused_by_followers", Text(s.appends_refused_by_followers)},
                     {"resends", Text(s.resends)},
                     {"proposals_refused", Text(s.proposals_refused)},
                     {"snapshots_wanted", Text(s.snapshots_wanted)},
                     {"snapshots_installed", Text(s.snapshots_installed)},
                     {"ignored", Text(s.messages_ignored)},
                     {"machine", Text(replica.machine.size())},
                     {"fetches", Text(replica.fetches.size())},
                     {"heartbeat_wanted", YesNo(replica.heartbeat_wanted)}};
  for (const ReplicaStatus& other : s.replicas) {
    const std::string suffix = Text(".", other.id);
    fields["state" + suffix] = ProgressStateName(other.state);
    fields["voter" + suffix] = YesNo(other.voter);
    fields["match" + suffix] = Text(other.match);
    fields["next" + suffix] = Text(other.next);
    fields["inflight" + suffix] = Text(other.inflight_messages);
    fields["inflight_bytes" + suffix] = Text(other.inflight_bytes);
    fields["lag" + suffix] = Text(other.lag);
  }
  return fields;
}

// "1,2" of "1,2->*"; nothing for "*".
std::optional<std::vector<ReplicaId>> Side(const std::string& text) {
  if (text == "*") return std::nullopt;
  return Words::IdsOf(text);
}

bool Holds(const std::optional<std::vector<ReplicaId>>& side, ReplicaId id) {
  return !side || std::find(side->begin(), side->end(), id) != side->end();
}

}  // namespace

std::string KindOf(const Message& message) {
  struct {
    std::string operator()(const VoteRequest& m) const { return m.pre_vote ? "PreVote" : "Vote"; }
    std::string operator()(const VoteReply& m) const { return m.pre_vote ? "PreVoteReply" : "VoteReply"; }
    std::string operator()(const AppendRequest&) const { return "Append"; }
    std::string operator()(const AppendReply&) const { return "AppendReply"; }
    std::string operator()(const Heartbeat&) const { return "Heartbeat"; }
    std::string operator()(const HeartbeatReply&) const { return "HeartbeatReply"; }
    std::string operator()(const SnapshotInstall&) const { return "Snapshot"; }
    std::string operator()(const TimeoutNow&) const { return "TimeoutNow"; }
    std::string operator()(const ReadIndexRequest&) const { return "ReadIndex"; }
    std::string operator()(const ReadIndexReply&) const { return "ReadIndexReply"; }
  } kind;
  return std::visit(kind, message.body);
}

bool IsMessageKind(const std::string& word) { return std::find(Kinds().begin(), Kinds().end(), word) != Kinds().end(); }

std::string FieldOf(const Message& message, const std::string& name) {
  if (name == "term") return Text(message.term);
  const FieldMap fields = std::visit(FieldsOf(), message.body);
  auto found = fields.find(name);
  if (found != fields.end()) return found->second;
  if (name == "last" && KindOf(message) == "Append") return "-";  // it carries no entries
  throw Failure{Text(KindOf(message), " has no field '", name, "'; it has term", Names(fields))};
}

std::string FieldOf(const Replica& replica, const std::string& name) {
  FieldMap fields = DiskFields(replica);
  if (auto found = fields.find(name); found != fields.end()) return found->second;
  if (!replica.running()) throw Failure{Text(replica.id, " is not running; it has only", Names(fields))};
  if (name.starts_with("entry.")) {
    const LogIndex index{Words::NumberOf(name.substr(6))};
    const std::optional<Term> term = replica.core->log().TermAt(index);
    return term ? Text(storage::EntryId{*term, index}) : "-";
  }
  fields.merge(CoreFields(replica));
  if (auto found = fields.find(name); found != fields.end()) return found->second;
  throw Failure{Text(replica.id, " has no field '", name, "'; it has", Names(fields))};
}

std::string ReasonOf(const Status& status) { return std::string(status.ok() ? "OK" : ReasonName(status.reason())); }

MessageFilter::MessageFilter(const std::vector<std::string>& words) {
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (const size_t arrow = word.find("->"); arrow != std::string::npos) {
      from_ = Side(word.substr(0, arrow));
      to_ = Side(word.substr(arrow + 2));
    } else if (IsMessageKind(word)) {
      kinds_.push_back(word);
    } else if (word == "first" || word == "last") {
      if (i + 1 == words.size()) throw Failure{Text("how many are the ", word, "?")};
      (word == "first" ? first_ : last_) = Words::NumberOf(words[++i]);
    } else if (auto comparison = ParseComparison(word)) {
      fields_.push_back(*comparison);
    } else {
      std::string kinds;
      for (const std::string& kind : Kinds()) kinds += " " + kind;
      throw Failure{Text("'", word, "' selects no messages; write 1->2, field=value, first N, last N, or a kind:", kinds)};
    }
  }
  for (const Comparison& field : fields_) {
    if (field.key != "term" && kinds_.empty()) throw Failure{Text("which kind of message has '", field.key, "'? Name it too")};
  }
}

bool MessageFilter::Matches(const Message& message) const {
  if (!Holds(from_, message.from) || !Holds(to_, message.to)) return false;
  if (!kinds_.empty() && std::find(kinds_.begin(), kinds_.end(), KindOf(message)) == kinds_.end()) return false;
  return std::all_of(fields_.begin(), fields_.end(), [&](const Comparison& field) { return field.Holds(FieldOf(message, field.key)); });
}

std::vector<size_t> MessageFilter::Select(const std::vector<Message>& pool) const {
  std::vector<size_t> selected;
  for (size_t i = 0; i < pool.size(); ++i) {
    if (Matches(pool[i])) selected.push_back(i);
  }
  if (first_ && selected.size() > *first_) selected.resize(*first_);
  if (last_ && selected.size() > *last_) selected.erase(selected.begin(), selected.end() - static_cast<std::ptrdiff_t>(*last_));
  return selected;
}

}  // namespace flotilla::raft::scenario
