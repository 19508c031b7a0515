// The bytes on the disk, as storage/README.md has them. A failure here means that existing directories cannot
// be read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "storage/base/crc32c.h"
#include "storage/log/entry.h"
#include "storage/rocks/data_directory.h"
#include "storage/rocks/evidence.h"
#include "storage/rocks/rows.h"

namespace flotilla::storage {
namespace {

std::string Hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    text += kDigits[static_cast<uint8_t>(byte) >> 4];
    text += kDigits[static_cast<uint8_t>(byte) & 15];
  }
  return text;
}

constexpr GroupId kGroup{0x0102};
constexpr LogAnchor kStart{{Term{2}, LogIndex{10}}, Offset{100}, 1000};
constexpr LogAnchor kEnd{{Term{3}, LogIndex{12}}, Offset{105}, 2000};

Entry SampleEntry() {
  Entry entry;
  entry.header = {.group = kGroup,
                  .index = LogIndex{12},
                  .term = Term{3},
                  .kind = EntryKind::kData,
                  .base_offset = Offset{100},
                  .record_count = 5,
                  .min_timestamp_ms = 1500,
                  .max_timestamp_ms = 2000,
                  .running_max_timestamp_ms = 2000};
  entry.payload = Bytes::Static("five records");
  SealEntry(&entry);
  return entry;
}

TEST(FormatTest, CrcIsCastagnoli) {
  EXPECT_EQ(crc32c::Value("123456789"), 0xE3069283U);
  EXPECT_EQ(crc32c::Value(std::string(32, '\0')), 0x8A9136AAU);  // RFC 3720, B.4
  EXPECT_EQ(crc32c::Value(std::string(32, '\xFF')), 0x62A8AB43U);
}

