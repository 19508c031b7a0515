#include "raft/node/heartbeat_hub.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

namespace flotilla::raft {
namespace {

bool Follows(const RaftCore& core, ReplicaId leader, Term term) {
  return core.fault().ok() && core.role() == Role::kFollower && core.term() == term && core.leader() == leader;
}

HeartbeatRow RowOf(const LedReplica& replica) {
  const Message message = std::as_const(*replica.group).core().MakeHeartbeat(replica.id);
  const auto& heartbeat = std::get<Heartbeat>(message.body);
  return {.group = message.group,
          .from = message.from,
          .to = message.to,
          .term = message.term,
          .commit = heartbeat.commit,
          .read_round = heartbeat.read_round};
}

}  // namespace

HeartbeatHub::HeartbeatHub(NodeId self, uint64_t boot, uint32_t election_ticks)
    : self_(self), boot_(boot), election_ticks_(election_ticks) {}
HeartbeatHub::~HeartbeatHub() = default;

// --- groups

void HeartbeatHub::Update(HeartbeatMember& member) {
  const RaftCore& core = member.core();
  if (!UpToDate(member)) {
    Leave(member);
    if (core.role() == Role::kLeader) Join(member);
  }

  if (member.source_ == nullptr || Follows(core, member.heard_leader_, member.heard_term_)) return;
  if (member.source_->stamp == member.stamp_) member.source_->absent.insert(core.group());
  member.source_ = nullptr;
}

// Whether the member stands in the set as its core is now: an input since the last Update may have changed it.
bool HeartbeatHub::UpToDate(const HeartbeatMember& member) {
  const RaftCore& core = member.core();
  if (core.role() != Role::kLeader) return member.led_.empty();
  return member.led_term_ == core.term() && member.led_configuration_ == core.log().configuration_index();
}

void HeartbeatHub::Remove(HeartbeatMember& member) {
  Leave(member);
  if (member.source_ == nullptr) return;
  if (member.source_->stamp == member.stamp_) member.source_->absent.insert(member.core().group());
  member.source_ = nullptr;
}

void HeartbeatHub::Join(HeartbeatMember& member) {
  const RaftCore& core = member.core();
  const std::vector<ReplicaId> replicas = core.log().configuration().Replicas();
  member.led_term_ = core.term();
  member.led_configuration_ = core.log().configuration_index();
  member.led_ = std::vector<LedReplica>(
      static_cast<size_t>(std::count_if(replicas.begin(), replicas.end(), [&](const ReplicaId& id) { return id.node != self_; })));
  size_t next = 0;
  for (const ReplicaId& id : replicas) {
    if (id.node == self_) continue;
    const auto [found, made] = links_.try_emplace(id.node);
    HeartbeatLink& link = found->second;
    if (made) link.node = id.node;
    if (link.members.empty()) link.heard_at = 0;
    LedReplica& replica = member.led_[next++];
    replica.group = &member;
    replica.link = &link;
    replica.id = id;
    replica.since_version = ++link.version;
    link.members.PushBack(replica);
  }
}

void HeartbeatHub::Leave(HeartbeatMember& member) {
  for (LedReplica& replica : member.led_) ++replica.link->version;
  member.led_.clear();  // which takes them off their lists
  member.led_term_ = {};
}

void HeartbeatHub::Credit(HeartbeatMember& member) const {
  RaftCore& core = member.core();
  if (const HeartbeatSource* source = member.source_) {
    if (source->stamp == member.stamp_ && Follows(core, member.heard_leader_, member.heard_term_)) {
      core.LeaderAlive(source->heard_at);
    }
  }
  if (member.led_.empty() || core.role() != Role::kLeader || core.term() != member.led_term_) return;
  for (const LedReplica& replica : member.led_) {
    const HeartbeatLink& link = *replica.link;
    if (link.replied_version < replica.since_version) continue;
    if (!link.absent.empty() && std::binary_search(link.absent.begin(), link.absent.end(), core.group())) continue;
    core.ReplicaAlive(replica.id, link.replied_at);
  }
}

void HeartbeatHub::Changed(HeartbeatMember& member) {
  for (LedReplica& replica : member.led_) Mark(replica);
}

void HeartbeatHub::Mark(LedReplica& replica) {
  replica.first_sequence = 0;
  if (!static_cast<ListNode<LinkChanges>&>(replica).linked()) replica.link->changed.PushBack(replica);
}

void HeartbeatHub::SendRound(HeartbeatMember& member, PeerOutbox& outbox) const {
  if (!UpToDate(member)) return;  // its next Output asks again
  for (const LedReplica& replica : member.led_) outbox.Add(std::as_const(member).core().MakeHeartbeat(replica.id));
}

// --- sending

void HeartbeatHub::Send(Tick now, PeerOutbox& outbox) {
  for (auto& [node, link] : links_) {
    if (!link.members.empty()) SendTo(link, now, outbox);
  }
}

void HeartbeatHub::SendTo(HeartbeatLink& link, Tick now, PeerOutbox& outbox) {
  NodeHeartbeat heartbeat{.boot = boot_, .sequence = ++link.sequence, .version = link.version};
  link.sent_at[link.sequence % HeartbeatLink::kRemembered] = now;
  if (link.heard_at == 0) link.heard_at = now;
  const auto add_row = [&](LedReplica& replica) {
    if (!UpToDate(*replica.group)) return;
    heartbeat.rows.push_back(RowOf(replica));
    const LogIndex commit = heartbeat.rows.back().commit;
    if (replica.first_sequence != 0 && replica.told_commit == commit) return;
    replica.first_sequence = heartbeat.sequence;
    replica.told_commit = commit;
  };
  // One that does not answer is only asked whether it is there, however many rows wait for it.
  if (now >= link.heard_at + election_ticks_) {
    link.changed.ForEach([](LedReplica& replica) { replica.first_sequence = 0; });
  } else if (link.known_version != link.version) {
    heartbeat.full = true;
    link.members.ForEach(add_row);
  } else {
    link.changed.ForEach(add_row);
  }
  if (heartbeat.full) ++counters_.full;
  if (!heartbeat.full && heartbeat.rows.empty()) ++counters_.light;
  counters_.rows += heartbeat.rows.size();
  outbox.Add(link.node, std::move(heartbeat));
}

// --- receiving

bool HeartbeatHub::Receive(NodeId from, const NodeHeartbeat& heartbeat, Tick now) {
  HeartbeatSource& source = sources_[from];
  if (source.boot != heartbeat.boot) {
    // Another process: what the earlier one said of its set is void, and so is every stamp.
    source.boot = heartbeat.boot;
    source.sequence = 0;
    source.stamp = 0;
    source.absent.clear();
  }
  if (heartbeat.sequence <= source.sequence) return false;
  source.sequence = heartbeat.sequence;
  source.reply_due = true;
  source.reply_version = heartbeat.version;
  if (heartbeat.full) {
    source.version = heartbeat.version;
    source.stamp = next_stamp_++;
    source.absent.clear();
  }
  source.reply_known = source.stamp != 0 && source.version == heartbeat.version;
  if (source.reply_known) source.heard_at = now;
  return true;
}

bool HeartbeatHub::Known(const HeartbeatRow& row, const HeartbeatMember& member) const {
  const RaftCore& core = member.core();
  return row.read_round == 0 && row.to == core.self() && row.commit <= core.commit() && Follows(core, row.from, row.term);
}

void HeartbeatHub::NoteRow(NodeId from, const HeartbeatRow& row, HeartbeatMember* member) {
  HeartbeatSource& source = sources_[from];
  if (!source.reply_known) return;
  if (member == nullptr || row.to != member->core().self() || !Follows(member->core(), row.from, row.term)) {
    source.absent.insert(row.group);
    return;
  }
  // Whose set it was in before no longer speaks for it.
  if (member->source_ != nullptr && member->source_ != &source && member->source_->stamp == member->stamp_) {
    member->source_->absent.insert(row.group);
  }
  source.absent.erase(row.group);
  member->source_ = &source;
  member->stamp_ = source.stamp;
  member->heard_leader_ = row.from;
  member->heard_term_ = row.term;
}

void HeartbeatHub::Reply(PeerOutbox& outbox) {
  for (auto& [node, source] : sources_) {
    if (!source.reply_due) continue;
    source.reply_due = false;
    NodeHeartbeatReply reply{.boot = source.boot,
                             .receiver_boot = boot_,
                             .sequence = source.sequence,
                             .version = source.reply_version,
                             .known = source.reply_known};
    if (reply.known) reply.absent.assign(source.absent.begin(), source.absent.end());
    outbox.Add(node, std::move(reply));
  }
}

void HeartbeatHub::ReceiveReply(NodeId from, const NodeHeartbeatReply& reply, Tick now, GroupDirectory& groups) {
  const auto found = links_.find(from);
  if (found == links_.end()) return;
  HeartbeatLink& link = found->second;
  const bool of_now = reply.boot == boot_ && reply.sequence > link.replied_sequence && reply.sequence <= link.sequence &&
                      link.sequence - reply.sequence < HeartbeatLink::kRemembered &&
                      now < link.sent_at[reply.sequence % HeartbeatLink::kRemembered] + election_ticks_;
  if (!of_now) return;
  link.replied_sequence = reply.sequence;
  link.heard_at = now;
  if (std::exchange(link.receiver_boot, reply.receiver_boot) != reply.receiver_boot && link.replied_at != 0) {
    // Another process answers than before. If it knows the version, then from a late message, which says less than its predecessor was
    // told: it gets a version that no earlier message had.
    ++link.version;
    return;
  }
  // The rows that it carried have arrived. A replica that was not told all that is committed, because it did not have it yet, stays on
  // the list.
  link.changed.ForEach([&](LedReplica& replica) {
    if (replica.first_sequence == 0 || replica.first_sequence > reply.sequence) return;
    if (replica.told_commit >= std::as_const(*replica.group).core().commit()) {
      static_cast<ListNode<LinkChanges>&>(replica).Unlink();
    }
  });
  if (!reply.known) {
    link.known_version = 0;
    return;
  }
  link.known_version = reply.version;
  link.replied_version = reply.version;
  link.replied_at = now;
  link.absent = reply.absent;
  std::sort(link.absent.begin(), link.absent.end());
  // They get a row of their own, by which they find back or say what stands in the way.
  for (const GroupId& group : link.absent) {
    HeartbeatMember* member = groups.FindMember(group);
    if (member == nullptr) continue;
    for (LedReplica& replica : member->led_) {
      if (replica.link == &link) Mark(replica);
    }
  }
}

}  // namespace flotilla::raft
