// Linearizable reads without a log entry (thesis §6.4): the leader notes what is committed, makes sure by a round of heartbeats that it
// still leads, and answers. Followers ask their leader.
#include <algorithm>

#include "raft/core/quorum.h"
#include "raft/core/raft_core.h"

namespace flotilla::raft {

Status RaftCore::ReadIndex(uint64_t id) {
  if (!fault_.ok()) return fault_;
  if (leading_.reads.size() + forwarded_reads_.size() >= options_.pending_reads_max) {
    return Status(Reason::kOverloaded,
                  "the limit of " + std::to_string(options_.pending_reads_max) + " waiting reads is reached; try again shortly");
  }
  if (role_ == Role::kLeader) {
    leading_.reads.Add({.id = id, .from = kNoReplica, .index = commit_});
    return Status();
  }
  if (!leader_.valid()) return NotLeaderStatus();
  const uint64_t sequence = next_read_sequence_++;
  forwarded_reads_.push_back({.sequence = sequence, .id = id, .deadline = now_ + options_.election_ticks});
  Send(leader_, ReadIndexRequest{.sequence = sequence});
  return Status();
}

void RaftCore::OnReadIndexRequest(const Message& message, const ReadIndexRequest& request) {
  if (role_ != Role::kLeader || leading_.reads.size() >= options_.pending_reads_max) {
    Send(message.from, ReadIndexReply{.sequence = request.sequence, .ok = false, .index = {}});
    return;
  }
  leading_.reads.Add({.id = request.sequence, .from = message.from, .index = commit_});
}

void RaftCore::OnReadIndexReply(const Message& message, const ReadIndexReply& reply) {
  const auto read = std::find_if(forwarded_reads_.begin(), forwarded_reads_.end(),
                                 [&](const ForwardedRead& waiting) { return waiting.sequence == reply.sequence; });
  if (read == forwarded_reads_.end() || message.from != leader_) {
    ++counters_.messages_ignored;
    return;
  }
  const uint64_t id = read->id;
  forwarded_reads_.erase(read);
  output_.reads.push_back(
      {id, reply.ok ? Status() : Status(Reason::kNoLeader, "the leader could not take the read; ask again"), reply.index});
}

// Reads that wait for their leader until `until` or longer are given up: the answer may be lost.
void RaftCore::RefuseForwardedReads(Tick until) {
  if (forwarded_reads_.empty()) return;
  const auto expired = std::stable_partition(forwarded_reads_.begin(), forwarded_reads_.end(),
                                             [&](const ForwardedRead& read) { return read.deadline > until; });
  for (auto read = expired; read != forwarded_reads_.end(); ++read) {
    output_.reads.push_back({read->id, Status(Reason::kNoLeader, "the leader did not answer; ask again"), LogIndex{0}});
  }
  forwarded_reads_.erase(expired, forwarded_reads_.end());
}

// Every waiting read joins this round; or, when an earlier one got no answer, asks once more.
void RaftCore::OpenReadRound() {
  if (leading_.reads.wants_round()) leading_.reads.OpenRound();
  const uint32_t retry = std::max<uint32_t>(options_.heartbeat_ticks, 3);
  leading_.read_retry_at = now_ + retry;
  output_.heartbeat_now = options_.heartbeat_ticks == 0;
  SendHeartbeats();
  ReleaseReads();  // a group of one needs no round
}

void RaftCore::ReleaseReads() {
  const uint64_t acked = QuorumReached(log_.configuration(), [&](ReplicaId id) -> uint64_t {
    if (id == options_.self) return leading_.reads.round();
    const Progress* progress = FindProgress(id);
    return progress ? progress->acked_read_round : 0;
  });
  leading_.acked_round = std::max(leading_.acked_round, acked);
  for (const PendingRead& read : leading_.reads.Release(leading_.acked_round)) AnswerRead(read, true);
  if (leading_.acked_round == leading_.reads.round()) leading_.read_retry_at = kNever;
}

void RaftCore::AnswerRead(const PendingRead& read, bool ok) {
  if (read.from.valid()) {
    Send(read.from, ReadIndexReply{.sequence = read.id, .ok = ok, .index = read.index});
  } else {
    output_.reads.push_back({read.id, ok ? Status() : Status(Reason::kNotLeader, "leadership was lost; ask again"), read.index});
  }
}

}  // namespace flotilla::raft
