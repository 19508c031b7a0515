#include "server/rpc/peer_codec.h"

#include <glog/logging.h>

#include <string>
#include <utility>
#include <variant>

#include "server/rpc/peer_rules.h"
#include "server/rpc/wire_reader.h"

// The fields of each message stand twice here, written and read; numbers and order are those of raft.proto.
// In this namespace, because WireWriter and WireSize find Put by their own.
namespace flotilla::rpc {

using raft::AppendReply;
using raft::AppendRequest;
using raft::Heartbeat;
using raft::HeartbeatReply;
using raft::HeartbeatReplyRow;
using raft::HeartbeatRow;
using raft::Message;
using raft::MessageBody;
using raft::NodeHeartbeat;
using raft::NodeHeartbeatReply;
using raft::PeerMessage;
using raft::ReadIndexReply;
using raft::ReadIndexRequest;
using raft::SnapshotChunk;
using raft::SnapshotChunkReply;
using raft::SnapshotInstall;
using raft::TimeoutNow;
using raft::VoteReply;
using raft::VoteRequest;
using storage::Entry;
using storage::EntryHeader;
using storage::EntryId;
using storage::EntryKind;
using storage::LogAnchor;
using storage::SnapshotMeta;

// --- Small parts

template <typename Out>
static void Put(Out& out, const ReplicaId& id) {
  out.Varint(1, id.node.value());
  out.Varint(2, id.incarnation);
}
static void Read(WireReader& in, ReplicaId* id) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: id->node = NodeId{in.Varint()}; break;
      case 2: id->incarnation = in.Varint(); break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& out, const EntryId& id) {
  out.Varint(1, id.term.value());
  out.Varint(2, id.index.value());
}
static void Read(WireReader& in, EntryId* id) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: id->term = Term{in.Count()}; break;
      case 2: id->index = LogIndex{in.Count()}; break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void PutTimestamp(Out& out, uint32_t field, int64_t timestamp_ms) {
  if (timestamp_ms != kNoTimestamp) out.AlwaysVarint(field, static_cast<uint64_t>(timestamp_ms));
}

// --- Entries

template <typename Out>
static void Put(Out& out, const Entry& entry) {
  const EntryHeader& header = entry.header;
  out.Varint(1, static_cast<uint64_t>(header.kind));
  out.Fixed32(2, header.checksum);
  out.Varint(3, header.index.value());
  out.Varint(4, header.term.value());
  out.Varint(5, header.base_offset.value());
  out.Varint(6, header.record_count);
  PutTimestamp(out, 7, header.min_timestamp_ms);
  PutTimestamp(out, 8, header.max_timestamp_ms);
  PutTimestamp(out, 9, header.running_max_timestamp_ms);
  out.Payload(10, entry.payload);
}
// The group is the message's, and is filled in by whoever reads that.
static void Read(WireReader& in, Entry* entry) {
  EntryHeader& header = entry->header;
  uint32_t kind = 0;
  while (in.Next()) {
    switch (in.field()) {
      case 1: kind = in.Varint32(); break;
      case 2: header.checksum = in.Fixed32(); break;
      case 3: header.index = LogIndex{in.Count()}; break;
      case 4: header.term = Term{in.Count()}; break;
      case 5: header.base_offset = Offset{in.Count()}; break;
      case 6: header.record_count = in.Varint32(); break;
      case 7: header.min_timestamp_ms = in.Signed(); break;
      case 8: header.max_timestamp_ms = in.Signed(); break;
      case 9: header.running_max_timestamp_ms = in.Signed(); break;
      case 10: entry->payload = in.Slice(limits::kEntryPayloadBytesMax); break;
      default: in.Skip();
    }
  }
  if (kind > UINT8_MAX || !storage::IsEntryKind(static_cast<uint8_t>(kind))) {
    return in.Fail("an entry of the unknown kind " + std::to_string(kind));
  }
  header.kind = static_cast<EntryKind>(kind);
  header.payload_bytes = static_cast<uint32_t>(entry->payload.size());
}

// --- Messages of a group

