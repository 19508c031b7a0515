#include "server/rpc/peer_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "flotilla/internal/v1/peer.pb.h"
#include "storage/base/crc32c.h"
#include "storage/base/random.h"
#include "tests/support/entry_maker.h"
#include "tests/unit/server_rpc/generated_twin.h"

namespace flotilla::rpc {
namespace {

using raft::AppendRequest;
using raft::Message;
using raft::PeerMessage;
using storage::EntryMaker;
using ::testing::HasSubstr;

constexpr NodeId kHere{1};
constexpr NodeId kThere{2};
constexpr ReplicaId kFrom{kHere, 3};
constexpr ReplicaId kTo{kThere, 0};
constexpr uint64_t kLargest = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kLargestCount = uint64_t{1} << 62;  // of what is counted and added to

PeerMessage Bundle() { return {.from = kHere, .to = kThere}; }
PeerMessage BundleOf(raft::MessageBody body, GroupId group = GroupId{7}, Term term = Term{9}) {
  PeerMessage bundle = Bundle();
  bundle.messages.push_back({.group = group, .from = kFrom, .to = kTo, .term = term, .body = std::move(body)});
  return bundle;
}
// Entries that begin a log.
AppendRequest AppendOf(std::vector<storage::Entry> entries) { return {.entries = std::move(entries)}; }
const AppendRequest& AppendIn(const PeerMessage& bundle, size_t message = 0) {
  return std::get<AppendRequest>(bundle.messages.at(message).body);
}

raft::SnapshotChunk Chunk(std::string data) {
  raft::SnapshotChunk chunk{.group = GroupId{7}, .from = kFrom, .to = kTo, .term = Term{9}};
  chunk.meta = {.anchor = {.last = {Term{8}, LogIndex{100}}, .end_offset = Offset{70}, .running_max_timestamp_ms = 5},
                .configuration = Bytes::Static("members"),
                .id = 4,
                .bytes = 1000,
                .chunks = 3,
                .checksum = 0xABCD};
  chunk.number = 2;
  chunk.checksum = crc32c::Value(data);
  chunk.data = Bytes(std::move(data));
  return chunk;
}

Result<PeerMessage> Decode(std::string_view bytes) { return DecodePeerMessage(Bytes::Copy(bytes)); }
std::string Encode(const PeerMessage& bundle) { return EncodePeerMessage(bundle).Flatten(); }

// --- One of each kind, against generated code, in both directions

std::vector<PeerMessage> OneOfEach() {
  EntryMaker make(GroupId{7}, Term{2});
  std::vector<PeerMessage> bundles = {
      Bundle(),
      BundleOf(raft::VoteRequest{.pre_vote = true, .transfer = true, .campaign_term = Term{10}, .last = {Term{9}, LogIndex{5}}}),
      BundleOf(raft::VoteRequest{}),
      BundleOf(raft::VoteReply{.pre_vote = true, .granted = true, .campaign_term = Term{kLargestCount}}),
      BundleOf(AppendRequest{}),
      BundleOf(AppendRequest{.entries = {make.Noop(), make.Data("a", {.records = 3}), make.Data(""), make.DataAt(0), make.DataAt(-1),
                                         make.Configuration("members"), make.Data(std::string(5000, 'x'))},
                             .commit = LogIndex{2},
                             .acknowledged = LogIndex{1}}),
      BundleOf(raft::AppendReply{.accepted = true, .index = LogIndex{kLargestCount}}),
      BundleOf(raft::AppendReply{.index = LogIndex{8}, .hint = {Term{1}, LogIndex{4}}}),
      BundleOf(raft::Heartbeat{.commit = LogIndex{1}, .read_round = 2}),
      BundleOf(raft::HeartbeatReply{.read_round = 2, .last = LogIndex{3}}),
      BundleOf(raft::TimeoutNow{}),
      BundleOf(raft::ReadIndexRequest{.sequence = kLargest}),
      BundleOf(raft::ReadIndexReply{.sequence = 1, .ok = true, .index = LogIndex{2}}),
      BundleOf(raft::TimeoutNow{}, GroupId{0}, Term{0}),
  };
  PeerMessage heartbeats = Bundle();
  heartbeats.heartbeat = {.boot = 1, .sequence = 2, .version = 3, .full = true};
  heartbeats.heartbeat->rows.push_back({GroupId{7}, kFrom, kTo, Term{9}, LogIndex{4}, 5});
  heartbeats.heartbeat->rows.push_back({GroupId{8}, kFrom, kTo, Term{1}, LogIndex{0}, 0});
  heartbeats.heartbeat_reply = {.boot = 1, .receiver_boot = 9, .sequence = 2, .version = 3, .known = false};
  heartbeats.heartbeat_reply->absent = {GroupId{0}, GroupId{300}, GroupId{kLargest}};
  heartbeats.heartbeat_reply->rows.push_back({GroupId{7}, kFrom, kTo, Term{9}, 5, LogIndex{6}});
  bundles.push_back(heartbeats);

  PeerMessage light = Bundle();
  light.heartbeat.emplace();
  light.heartbeat_reply.emplace();
  bundles.push_back(light);

  PeerMessage snapshots = Bundle();
  snapshots.chunks = {Chunk("data"), Chunk(""), Chunk(std::string(limits::kSnapshotChunkBytes, 's'))};
  snapshots.chunk_replies.push_back({.group = GroupId{7},
                                     .from = kFrom,
                                     .to = kTo,
                                     .term = Term{9},
                                     .snapshot_id = 4,
                                     .anchor = LogIndex{100},
                                     .next = 2,
                                     .done = true,
                                     .refused = true});
  bundles.push_back(snapshots);

  PeerMessage everything = snapshots;
  everything.heartbeat = heartbeats.heartbeat;
  everything.heartbeat_reply = heartbeats.heartbeat_reply;
  for (const PeerMessage& bundle : bundles) {
    everything.messages.insert(everything.messages.end(), bundle.messages.begin(), bundle.messages.end());
  }
  bundles.push_back(everything);
  return bundles;
}

TEST(PeerCodec, WritesTheBytesThatGeneratedCodeWrites) {
  for (const PeerMessage& bundle : OneOfEach()) {
    const EncodedMessage encoded = EncodePeerMessage(bundle);
    const std::string flat = encoded.Flatten();
    EXPECT_EQ(encoded.bytes, flat.size());
    EXPECT_EQ(flat, Generated(bundle).SerializeAsString()) << Generated(bundle).ShortDebugString();
  }
}

TEST(PeerCodec, ReadsWhatGeneratedCodeWrites) {
  for (const PeerMessage& bundle : OneOfEach()) {
    const wire::PeerMessage sent = Generated(bundle);
    const Result<PeerMessage> got = Decode(sent.SerializeAsString());
    ASSERT_TRUE(got.ok()) << got.status() << "\n" << sent.ShortDebugString();
    EXPECT_EQ(Generated(*got).ShortDebugString(), sent.ShortDebugString());
  }
}

TEST(PeerCodec, GeneratedCodeReadsWhatItWrites) {
  for (const PeerMessage& bundle : OneOfEach()) {
    wire::PeerMessage got;
    ASSERT_TRUE(got.ParseFromString(Encode(bundle)));
    EXPECT_EQ(got.ShortDebugString(), Generated(bundle).ShortDebugString());
  }
}

TEST(PeerCodec, EntriesComeBackWhole) {
  EntryMaker make(GroupId{7});
  const AppendRequest sent = AppendOf({make.Noop(), make.Data("abc", {.records = 2}), make.DataAt(-5)});
  const Result<PeerMessage> got = Decode(Encode(BundleOf(sent)));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(AppendIn(*got).entries, sent.entries);  // headers with group, length and checksum
}

// A newer node may say more.
TEST(PeerCodec, FieldsOfANewerVersionAreSkipped) {
  const std::string more =
      "\xa0\x06\x01"                              // 100: varint
      "\xa9\x06\x01\x02\x03\x04\x05\x06\x07\x08"  // 101: 8 bytes
      "\xb2\x06\x03xyz"                           // 102: bytes
      "\xbd\x06\x01\x02\x03\x04";                 // 103: 4 bytes
  const Result<PeerMessage> got = Decode(std::string(more) + Encode(BundleOf(raft::TimeoutNow{})) + more);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->messages.size(), 1u);
}

TEST(PeerCodec, AbsentGroupsMayComeUnpacked) {
  const std::string reply("\x28\x05\x28\x06", 4);  // field 5, twice, as varints
  const Result<PeerMessage> got = Decode(std::string("\x2a\x04") + reply);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(got->heartbeat_reply->absent, ::testing::ElementsAre(GroupId{5}, GroupId{6}));
}

// --- Without copying

bool Inside(std::string_view part, std::string_view whole) {
  return whole.data() <= part.data() && part.data() + part.size() <= whole.data() + whole.size();
}

TEST(PeerCodec, LargePayloadsAreSharedWhenWritten) {
  EntryMaker make(GroupId{7});
  const Bytes large(std::string(100'000, 'x'));
  const EncodedMessage encoded = EncodePeerMessage(BundleOf(AppendOf({make.Data("small"), make.Data(large), make.Noop()})));
  ASSERT_EQ(encoded.pieces.size(), 3u);
  EXPECT_EQ(encoded.pieces[1].data(), large.data());
  EXPECT_LT(encoded.pieces[0].size() + encoded.pieces[2].size(), 200u);
}

TEST(PeerCodec, PayloadsAreSlicesOfWhatWasReceived) {
  EntryMaker make(GroupId{7});
  const Bytes received(Encode(BundleOf(AppendOf({make.Data(std::string(5000, 'x')), make.Data("y")}))));
  const Result<PeerMessage> got = DecodePeerMessage(received);
  ASSERT_TRUE(got.ok()) << got.status();
  for (const storage::Entry& entry : AppendIn(*got).entries) {
    EXPECT_TRUE(Inside(entry.payload.view(), received.view()));
  }
}

TEST(PeerCodec, PayloadsOutliveTheCallersHandle) {
  EntryMaker make(GroupId{7});
  Result<PeerMessage> got = Decode(Encode(BundleOf(AppendOf({make.Data(std::string(5000, 'x'))}))));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(AppendIn(*got).entries[0].payload.view(), std::string(5000, 'x'));
}

// An entry may stay in memory for long: a few bytes must not keep a megabyte.
TEST(PeerCodec, ASmallShareOfALargeBufferIsCopied) {
  EntryMaker small(GroupId{1});
  EntryMaker large(GroupId{2});
  PeerMessage bundle = BundleOf(AppendOf({small.Data("a"), small.Data("b")}), GroupId{1});
  bundle.messages.push_back(BundleOf(AppendOf({large.Data(std::string(100'000, 'x'))}), GroupId{2}).messages[0]);
  const Bytes received(Encode(bundle));
  const Result<PeerMessage> got = DecodePeerMessage(received);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(AppendIn(*got, 0).entries, AppendIn(bundle, 0).entries);
  EXPECT_FALSE(Inside(AppendIn(*got, 0).entries[0].payload.view(), received.view()));
  EXPECT_TRUE(Inside(AppendIn(*got, 1).entries[0].payload.view(), received.view()));
}

// --- Damage

void ExpectCorrupt(const Result<PeerMessage>& got, const std::string& what) {
  ASSERT_FALSE(got.ok()) << "expected: " << what;
  EXPECT_EQ(got.status().reason(), Reason::kCorruptMessage);
  EXPECT_THAT(got.status().ToString(), HasSubstr(what));
}

TEST(PeerCodec, DamageIsNamed) {
  ExpectCorrupt(Decode("\xff"), "a broken tag");
  ExpectCorrupt(Decode(std::string("\0", 1)), "a broken tag");
  ExpectCorrupt(Decode("\x08"), "byte 1, field 1: a broken number");
  ExpectCorrupt(Decode("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "a broken number");
  ExpectCorrupt(Decode("\x0a\x00"), "wire type 2, not 0");
  ExpectCorrupt(Decode("\x1a"), "a broken length");
  ExpectCorrupt(Decode("\x1a\x05\x08"), "a length of 5, with 1 bytes left");
  ExpectCorrupt(Decode("\x1a\xff\xff\xff\xff\x0f"), "a length of 4294967295, with 0 bytes left");
  ExpectCorrupt(Decode("\x1a\xff\xff\xff\xff\x1f"), "a broken length");
  ExpectCorrupt(Decode(std::string("\x1a\x80\x80\x80\x80\x80\x00", 7)), "a broken length");
  ExpectCorrupt(Decode("\xf1\xff\xfd\xe5\xf7\x1a"), "a broken tag");
  ExpectCorrupt(Decode("\x1b"), "wire type 3, not 2");
  ExpectCorrupt(Decode("\xa3\x06"), "wire type 3, which proto3 does not have");
  ExpectCorrupt(Decode("\xa7\x06"), "wire type 7, which proto3 does not have");
  ExpectCorrupt(Decode("\xbd\x06\x01"), "a value that is cut off");
}

// A length inside may not reach past the message it is in, though there are bytes enough behind that.
TEST(PeerCodec, ALengthStaysInsideItsMessage) { ExpectCorrupt(Decode("\x1a\x02\x12\x08 and so on"), "a length of 8, with 0 bytes left"); }

TEST(PeerCodec, AMessageSaysSomething) {
  ExpectCorrupt(Decode(std::string("\x1a\x00", 2)), "a message that says nothing");
  ExpectCorrupt(Decode(std::string("\x1a\x04\xa2\x06\x01x", 6)), "or something of a newer version");
}

void ExpectDecodedOrCorrupt(std::string_view bytes) {
  const Result<PeerMessage> got = Decode(bytes);
  EXPECT_TRUE(got.ok() || got.status().reason() == Reason::kCorruptMessage) << got.status();
}
TEST(PeerCodec, EveryPieceCutOffIsRefusedOrShorter) {
  const std::string whole = Encode(OneOfEach().back());
  for (size_t size = 0; size < std::min<size_t>(whole.size(), 8000); ++size) {
    ExpectDecodedOrCorrupt(std::string_view(whole).substr(0, size));
  }
}

TEST(PeerCodec, AnyFlippedBitOfAnEntryIsNoticed) {
  EntryMaker make(GroupId{7});
  const std::string good = Encode(BundleOf(AppendOf({make.Data("payload")})));
  const size_t entry = good.find("payload") - 24;  // inside the entry, behind the frame of the append
  for (size_t bit = entry * 8; bit < (good.find("payload") + 7) * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    const Result<PeerMessage> got = Decode(bad);
    EXPECT_FALSE(got.ok() && AppendIn(*got).entries != std::vector{EntryMaker(GroupId{7}).Data("payload")})
        << "bit " << bit % 8 << " of byte " << bit / 8;
  }
}

TEST(PeerCodec, RandomBytesNeverCrash) {
  Random random(1);
  const std::string seed = Encode(OneOfEach().back());
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = seed.substr(0, 1 + random.Below(2000));
    for (uint64_t i = random.Below(8); i > 0; --i) bytes[random.Below(bytes.size())] = static_cast<char>(random.Below(256));
    ExpectDecodedOrCorrupt(bytes);
  }
}

TEST(PeerCodec, AWrongChecksumNamesTheEntry) {
  EntryMaker make(GroupId{7});
  std::string bytes = Encode(BundleOf(AppendOf({make.Data("a"), make.Data("payload")})));
  bytes[bytes.find("payload")] = 'P';
  ExpectCorrupt(Decode(bytes), "entry 2 of group 7: checksum");
}

TEST(PeerCodec, AnEntryOfAnotherGroupIsNoticed) {
  EntryMaker make(GroupId{8});
  ExpectCorrupt(Decode(Encode(BundleOf(AppendOf({make.Data("a")}), GroupId{7}))), "entry 1 of group 7: checksum");
}

TEST(PeerCodec, UnknownKindsOfEntriesAreRefused) {
  EntryMaker make(GroupId{7});
  for (const uint32_t kind : {0u, 6u, 255u, 257u, 0x7fffffffu}) {
    wire::PeerMessage bundle = Generated(BundleOf(AppendOf({make.Data("a")})));
    bundle.mutable_messages(0)->mutable_append_request()->mutable_entries(0)->set_kind(kind);
    ExpectCorrupt(Decode(bundle.SerializeAsString()), "unknown kind " + std::to_string(kind));
  }
}

TEST(PeerCodec, EntriesStandInOrder) {
  EntryMaker make(GroupId{7}, Term{2});
  const storage::Entry first = make.Data("a"), second = make.Data("b"), third = make.Data("c");
  ExpectCorrupt(Decode(Encode(BundleOf(AppendOf({second})))), "entry 2@2 cannot follow 0@0");
  ExpectCorrupt(Decode(Encode(BundleOf(AppendOf({first, third})))), "entry 3@2 cannot follow 1@2");
  ExpectCorrupt(Decode(Encode(BundleOf(AppendOf({first, first})))), "entry 1@2 cannot follow 1@2");

  storage::Entry older = second;
  older.header.term = Term{1};
  SealEntry(&older);
  ExpectCorrupt(Decode(Encode(BundleOf(AppendOf({first, older})))), "entry 2@1 cannot follow 1@2");
  ExpectCorrupt(Decode(Encode(BundleOf(AppendOf({first}), GroupId{7}, Term{1}))), "in a message of term 1");

  storage::Entry gap = second;
  gap.header.base_offset = Offset{9};
  SealEntry(&gap);
  ExpectCorrupt(Decode(Encode(BundleOf(AppendOf({first, gap})))), "begins at offset 9, the one before ends at 1");
}

TEST(PeerCodec, ADamagedChunkIsNamed) {
  PeerMessage bundle = Bundle();
  bundle.chunks.push_back(Chunk("data"));
  bundle.chunks[0].checksum ^= 1;
  ExpectCorrupt(Decode(Encode(bundle)), "chunk 2 of snapshot 4 has the checksum");
}

TEST(PeerCodec, AChunkIsOneOfItsSnapshot) {
  PeerMessage bundle = Bundle();
  bundle.chunks.push_back(Chunk("data"));
  bundle.chunks[0].number = 3;
  ExpectCorrupt(Decode(Encode(bundle)), "chunk 3 of a snapshot of 3 chunks");
  bundle.chunks[0].meta.chunks = limits::kSnapshotChunksMax + 1;
  ExpectCorrupt(Decode(Encode(bundle)), "the limit is");
  bundle.chunks[0] = Chunk("data");
  bundle.chunks[0].meta.bytes = limits::kSnapshotBytesMax + 1;
  ExpectCorrupt(Decode(Encode(bundle)), "a snapshot of 1073741825 bytes");
}

// A node speaks for its own replicas, to those of the receiver.
TEST(PeerCodec, NobodySpeaksForAnother) {
  PeerMessage bundle = BundleOf(raft::TimeoutNow{});
  bundle.messages[0].from.node = NodeId{5};
  ExpectCorrupt(Decode(Encode(bundle)), "it is from replica 5.3, but node 1 sent it");
  bundle = BundleOf(raft::TimeoutNow{});
  bundle.messages[0].to.node = NodeId{5};
  ExpectCorrupt(Decode(Encode(bundle)), "it is for replica 5, but was sent to node 2");

  bundle = Bundle();
  bundle.heartbeat.emplace().rows.push_back({GroupId{7}, {NodeId{5}, 0}, kTo, Term{9}, {}, 0});
  ExpectCorrupt(Decode(Encode(bundle)), "but node 1 sent it");
  bundle = Bundle();
  bundle.heartbeat_reply.emplace().rows.push_back({GroupId{7}, {NodeId{5}, 0}, kTo, Term{9}, 0, {}});
  ExpectCorrupt(Decode(Encode(bundle)), "but node 1 sent it");
  bundle = Bundle();
  bundle.chunks.push_back(Chunk("data"));
  bundle.chunks[0].from.node = NodeId{5};
  ExpectCorrupt(Decode(Encode(bundle)), "but node 1 sent it");
  bundle = Bundle();
  bundle.chunk_replies.push_back({.group = GroupId{7}, .from = {NodeId{5}, 0}, .to = kTo});
  ExpectCorrupt(Decode(Encode(bundle)), "but node 1 sent it");
}

// --- Limits

TEST(PeerCodec, ABundleHasALargestSize) {
  ExpectCorrupt(Decode(std::string(limits::kPeerMessageBytesMax + 1, '\0')), "16777217 bytes; the limit is 16777216");
}

TEST(PeerCodec, TheLargestEntryPasses) {
  EntryMaker make(GroupId{7});
  const Result<PeerMessage> got = Decode(Encode(BundleOf(AppendOf({make.Data(std::string(limits::kEntryPayloadBytesMax, 'x'))}))));
  ASSERT_TRUE(got.ok()) << got.status();
}

TEST(PeerCodec, ALargerEntryDoesNot) {
  wire::PeerMessage bundle = Generated(BundleOf(AppendOf({EntryMaker(GroupId{7}).Data("a")})));
  bundle.mutable_messages(0)->mutable_append_request()->mutable_entries(0)->set_payload(
      std::string(limits::kEntryPayloadBytesMax + 1, 'x'));
  ExpectCorrupt(Decode(bundle.SerializeAsString()), "8388609 bytes, the limit is 8388608");
}

TEST(PeerCodec, AnAppendHasSoManyEntries) {
  EntryMaker make(GroupId{7});
  AppendRequest append;
  for (size_t i = 0; i < limits::kAppendEntriesMax; ++i) append.entries.push_back(make.Noop());
  EXPECT_TRUE(Decode(Encode(BundleOf(append))).ok());
  append.entries.push_back(make.Noop());
  ExpectCorrupt(Decode(Encode(BundleOf(append))), "more than 4096 entries in one append");
}

TEST(PeerCodec, ABundleHasSoManyEntries) {
  EntryMaker make(GroupId{7});
  AppendRequest append;
  for (size_t i = 0; i < limits::kAppendEntriesMax; ++i) append.entries.push_back(make.Noop());
  PeerMessage bundle = BundleOf(append);
  bundle.messages.insert(bundle.messages.end(), limits::kPeerEntriesMax / limits::kAppendEntriesMax, bundle.messages[0]);
  ExpectCorrupt(Decode(Encode(bundle)), "more than 65536 entries");
}

TEST(PeerCodec, ABundleHasSoManyMessages) {
  const std::string message("\x1a\x02\x5a\x00", 4);  // a TimeoutNow without anything
  std::string bytes;
  for (size_t i = 0; i <= limits::kPeerMessagesMax; ++i) bytes += message;
  ExpectCorrupt(Decode(bytes), "more than 400000 messages");
}

TEST(PeerCodec, AHeartbeatHasSoManyRows) {
  PeerMessage bundle = Bundle();
  bundle.heartbeat.emplace().rows.assign(limits::kHeartbeatRowsMax,
                                         {GroupId{kLargest}, kFrom, kTo, Term{kLargestCount}, LogIndex{kLargestCount}, kLargest});
  EXPECT_TRUE(Decode(Encode(bundle)).ok());
  bundle.heartbeat->rows.push_back(bundle.heartbeat->rows[0]);
  ExpectCorrupt(Decode(Encode(bundle)), "more than 100000 rows in a heartbeat");
}

TEST(PeerCodec, AnAnswerHasSoManyAbsentGroupsAndRows) {
  PeerMessage bundle = Bundle();
  bundle.heartbeat_reply.emplace().absent.assign(limits::kHeartbeatRowsMax + 1, GroupId{1});
  ExpectCorrupt(Decode(Encode(bundle)), "more than 100000 absent groups");
  bundle.heartbeat_reply.emplace().rows.assign(limits::kHeartbeatRowsMax + 1, {GroupId{1}, kFrom, kTo, Term{1}, 0, {}});
  ExpectCorrupt(Decode(Encode(bundle)), "more than 100000 rows in an answer");
}

TEST(PeerCodec, SnapshotsHaveLimits) {
  PeerMessage bundle = Bundle();
  bundle.chunks.push_back(Chunk(std::string(limits::kSnapshotChunkBytes + 1, 's')));
  ExpectCorrupt(Decode(Encode(bundle)), "262145 bytes, the limit is 262144");
  bundle.chunks.assign(limits::kSnapshotChunksPerMessageMax + 1, Chunk("s"));
  ExpectCorrupt(Decode(Encode(bundle)), "more than 64 chunks");
  bundle = Bundle();
  bundle.chunks.push_back(Chunk("s"));
  bundle.chunks[0].meta.configuration = Bytes(std::string(limits::kConfigurationBytesMax + 1, 'c'));
  ExpectCorrupt(Decode(Encode(bundle)), "4097 bytes, the limit is 4096");
  bundle = Bundle();
  bundle.chunk_replies.assign(limits::kSnapshotRepliesPerMessageMax + 1, {.group = GroupId{1}, .from = kFrom, .to = kTo});
  ExpectCorrupt(Decode(Encode(bundle)), "more than 65536 answers");
}

std::string Framed(int field, std::string_view content) {
  return std::string{static_cast<char>(field << 3 | 2), static_cast<char>(content.size())}.append(content);
}
TEST(PeerCodec, ANumberOf32BitsIsNotCut) {
  const std::string entry = "\x30\xff\xff\xff\xff\x1f";  // record_count
  ExpectCorrupt(Decode(Framed(3, Framed(7, Framed(2, entry)))), "field 6: the number 8589934591 does not fit");
}

// Whoever adds to it must not come out at 0.
TEST(PeerCodec, TermsIndexesAndOffsetsHaveALargest) {
  const raft::VoteRequest next{.campaign_term = Term{kLargestCount + 1}};
  ExpectCorrupt(Decode(EncodePeerMessage(BundleOf(next)).Flatten()), "the number 4611686018427387905 is above");
  EXPECT_FALSE(Decode(EncodePeerMessage(BundleOf(raft::TimeoutNow{}, GroupId{7}, Term{kLargest})).Flatten()).ok());
  EXPECT_FALSE(Decode(EncodePeerMessage(BundleOf(raft::Heartbeat{.commit = LogIndex{kLargest}})).Flatten()).ok());
}

TEST(PeerCodecDeathTest, ASnapshotInstallIsNotSent) {
  const PeerMessage bundle = BundleOf(raft::SnapshotInstall{});
  EXPECT_DEATH(EncodePeerMessage(bundle), "SnapshotInstall is not sent");
}

// --- The stream's messages

TEST(Channel, CarriesMessages) {
  EntryMaker make(GroupId{7});
  const PeerMessage bundle = BundleOf(AppendOf({make.Data(std::string(5000, 'x'))}));
  const EncodedMessage encoded = EncodeChannelMessage(bundle);

  wire::OpenChannelRequest twin;
  *twin.mutable_message() = Generated(bundle);
  EXPECT_EQ(encoded.Flatten(), twin.SerializeAsString());

  const Bytes received(encoded.Flatten());
  const Result<ChannelContent> got = DecodeChannelContent(received);
  ASSERT_TRUE(got.ok()) << got.status();
  const auto* message = std::get_if<PeerMessage>(&*got);
  ASSERT_NE(message, nullptr);
  EXPECT_EQ(AppendIn(*message).entries, AppendIn(bundle).entries);
  EXPECT_TRUE(Inside(AppendIn(*message).entries[0].payload.view(), received.view()));
}

TEST(Channel, CarriesAHello) {
  wire::OpenChannelRequest twin;
  twin.mutable_hello()->set_channel(wire::CHANNEL_DATA);
  twin.mutable_hello()->mutable_handshake()->set_expected_node_id(2);
  const Result<ChannelContent> got = DecodeChannelContent(Bytes(twin.SerializeAsString()));
  ASSERT_TRUE(got.ok()) << got.status();
  const auto* hello = std::get_if<EncodedHello>(&*got);
  ASSERT_NE(hello, nullptr);
  EXPECT_EQ(hello->bytes.view(), twin.hello().SerializeAsString());
  EXPECT_EQ(EncodeChannelHello(*hello).Flatten(), twin.SerializeAsString());
}

TEST(Channel, RefusesWhatIsNeither) {
  for (const char* bytes : {"", "\xa0\x06\x01"}) {
    const Result<ChannelContent> got = DecodeChannelContent(Bytes::Copy(bytes));
    ASSERT_FALSE(got.ok());
    EXPECT_THAT(got.status().ToString(), HasSubstr("neither a hello nor a message"));
  }
}

TEST(Channel, ChecksItsMessages) {
  EntryMaker make(GroupId{8});
  const std::string bytes = EncodeChannelMessage(BundleOf(AppendOf({make.Data("a")}), GroupId{7})).Flatten();
  EXPECT_EQ(DecodeChannelContent(Bytes::Copy(bytes)).status().reason(), Reason::kCorruptMessage);
}

}  // namespace
}  // namespace flotilla::rpc
