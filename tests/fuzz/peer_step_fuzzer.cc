// A peer that lies: bundles that are well-formed (they are encoded, and pass what a receiver checks) and say anything. Node 1 of three
// holds a replica; the input plays nodes 2 and 3, its clients, its disk and time. A replica may stop with a fault; the process may not
// die, nothing is answered twice, and what is on the disk can be opened again.
//
//   input  = step*
//   step   = kind field*                  kind = u8, modulo the number of kinds
//   number = u8                           small, near or at what the replica has, or at an edge of 64 bits
#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/rpc/peer_codec.h"
#include "storage/base/crc32c.h"
#include "storage/log/entry.h"
#include "tests/fuzz/fuzz.h"
#include "tests/raft_node/host_cluster.h"

using namespace flotilla;
using namespace flotilla::raft;

namespace {

constexpr size_t kStepsMax = 300;

// Takes whatever was committed; its snapshot is one byte.
class AnyMachine final : public StateMachine {
 public:
  LogIndex AppliedOnOpen(const storage::GroupState& state, const storage::LogReader&) override {
    return applied_ = state.bounds.start.last.index;
  }
  Status Restore(const storage::SnapshotMeta& meta, SnapshotReader& reader) override {
    for (uint32_t number = 0; number < reader.chunks(); ++number) {
      if (const Result<Bytes> chunk = reader.Chunk(number); !chunk.ok()) return chunk.status();
    }
    applied_ = meta.anchor.last.index;
    return {};
  }
  void Apply(std::span<const storage::Entry> entries, std::vector<storage::StateWrite>*) override {
    for (const storage::Entry& entry : entries) {
      CHECK_EQ(entry.index(), applied_ + 1);
      applied_ = entry.index();
    }
  }
  Result<SnapshotContent> Snapshot() override { return SnapshotContent{.anchor = applied_, .chunks = {Bytes::Static("s")}}; }

 private:
  LogIndex applied_;
};

class Scene {
 public:
  explicit Scene(std::string_view input) : rest_(input), cluster_(1) {
    machine_ = std::make_unique<AnyMachine>();
    const Status created = host().CreateGroup({.group = kGroup,
                                               .identity = {.self = kSelf, .label = "fuzz"},
                                               .configuration = HostCluster::VotersOf({1, 2, 3}),
                                               .campaign = Byte() % 2 == 0},
                                              *machine_, cluster_.node(1).answers);
    CHECK(created.ok()) << created;
    cluster_.Settle();
  }

  void Run() {
    for (size_t steps = 0; !rest_.empty() && steps < kStepsMax; ++steps) {
      Step();
      cluster_.Settle();
      Look();
    }
    cluster_.node(1).hold_disk = false;
    Restart();
    Look();
  }

 private:
  static constexpr ReplicaId kSelf{NodeId{1}, 1};

  RaftHost& host() { return cluster_.host(1); }
  const RaftCore& core() { return cluster_.core(1); }

  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return byte;
  }
  uint64_t Number(uint64_t near) {
    constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
    constexpr std::array<uint64_t, 8> kEdges = {0, kMax, kMax - 1, kMax / 2, kMax / 2 + 1, kMax / 4 + 1, uint64_t{1} << 32, kMax - 4096};
    const uint8_t byte = Byte();
    switch (byte >> 6) {
      case 0: return byte & 63;
      case 1: return near + (byte & 63) - 32;
      case 2: return kEdges[byte & 7];
      default: return near;
    }
  }
  Term SomeTerm() { return Term{Number(core().term().value())}; }
  LogIndex Index() { return LogIndex{Number(Byte() % 2 == 0 ? core().log().last().value() : core().commit().value())}; }
  Offset SomeOffset() { return Offset{Number(core().log().end().end_offset.value())}; }
  storage::EntryId Id() { return {Term{Number(core().log().last_id().term.value())}, Index()}; }
  // Of the same peer all the while, most of the time.
  ReplicaId Peer() {
    const uint8_t byte = Byte();
    return {NodeId{2u + byte % 2}, byte < 224 ? 1u : byte};
  }
  ReplicaId Self() {
    const uint8_t byte = Byte();
    return {NodeId{1}, byte < 240 ? 1u : byte};
  }
  storage::EntryKind Kind() {
    const uint8_t kind = Byte();
    return storage::IsEntryKind(kind) ? static_cast<storage::EntryKind>(kind) : storage::EntryKind::kData;
  }
  std::string Text(size_t bytes_max) {
    const std::string text(rest_.substr(0, Byte() % (bytes_max + 1)));
    rest_.remove_prefix(std::min(rest_.size(), text.size()));
    return text;
  }
  Configuration SomeConfiguration() {
    const uint8_t byte = Byte();
    Configuration configuration = HostCluster::VotersOf({1, 2, 3});
    if (byte & 1) configuration = HostCluster::VotersOf({1});
    if (byte & 2) configuration = HostCluster::VotersOf({2, 3, 4});
    if (byte & 4) configuration.outgoing = HostCluster::VotersOf({1, 5}).voters;
    if (byte & 8) configuration.learners = HostCluster::VotersOf({6, 7}).voters;
    if (byte & 16) configuration = {};
    if (byte & 32) configuration = HostCluster::VotersOf({1, 2, 3}, 2);
    configuration.Normalize();
    return configuration;
  }
  Bytes Payload(storage::EntryKind kind) {
    return kind == storage::EntryKind::kConfiguration && Byte() % 8 != 0 ? EncodeConfiguration(SomeConfiguration()) : Bytes(Text(40));
  }