TEST(FormatTest, BothCrcsAgreeAtEveryLengthAndStart) {
  std::string data;
  for (int i = 0; i < 30'000; ++i) data += static_cast<char>(i * 7 + i / 256);
  for (size_t size = 0; size < 2000; ++size) {
    ASSERT_EQ(crc32c::Extend(size, data.data() + size % 9, size), crc32c::ExtendPortable(size, data.data() + size % 9, size));
  }
  for (const size_t size : {12'287, 12'288, 12'289, 24'576, 29'000}) {
    ASSERT_EQ(crc32c::Extend(1, data.data(), size), crc32c::ExtendPortable(1, data.data(), size)) << size;
  }
}

TEST(FormatTest, EntryHeader) {
  std::string bytes;
  EncodeEntryHeader(SampleEntry().header, &bytes);
  EXPECT_EQ(bytes.size(), kEncodedHeaderBytes);
  EXPECT_EQ(Hex(bytes),
            "01020000d43942a902010000000000000c000000000000000300000000000000"
            "6400000000000000dc05000000000000d007000000000000d007000000000000050000000c000000"
            "0000000000000000");
}

TEST(FormatTest, KeysOrderAsTheirNumbers) {
  EXPECT_EQ(Hex(LogKey(kGroup, LogIndex{0xABCD})),
            "0000000000000102"
            "000000000000abcd");
  EXPECT_LT(LogKey(kGroup, LogIndex{255}), LogKey(kGroup, LogIndex{256}));
  EXPECT_EQ(Hex(StateKey(kGroup, "k")),
            "0000000000000102"
            "6b");
  EXPECT_EQ(Hex(ChunkKey(kGroup, 7, 9)),
            "0000000000000102"
            "0000000000000007"
            "00000009");
  EXPECT_EQ(Hex(MetaKey(kGroup, RowKind::kBounds)),
            "01"
            "0000000000000102"
            "03");
  EXPECT_EQ(Hex(GroupEnd(GroupId{0x01FF})), "00000000000002");
}

TEST(FormatTest, MetaRows) {
  const std::string key = MetaKey(kGroup, RowKind::kIdentity);
  EXPECT_EQ(Hex(EncodeNumber(PoolKey(), 32)), "012000000000000000afcc1c00");
  EXPECT_EQ(Hex(EncodeBatch({258, NodeMark("node-a")})), "0102010000000000002d9a48a229534954");
  EXPECT_EQ(Hex(EncodeIdentityRow(key, {{ReplicaId{NodeId{4}, 2}, "orders/3"}, 5})),
            "010500000004000000000000000200000000000000"
            "080000006f72646572732f333f200abb");
  EXPECT_EQ(Hex(EncodeHardState(key, {Term{3}, ReplicaId{NodeId{4}, 2}, LogIndex{11}})),
            "010300000000000000040000000000000002000000000000000b00000000000000f682cc8b");
  EXPECT_EQ(Hex(EncodeBounds(key, {{kStart, kEnd}, LogIndex{9}})),
            "0102000000000000000a000000000000006400000000000000e803000000000000"
            "03000000000000000c000000000000006900000000000000d007000000000000"
            "0900000000000000edccb3b4");
  EXPECT_EQ(Hex(EncodeTerms(key, {{LogIndex{11}, Term{2}}, {LogIndex{12}, Term{3}}})),
            "010b0000000000000002000000000000000c000000000000000300000000000000738cac1c");
  EXPECT_EQ(Hex(EncodeIndexes(key, {LogIndex{11}})), "010b00000000000000a740c1b0");
  EXPECT_EQ(Hex(EncodeSnapshot(key, {kStart, Bytes::Static("cfg"), 7, 600, 3, 99})),
            "0102000000000000000a000000000000006400000000000000e803000000000000"
            "070000000000000058020000000000000300000063000000030000006366673be9e14f");
}

TEST(FormatTest, MetaRowsComeBack) {
  const std::string key = MetaKey(kGroup, RowKind::kBounds);
  const BoundsRow bounds{{kStart, kEnd}, LogIndex{9}};
  EXPECT_EQ(*DecodeBounds(key, EncodeBounds(key, bounds)), bounds);
  const SnapshotMeta snapshot{kStart, Bytes::Static("cfg"), 7, 600, 3, 99};
  EXPECT_EQ(*DecodeSnapshot(key, EncodeSnapshot(key, snapshot)), snapshot);
  const IdentityRow identity{{ReplicaId{NodeId{4}, 2}, "orders/3"}, 5};
  EXPECT_EQ(*DecodeIdentityRow(key, EncodeIdentityRow(key, identity)), identity);
}

TEST(FormatTest, EveryFlippedBitOfARowIsFound) {
  const std::string key = MetaKey(kGroup, RowKind::kBounds);
  const std::string row = EncodeBounds(key, {{kStart, kEnd}, LogIndex{9}});
  for (size_t bit = 0; bit < 8 * row.size(); ++bit) {
    std::string damaged = row;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(DecodeBounds(key, damaged).ok()) << "bit " << bit;
  }
  EXPECT_FALSE(DecodeBounds(MetaKey(GroupId{3}, RowKind::kBounds), row).ok()) << "a row of another group";
}

TEST(FormatTest, EvidenceSlot) {
  EXPECT_EQ(Hex(EncodeEvidenceSlot(258, "node-a")), "766964656e63653102010000000000002d9a48a200000000af5d2ba9");
  EXPECT_EQ(DecodeEvidenceSlot(EncodeEvidenceSlot(258, "node-a"), "node-a"), 258U);
  EXPECT_EQ(DecodeEvidenceSlot(EncodeEvidenceSlot(258, "node-a"), "node-b"), std::nullopt);
}

TEST(FormatTest, IdentityFile) {
  EXPECT_EQ(EncodeIdentity({.cluster_id = "orders", .node_uuid = "9f0b1c9e-8a43-4d5b-9d0c-0123456789ab"}),
            "flotilla data directory\n"
            "format: 1\n"
            "cluster: orders\n"
            "node: 9f0b1c9e-8a43-4d5b-9d0c-0123456789ab\n"
            "crc32c: 40d7c68c\n");
}

TEST(FormatTest, SnapshotChunk) {
  const std::string key = ChunkKey(kGroup, 7, 9);
  EXPECT_EQ(ChunkChecksum(key, "chunk"), 1091367903U);
}

}  // namespace
}  // namespace flotilla::storage