template <typename Out>
static void Put(Out& out, const VoteRequest& vote) {
  out.Varint(1, vote.pre_vote);
  out.Varint(2, vote.transfer);
  out.Varint(3, vote.campaign_term.value());
  out.Message(4, vote.last);
}
static void Read(WireReader& in, VoteRequest* vote) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: vote->pre_vote = in.Bool(); break;
      case 2: vote->transfer = in.Bool(); break;
      case 3: vote->campaign_term = Term{in.Count()}; break;
      case 4: in.Message(&vote->last); break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& out, const VoteReply& reply) {
  out.Varint(1, reply.pre_vote);
  out.Varint(2, reply.granted);
  out.Varint(3, reply.campaign_term.value());
}
static void Read(WireReader& in, VoteReply* reply) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: reply->pre_vote = in.Bool(); break;
      case 2: reply->granted = in.Bool(); break;
      case 3: reply->campaign_term = Term{in.Count()}; break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& out, const AppendRequest& append) {
  out.Message(1, append.prev);
  for (const Entry& entry : append.entries) out.Message(2, entry);
  out.Varint(3, append.commit.value());
  out.Varint(4, append.acknowledged.value());
}
// Reads one more element of a repeated message.
template <typename T>
static void ReadElement(WireReader& in, size_t count_max, const char* things, std::vector<T>* out) {
  if (out->size() >= count_max) return in.Fail("more than " + std::to_string(count_max) + " " + things);
  in.Message(&out->emplace_back());
}
static void Read(WireReader& in, AppendRequest* append) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: in.Message(&append->prev); break;
      case 2: ReadElement(in, limits::kAppendEntriesMax, "entries in one append", &append->entries); break;
      case 3: append->commit = LogIndex{in.Count()}; break;
      case 4: append->acknowledged = LogIndex{in.Count()}; break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& out, const AppendReply& reply) {
  out.Varint(1, reply.accepted);
  out.Varint(2, reply.index.value());
  out.Message(3, reply.hint);
}
static void Read(WireReader& in, AppendReply* reply) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: reply->accepted = in.Bool(); break;
      case 2: reply->index = LogIndex{in.Count()}; break;
      case 3: in.Message(&reply->hint); break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& out, const Heartbeat& heartbeat) {
  out.Varint(1, heartbeat.commit.value());
  out.Varint(2, heartbeat.read_round);
}
static void Read(WireReader& in, Heartbeat* heartbeat) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: heartbeat->commit = LogIndex{in.Count()}; break;
      case 2: heartbeat->read_round = in.Varint(); break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& out, const HeartbeatReply& reply) {
  out.Varint(1, reply.read_round);
  out.Varint(2, reply.last.value());
}
static void Read(WireReader& in, HeartbeatReply* reply) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: reply->read_round = in.Varint(); break;
      case 2: reply->last = LogIndex{in.Count()}; break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& /*out*/, const TimeoutNow& /*message*/) {}
static void Read(WireReader& in, TimeoutNow* /*message*/) {
  while (in.Next()) in.Skip();
}

template <typename Out>
static void Put(Out& out, const ReadIndexRequest& request) {
  out.Varint(1, request.sequence);
}
static void Read(WireReader& in, ReadIndexRequest* request) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: request->sequence = in.Varint(); break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& out, const ReadIndexReply& reply) {
  out.Varint(1, reply.sequence);
  out.Varint(2, reply.ok);
  out.Varint(3, reply.index.value());
}
static void Read(WireReader& in, ReadIndexReply* reply) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: reply->sequence = in.Varint(); break;
      case 2: reply->ok = in.Bool(); break;
      case 3: reply->index = LogIndex{in.Count()}; break;
      default: in.Skip();
    }
  }
}

template <typename Out>
struct PutBody {
  Out& out;
  void operator()(const VoteRequest& body) const { out.Message(5, body); }
  void operator()(const VoteReply& body) const { out.Message(6, body); }
  void operator()(const AppendRequest& body) const { out.Message(7, body); }
  void operator()(const AppendReply& body) const { out.Message(8, body); }
  void operator()(const Heartbeat& body) const { out.Message(9, body); }
  void operator()(const HeartbeatReply& body) const { out.Message(10, body); }
  void operator()(const TimeoutNow& body) const { out.Message(11, body); }
  void operator()(const ReadIndexRequest& body) const { out.Message(12, body); }
  void operator()(const ReadIndexReply& body) const { out.Message(13, body); }
  void operator()(const SnapshotInstall& /*body*/) const { LOG(FATAL) << "SnapshotInstall is not sent: chunks are"; }
};
template <typename Body>
static void ReadBody(WireReader& in, MessageBody* body) {
  in.Message(&body->emplace<Body>());
}