  std::vector<storage::Entry> Entries(storage::EntryId before) {
    std::vector<storage::Entry> entries;
    Offset offset = SomeOffset();
    const size_t count = Byte() % 6;
    for (size_t i = 0; i < count; ++i) {
      storage::Entry entry;
      entry.header.group = kGroup;
      entry.header.index = before.index = before.index + 1;
      entry.header.term = before.term = Byte() % 4 == 0 ? SomeTerm() : before.term;
      entry.header.kind = Kind();
      entry.header.base_offset = offset;
      entry.header.record_count = static_cast<uint32_t>(Byte() % 4 == 0 ? Number(1) : 1);
      entry.header.min_timestamp_ms = entry.header.max_timestamp_ms = static_cast<int64_t>(Number(1000));
      entry.header.running_max_timestamp_ms = entry.header.max_timestamp_ms;
      entry.payload = Payload(entry.header.kind);
      storage::SealEntry(&entry);
      offset = entry.header.end_offset();
      entries.push_back(std::move(entry));
    }
    return entries;
  }

  MessageBody Body() {
    switch (Byte() % 9) {
      case 0: return VoteRequest{.pre_vote = Byte() % 2 == 0, .transfer = Byte() % 2 == 0, .campaign_term = SomeTerm(), .last = Id()};
      case 1: return VoteReply{.pre_vote = Byte() % 2 == 0, .granted = Byte() % 4 != 0, .campaign_term = SomeTerm()};
      case 2: {
        AppendRequest append{.prev = Id(), .entries = {}, .commit = Index(), .acknowledged = Byte() % 8 == 0 ? Index() : LogIndex{}};
        append.entries = Entries(append.prev);
        return append;
      }
      case 3: return AppendReply{.accepted = Byte() % 4 != 0, .index = Index(), .hint = Id()};
      case 4: return Heartbeat{.commit = Index(), .read_round = Number(1)};
      case 5: return HeartbeatReply{.read_round = Number(1), .last = Index()};
      case 6: return TimeoutNow{};
      case 7: return ReadIndexRequest{.sequence = Number(1)};
      default: return ReadIndexReply{.sequence = Number(1), .ok = Byte() % 2 == 0, .index = Index()};
    }
  }

  PeerMessage Bundle(ReplicaId from) { return {.from = from.node, .to = NodeId{1}}; }

