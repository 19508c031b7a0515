// raft::PeerMessage as generated code has it, field by field: what the codec is held against.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <type_traits>
#include <variant>

#include "flotilla/internal/v1/raft.pb.h"
#include "raft/node/transport.h"

namespace flotilla::rpc {

namespace wire = flotilla::internal::v1;

inline void Fill(const ReplicaId& from, wire::ReplicaId* to) {
  to->set_node(from.node.value());
  to->set_incarnation(from.incarnation);
}
inline void Fill(const storage::EntryId& from, wire::EntryId* to) {
  to->set_term(from.term.value());
  to->set_index(from.index.value());
}
inline void Fill(const storage::Entry& from, wire::Entry* to) {
  const storage::EntryHeader& header = from.header;
  to->set_kind(static_cast<uint32_t>(header.kind));
  to->set_checksum(header.checksum);
  to->set_index(header.index.value());
  to->set_term(header.term.value());
  to->set_base_offset(header.base_offset.value());
  to->set_record_count(header.record_count);
  if (header.min_timestamp_ms != kNoTimestamp) to->set_min_timestamp_ms(header.min_timestamp_ms);
  if (header.max_timestamp_ms != kNoTimestamp) to->set_max_timestamp_ms(header.max_timestamp_ms);
  if (header.running_max_timestamp_ms != kNoTimestamp) {
    to->set_running_max_timestamp_ms(header.running_max_timestamp_ms);
  }
  to->set_payload(std::string(from.payload.view()));
}

struct FillBody {
  wire::RaftMessage* to;
  void operator()(const raft::VoteRequest& from) const {
    wire::VoteRequest* body = to->mutable_vote_request();
    body->set_pre_vote(from.pre_vote);
    body->set_transfer(from.transfer);
    body->set_campaign_term(from.campaign_term.value());
    Fill(from.last, body->mutable_last_entry());
  }
  void operator()(const raft::VoteReply& from) const {
    wire::VoteReply* body = to->mutable_vote_reply();
    body->set_pre_vote(from.pre_vote);
    body->set_granted(from.granted);
    body->set_campaign_term(from.campaign_term.value());
  }
  void operator()(const raft::AppendRequest& from) const {
    wire::AppendRequest* body = to->mutable_append_request();
    Fill(from.prev, body->mutable_prev_entry());
    for (const storage::Entry& entry : from.entries) Fill(entry, body->add_entries());
    body->set_commit(from.commit.value());
    body->set_acknowledged(from.acknowledged.value());
  }
  void operator()(const raft::AppendReply& from) const {
    wire::AppendReply* body = to->mutable_append_reply();
    body->set_accepted(from.accepted);
    body->set_index(from.index.value());
    Fill(from.hint, body->mutable_hint());
  }
  void operator()(const raft::Heartbeat& from) const {
    wire::RaftHeartbeat* body = to->mutable_heartbeat();
    body->set_commit(from.commit.value());
    body->set_read_round(from.read_round);
  }
  void operator()(const raft::HeartbeatReply& from) const {
    wire::RaftHeartbeatReply* body = to->mutable_heartbeat_reply();
    body->set_read_round(from.read_round);
    body->set_last_index(from.last.value());
  }
  void operator()(const raft::TimeoutNow&) const { to->mutable_timeout_now(); }
  void operator()(const raft::ReadIndexRequest& from) const { to->mutable_read_index_request()->set_sequence(from.sequence); }
  void operator()(const raft::ReadIndexReply& from) const {
    wire::ReadIndexReply* body = to->mutable_read_index_reply();
    body->set_sequence(from.sequence);
    body->set_ok(from.ok);
    body->set_index(from.index.value());
  }
  void operator()(const raft::SnapshotInstall&) const { FAIL() << "not sent"; }
};

// Whatever has these four.
template <typename From, typename To>
void FillAddress(const From& from, To* to) {
  to->set_group(from.group.value());
  Fill(from.from, to->mutable_from_replica());
  Fill(from.to, to->mutable_to_replica());
  to->set_term(from.term.value());
}

inline wire::PeerMessage Generated(const raft::PeerMessage& from) {
  wire::PeerMessage to;
  to.set_from_node(from.from.value());
  to.set_to_node(from.to.value());
  for (const raft::Message& message : from.messages) {
    wire::RaftMessage* twin = to.add_messages();
    FillAddress(message, twin);
    std::visit(FillBody{twin}, message.body);
  }
  if (from.heartbeat) {
    wire::NodeHeartbeat* heartbeat = to.mutable_heartbeat();
    heartbeat->set_boot(from.heartbeat->boot);
    heartbeat->set_sequence(from.heartbeat->sequence);
    heartbeat->set_version(from.heartbeat->version);
    heartbeat->set_full(from.heartbeat->full);
    for (const raft::HeartbeatRow& row : from.heartbeat->rows) {
      wire::HeartbeatRow* twin = heartbeat->add_rows();
      FillAddress(row, twin);
      twin->set_commit(row.commit.value());
      twin->set_read_round(row.read_round);
    }
  }
  if (from.heartbeat_reply) {
    wire::NodeHeartbeatReply* reply = to.mutable_heartbeat_reply();
    reply->set_boot(from.heartbeat_reply->boot);
    reply->set_receiver_boot(from.heartbeat_reply->receiver_boot);
    reply->set_sequence(from.heartbeat_reply->sequence);
    reply->set_version(from.heartbeat_reply->version);
    reply->set_unknown_version(!from.heartbeat_reply->known);
    for (GroupId group : from.heartbeat_reply->absent) reply->add_absent_groups(group.value());
    for (const raft::HeartbeatReplyRow& row : from.heartbeat_reply->rows) {
      wire::HeartbeatReplyRow* twin = reply->add_rows();
      FillAddress(row, twin);
      twin->set_read_round(row.read_round);
      twin->set_last_index(row.last.value());
    }
  }
  for (const raft::SnapshotChunk& chunk : from.chunks) {
    wire::SnapshotChunk* twin = to.add_chunks();
    FillAddress(chunk, twin);
    wire::SnapshotMeta* meta = twin->mutable_meta();
    Fill(chunk.meta.anchor.last, meta->mutable_anchor()->mutable_last_entry());
    meta->mutable_anchor()->set_end_offset(chunk.meta.anchor.end_offset.value());
    if (chunk.meta.anchor.running_max_timestamp_ms != kNoTimestamp) {
      meta->mutable_anchor()->set_running_max_timestamp_ms(chunk.meta.anchor.running_max_timestamp_ms);
    }
    meta->set_configuration(std::string(chunk.meta.configuration.view()));
    meta->set_id(chunk.meta.id);
    meta->set_total_bytes(chunk.meta.bytes);
    meta->set_chunks(chunk.meta.chunks);
    meta->set_checksum(chunk.meta.checksum);
    twin->set_number(chunk.number);
    twin->set_data(std::string(chunk.data.view()));
    twin->set_checksum(chunk.checksum);
  }
  for (const raft::SnapshotChunkReply& reply : from.chunk_replies) {
    wire::SnapshotChunkReply* twin = to.add_chunk_replies();
    FillAddress(reply, twin);
    twin->set_snapshot_id(reply.snapshot_id);
    twin->set_anchor_index(reply.anchor.value());
    twin->set_next_chunk(reply.next);
    twin->set_done(reply.done);
    twin->set_refused(reply.refused);
  }
  return to;
}

}  // namespace flotilla::rpc