template <typename Out>
static void Put(Out& out, const Message& message) {
  out.Varint(1, message.group.value());
  out.Message(2, message.from);
  out.Message(3, message.to);
  out.Varint(4, message.term.value());
  std::visit(PutBody<Out>{out}, message.body);
}
static void Read(WireReader& in, Message* message) {
  bool has_body = false;
  while (in.Next()) {
    has_body |= 5 <= in.field() && in.field() <= 13;
    switch (in.field()) {
      case 1: message->group = GroupId{in.Varint()}; break;
      case 2: in.Message(&message->from); break;
      case 3: in.Message(&message->to); break;
      case 4: message->term = Term{in.Count()}; break;
      case 5: ReadBody<VoteRequest>(in, &message->body); break;
      case 6: ReadBody<VoteReply>(in, &message->body); break;
      case 7: ReadBody<AppendRequest>(in, &message->body); break;
      case 8: ReadBody<AppendReply>(in, &message->body); break;
      case 9: ReadBody<Heartbeat>(in, &message->body); break;
      case 10: ReadBody<HeartbeatReply>(in, &message->body); break;
      case 11: ReadBody<TimeoutNow>(in, &message->body); break;
      case 12: ReadBody<ReadIndexRequest>(in, &message->body); break;
      case 13: ReadBody<ReadIndexReply>(in, &message->body); break;
      default: in.Skip();
    }
  }
  if (!has_body) return in.Fail("a message that says nothing, or something of a newer version");
  if (auto* append = std::get_if<AppendRequest>(&message->body)) {
    for (Entry& entry : append->entries) entry.header.group = message->group;
  }
}

// --- Heartbeats of nodes

template <typename Out>
static void Put(Out& out, const HeartbeatRow& row) {
  out.Varint(1, row.group.value());
  out.Message(2, row.from);
  out.Message(3, row.to);
  out.Varint(4, row.term.value());
  out.Varint(5, row.commit.value());
  out.Varint(6, row.read_round);
}
static void Read(WireReader& in, HeartbeatRow* row) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: row->group = GroupId{in.Varint()}; break;
      case 2: in.Message(&row->from); break;
      case 3: in.Message(&row->to); break;
      case 4: row->term = Term{in.Count()}; break;
      case 5: row->commit = LogIndex{in.Count()}; break;
      case 6: row->read_round = in.Varint(); break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& out, const NodeHeartbeat& heartbeat) {
  out.Varint(1, heartbeat.boot);
  out.Varint(2, heartbeat.sequence);
  out.Varint(3, heartbeat.version);
  out.Varint(4, heartbeat.full);
  for (const HeartbeatRow& row : heartbeat.rows) out.Message(5, row);
}
static void Read(WireReader& in, NodeHeartbeat* heartbeat) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: heartbeat->boot = in.Varint(); break;
      case 2: heartbeat->sequence = in.Varint(); break;
      case 3: heartbeat->version = in.Varint(); break;
      case 4: heartbeat->full = in.Bool(); break;
      case 5: ReadElement(in, limits::kHeartbeatRowsMax, "rows in a heartbeat", &heartbeat->rows); break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& out, const HeartbeatReplyRow& row) {
  out.Varint(1, row.group.value());
  out.Message(2, row.from);
  out.Message(3, row.to);
  out.Varint(4, row.term.value());
  out.Varint(5, row.read_round);
  out.Varint(6, row.last.value());
}
static void Read(WireReader& in, HeartbeatReplyRow* row) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: row->group = GroupId{in.Varint()}; break;
      case 2: in.Message(&row->from); break;
      case 3: in.Message(&row->to); break;
      case 4: row->term = Term{in.Count()}; break;
      case 5: row->read_round = in.Varint(); break;
      case 6: row->last = LogIndex{in.Count()}; break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& out, const NodeHeartbeatReply& reply) {
  out.Varint(1, reply.boot);
  out.Varint(2, reply.sequence);
  out.Varint(3, reply.version);
  out.Varint(4, !reply.known);
  out.Packed(5, reply.absent);
  for (const HeartbeatReplyRow& row : reply.rows) out.Message(6, row);
  out.Varint(7, reply.receiver_boot);
}
static void Read(WireReader& in, NodeHeartbeatReply* reply) {
  const auto add_absent = [&](uint64_t group) {
    if (reply->absent.size() >= limits::kHeartbeatRowsMax) {
      return in.Fail("more than " + std::to_string(limits::kHeartbeatRowsMax) + " absent groups");
    }
    reply->absent.emplace_back(group);
  };
  while (in.Next()) {
    switch (in.field()) {
      case 1: reply->boot = in.Varint(); break;
      case 2: reply->sequence = in.Varint(); break;
      case 3: reply->version = in.Varint(); break;
      case 4: reply->known = !in.Bool(); break;
      case 5: in.Varints(add_absent); break;
      case 6: ReadElement(in, limits::kHeartbeatRowsMax, "rows in an answer to a heartbeat", &reply->rows); break;
      case 7: reply->receiver_boot = in.Varint(); break;
      default: in.Skip();
    }
  }
}