  void SendMessage() {
    const ReplicaId from = Peer();
    PeerMessage bundle = Bundle(from);
    const Term term = SomeTerm();
    bundle.messages.push_back({kGroup, from, Self(), term, Body()});
    Deliver(bundle);
  }
  void SendHeartbeat() {
    const ReplicaId from = Peer();
    PeerMessage bundle = Bundle(from);
    bundle.heartbeat = NodeHeartbeat{.boot = Byte() % 3u, .sequence = Number(++sequence_), .version = Byte() % 3u, .full = Byte() % 2 == 0};
    if (Byte() % 2 == 0) {
      bundle.heartbeat->rows.push_back({kGroup, from, Self(), SomeTerm(), Index(), Byte() % 3u});
    }
    Deliver(bundle);
  }
  void SendHeartbeatReply() {
    const ReplicaId from = Peer();
    PeerMessage bundle = Bundle(from);
    bundle.heartbeat_reply = NodeHeartbeatReply{.boot = cluster_.node(1).boots,
                                                .receiver_boot = Byte() % 3u,
                                                .sequence = Number(1),
                                                .version = Number(1),
                                                .known = Byte() % 2 == 0};
    if (Byte() % 2 == 0) bundle.heartbeat_reply->absent.push_back(kGroup);
    if (Byte() % 2 == 0) bundle.heartbeat_reply->rows.push_back({kGroup, from, Self(), SomeTerm(), Number(1), Index()});
    Deliver(bundle);
  }
  void SendChunk() {
    const ReplicaId from = Peer();
    PeerMessage bundle = Bundle(from);
    SnapshotChunk chunk{.group = kGroup, .from = from, .to = Self(), .term = SomeTerm()};
    chunk.data = Bytes(Text(20));
    chunk.checksum = crc32c::Value(chunk.data.view());
    const uint8_t shape = Byte();
    chunk.meta.id = 1 + shape % 3;
    chunk.meta.chunks = shape % 4 == 0 ? static_cast<uint32_t>(Number(1)) : 1;
    chunk.meta.bytes = shape % 8 == 0 ? Number(chunk.data.size()) : chunk.data.size();
    chunk.meta.checksum = chunk.checksum;
    chunk.meta.anchor = {Id(), SomeOffset(), static_cast<int64_t>(Number(1000))};
    chunk.meta.configuration = Byte() % 8 == 0 ? Bytes(Text(20)) : EncodeConfiguration(SomeConfiguration());
    chunk.number = static_cast<uint32_t>(Byte() % 4 == 0 ? Number(0) : 0);
    bundle.chunks.push_back(std::move(chunk));
    Deliver(bundle);
  }
  void SendChunkReply() {
    const ReplicaId from = Peer();
    PeerMessage bundle = Bundle(from);
    bundle.chunk_replies.push_back({.group = kGroup,
                                    .from = from,
                                    .to = Self(),
                                    .term = SomeTerm(),
                                    .snapshot_id = Number(1),
                                    .anchor = Index(),
                                    .next = static_cast<uint32_t>(Number(1)),
                                    .done = Byte() % 2 == 0,
                                    .refused = Byte() % 2 == 0});
    Deliver(bundle);
  }
  void Deliver(const PeerMessage& bundle) {
    Result<PeerMessage> received = rpc::DecodePeerMessage(Bytes(rpc::EncodePeerMessage(bundle).Flatten()));
    if (received.ok()) host().Receive(*std::move(received));
  }

  void Call() {
    switch (Byte() % 6) {
      case 0: cluster_.Propose(1, Text(40)); return;
      case 1: cluster_.Read(1); return;
      case 2: (void)host().TransferLeadership(kGroup, Byte() % 2 == 0 ? kNoReplica : Peer()); return;
      case 3: host().Campaign(kGroup); return;
      case 4: (void)host().TakeSnapshot(kGroup); return;
      default: host().PeerUnreachable(NodeId{2u + Byte() % 2}); return;
    }
  }

  void Restart() {
    cluster_.Kill(1);
    storage::MemoryDisk& disk = cluster_.node(1).disk;
    disk.PowerCut(std::min<size_t>(Byte(), disk.unsynced_bytes()));
    cluster_.Boot(1);
    machine_ = std::make_unique<AnyMachine>();
    const Status opened = host().OpenGroup(kGroup, *machine_);
    CHECK(opened.ok()) << opened;
    cluster_.Settle();
  }

  void Step() {
    switch (Byte() % 9) {
      case 0: cluster_.Ticks(1 + Byte() % 40); return;
      case 1:
      case 2: SendMessage(); return;
      case 3: SendHeartbeat(); return;
      case 4: SendHeartbeatReply(); return;
      case 5: SendChunk(); return;
      case 6: SendChunkReply(); return;
      case 7: Call(); return;
      default:
        if (Byte() % 4 == 0) return Restart();
        cluster_.node(1).hold_disk = !cluster_.node(1).hold_disk;
        return;
    }
  }

  void Look() {
    const RaftCore* replica = host().Find(kGroup);
    CHECK(replica != nullptr);
    if (replica->fault().ok()) replica->CheckInvariants();
    (void)host().Counters(kGroup);
  }

  std::string_view rest_;
  std::unique_ptr<AnyMachine> machine_;  // outlives its host, which the cluster ends
  HostCluster cluster_;
  uint64_t sequence_ = 0;
};

}  // namespace

FLOTILLA_FUZZ(input) {
  FLAGS_minloglevel = google::GLOG_FATAL;  // faults are what is to happen
  Scene(input).Run();
}
