// Record sets as clients write them, made by hand, so that a scene shows its bytes.
//
//   EncodeSet({{.value = "a"}, {.key = "k", .value = "b", .timestamp_ms = 5}})
#pragma once

#include <glog/logging.h>
#include <lz4frame.h>
#include <zstd.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/partition/batch.h"

namespace flotilla::partition {

struct TestRecord {
  std::optional<std::string> key = {};
  std::optional<std::string> value = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::optional<int64_t> timestamp_ms = {};
};

inline void AppendVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}
inline void AppendField(uint32_t field, const std::string& bytes, std::string* out) {
  AppendVarint(field << 3 | 2, out);
  AppendVarint(bytes.size(), out);
  out->append(bytes);
}

inline std::string EncodeRecord(const TestRecord& record) {
  std::string out;
  if (record.key) AppendField(1, *record.key, &out);
  if (record.value) AppendField(2, *record.value, &out);
  for (const auto& [name, value] : record.headers) {
    std::string header;
    AppendField(1, name, &header);
    AppendField(2, value, &header);
    AppendField(3, header, &out);
  }
  if (record.timestamp_ms) {
    AppendVarint(4 << 3 | 0, &out);
    AppendVarint(static_cast<uint64_t>(*record.timestamp_ms), &out);
  }
  return out;
}

inline std::string EncodeSet(const std::vector<TestRecord>& records) {
  std::string out;
  for (const TestRecord& record : records) AppendField(1, EncodeRecord(record), &out);
  return out;
}
// `count` records with these values: "a", "a", ...
inline std::string SetOf(uint32_t count, const std::string& value = "a") {
  return EncodeSet(std::vector<TestRecord>(count, TestRecord{.value = value}));
}

inline std::string Lz4(const std::string& bytes) {
  std::string out(LZ4F_compressFrameBound(bytes.size(), nullptr), '\0');
  out.resize(LZ4F_compressFrame(out.data(), out.size(), bytes.data(), bytes.size(), nullptr));
  return out;
}
inline std::string Zstd(const std::string& bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 1));
  return out;
}
inline std::string Compress(Codec codec, const std::string& bytes) {
  return codec == Codec::kLz4 ? Lz4(bytes) : codec == Codec::kZstd ? Zstd(bytes) : bytes;
}

// A batch whose bytes are right; dies when they are not.
inline PreparedBatch Prepared(const std::string& set) {
  Decompressor decompressor;
  Result<PreparedBatch> batch = PrepareBatch(RecordBuffer::CopyOf(set), {}, decompressor);
  CHECK(batch.ok()) << batch.status();
  return *std::move(batch);
}
inline PreparedBatch PreparedCompressed(Codec codec, const std::string& set, uint32_t count) {
  Decompressor decompressor;
  Result<PreparedBatch> batch = PrepareBatch(
      RecordBuffer::CopyOf(Compress(codec, set)),
      {.codec = codec, .crc32c = {}, .record_count = count, .uncompressed_bytes = static_cast<uint32_t>(set.size())}, decompressor);
  CHECK(batch.ok()) << batch.status();
  return *std::move(batch);
}

}  // namespace flotilla::partition