// --- Snapshots

template <typename Out>
static void Put(Out& out, const LogAnchor& anchor) {
  out.Message(1, anchor.last);
  out.Varint(2, anchor.end_offset.value());
  PutTimestamp(out, 3, anchor.running_max_timestamp_ms);
}
static void Read(WireReader& in, LogAnchor* anchor) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: in.Message(&anchor->last); break;
      case 2: anchor->end_offset = Offset{in.Count()}; break;
      case 3: anchor->running_max_timestamp_ms = in.Signed(); break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& out, const SnapshotMeta& meta) {
  out.Message(1, meta.anchor);
  out.Payload(2, meta.configuration);
  out.Varint(3, meta.id);
  out.Varint(4, meta.bytes);
  out.Varint(5, meta.chunks);
  out.Fixed32(6, meta.checksum);
}
static void Read(WireReader& in, SnapshotMeta* meta) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: in.Message(&meta->anchor); break;
      // Small and kept for long: a copy, lest it holds on to the chunk beside it.
      case 2: meta->configuration = Bytes::Copy(in.Slice(limits::kConfigurationBytesMax).view()); break;
      case 3: meta->id = in.Varint(); break;
      case 4: meta->bytes = in.Varint(); break;
      case 5: meta->chunks = in.Varint32(); break;
      case 6: meta->checksum = in.Fixed32(); break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& out, const SnapshotChunk& chunk) {
  out.Varint(1, chunk.group.value());
  out.Message(2, chunk.from);
  out.Message(3, chunk.to);
  out.Varint(4, chunk.term.value());
  out.Message(5, chunk.meta);
  out.Varint(6, chunk.number);
  out.Payload(7, chunk.data);
  out.Fixed32(8, chunk.checksum);
}
static void Read(WireReader& in, SnapshotChunk* chunk) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: chunk->group = GroupId{in.Varint()}; break;
      case 2: in.Message(&chunk->from); break;
      case 3: in.Message(&chunk->to); break;
      case 4: chunk->term = Term{in.Count()}; break;
      case 5: in.Message(&chunk->meta); break;
      case 6: chunk->number = in.Varint32(); break;
      case 7: chunk->data = in.Slice(limits::kSnapshotChunkBytes); break;
      case 8: chunk->checksum = in.Fixed32(); break;
      default: in.Skip();
    }
  }
}

template <typename Out>
static void Put(Out& out, const SnapshotChunkReply& reply) {
  out.Varint(1, reply.group.value());
  out.Message(2, reply.from);
  out.Message(3, reply.to);
  out.Varint(4, reply.term.value());
  out.Varint(5, reply.snapshot_id);
  out.Varint(6, reply.anchor.value());
  out.Varint(7, reply.next);
  out.Varint(8, reply.done);
  out.Varint(9, reply.refused);
}
static void Read(WireReader& in, SnapshotChunkReply* reply) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: reply->group = GroupId{in.Varint()}; break;
      case 2: in.Message(&reply->from); break;
      case 3: in.Message(&reply->to); break;
      case 4: reply->term = Term{in.Count()}; break;
      case 5: reply->snapshot_id = in.Varint(); break;
      case 6: reply->anchor = LogIndex{in.Count()}; break;
      case 7: reply->next = in.Varint32(); break;
      case 8: reply->done = in.Bool(); break;
      case 9: reply->refused = in.Bool(); break;
      default: in.Skip();
    }
  }
}

// --- The bundle

template <typename Out>
static void Put(Out& out, const PeerMessage& bundle) {
  out.Varint(1, bundle.from.value());
  out.Varint(2, bundle.to.value());
  for (const Message& message : bundle.messages) out.Message(3, message);
  if (bundle.heartbeat) out.Message(4, *bundle.heartbeat);
  if (bundle.heartbeat_reply) out.Message(5, *bundle.heartbeat_reply);
  for (const SnapshotChunk& chunk : bundle.chunks) out.Message(6, chunk);
  for (const SnapshotChunkReply& reply : bundle.chunk_replies) out.Message(7, reply);
}
static size_t EntriesIn(const Message& message) {
  const auto* append = std::get_if<AppendRequest>(&message.body);
  return append ? append->entries.size() : 0;
}
static void Read(WireReader& in, PeerMessage* bundle) {
  size_t entries = 0;
  const auto read_message = [&] {
    ReadElement(in, limits::kPeerMessagesMax, "messages", &bundle->messages);
    if (!in.ok()) return;
    entries += EntriesIn(bundle->messages.back());
    if (entries > limits::kPeerEntriesMax) in.Fail("more than " + std::to_string(limits::kPeerEntriesMax) + " entries");
  };
  while (in.Next()) {
    switch (in.field()) {
      case 1: bundle->from = NodeId{in.Varint()}; break;
      case 2: bundle->to = NodeId{in.Varint()}; break;
      case 3: read_message(); break;
      case 4: in.Message(&bundle->heartbeat.emplace()); break;
      case 5: in.Message(&bundle->heartbeat_reply.emplace()); break;
      case 6: ReadElement(in, limits::kSnapshotChunksPerMessageMax, "chunks", &bundle->chunks); break;
      case 7: ReadElement(in, limits::kSnapshotRepliesPerMessageMax, "answers to chunks", &bundle->chunk_replies); break;
      default: in.Skip();
    }
  }
}

namespace {

constexpr uint32_t kHelloField = 1;
constexpr uint32_t kMessageField = 2;
constexpr size_t kFrameBytesMax = 6;  // a tag and a length

Status CheckSize(const Bytes& encoded) {
  if (encoded.size() <= limits::kPeerMessageBytesMax) return {};
  return Status(Reason::kCorruptMessage, "peer message of " + std::to_string(encoded.size()) + " bytes; the limit is " +
                                             std::to_string(limits::kPeerMessageBytesMax));
}

// Entries live on in caches. Where a group has little of a large buffer, give it a buffer of its own.
void CopySmallShares(size_t received_bytes, PeerMessage* bundle) {
  for (Message& message : bundle->messages) {
    auto* append = std::get_if<AppendRequest>(&message.body);
    if (append == nullptr) continue;
    size_t payload_bytes = 0;
    for (const Entry& entry : append->entries) payload_bytes += entry.payload.size();
    if (payload_bytes == 0 || payload_bytes >= received_bytes / limits::kSharedBufferShare) continue;
    std::string own;
    own.reserve(payload_bytes);
    for (const Entry& entry : append->entries) own += entry.payload.view();
    const Bytes buffer(std::move(own));
    size_t position = 0;
    for (Entry& entry : append->entries) {
      entry.payload = buffer.Slice(position, entry.payload.size());
      position += entry.payload.size();
    }
  }
}

Status Finish(size_t received_bytes, PeerMessage* bundle) {
  FLOTILLA_RETURN_IF_ERROR(CheckPeerMessage(*bundle));
  CopySmallShares(received_bytes, bundle);
  return {};
}

}  // namespace

EncodedMessage EncodePeerMessage(const PeerMessage& message) {
  WireWriter out(WireSize::Of(message));
  Put(out, message);
  return out.Finish();
}

Result<PeerMessage> DecodePeerMessage(const Bytes& encoded) {
  FLOTILLA_RETURN_IF_ERROR(CheckSize(encoded));
  WireReader in("peer message", encoded);
  PeerMessage bundle;
  Read(in, &bundle);
  if (!in.ok()) return in.status();
  FLOTILLA_RETURN_IF_ERROR(Finish(encoded.size(), &bundle));
  return bundle;
}

EncodedMessage EncodeChannelMessage(const PeerMessage& message) {
  WireWriter out(kFrameBytesMax + WireSize::Of(message));
  out.Message(kMessageField, message);
  return out.Finish();
}

EncodedMessage EncodeChannelHello(const EncodedHello& hello) {
  WireWriter out(kFrameBytesMax + hello.bytes.size());
  out.Payload(kHelloField, hello.bytes);
  return out.Finish();
}

Result<ChannelContent> DecodeChannelContent(const Bytes& encoded) {
  FLOTILLA_RETURN_IF_ERROR(CheckSize(encoded));
  WireReader in("channel request", encoded);
  std::optional<ChannelContent> content;
  while (in.Next()) {
    switch (in.field()) {
      case kHelloField: content = EncodedHello{in.Slice(limits::kPeerMessageBytesMax)}; break;
      case kMessageField: in.Message(&content.emplace().emplace<PeerMessage>()); break;
      default: in.Skip();
    }
  }
  if (in.ok() && !content) in.Fail("neither a hello nor a message");
  if (!in.ok()) return in.status();
  if (auto* bundle = std::get_if<PeerMessage>(&*content)) {
    FLOTILLA_RETURN_IF_ERROR(Finish(encoded.size(), bundle));
  }
  return *std::move(content);
}

}  // namespace flotilla::rpc
