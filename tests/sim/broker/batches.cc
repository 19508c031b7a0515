#include "tests/sim/broker/batches.h"

#include <glog/logging.h>
#include <lz4frame.h>
#include <zstd.h>

#include <charconv>
#include <string>

namespace flotilla::sim::broker {
namespace {

std::string Compressed(v1::Codec codec, const std::string& bytes) {
  const bool lz4 = codec == v1::CODEC_LZ4;
  std::string out(lz4 ? LZ4F_compressFrameBound(bytes.size(), nullptr) : ZSTD_compressBound(bytes.size()), '\0');
  const size_t size = lz4 ? LZ4F_compressFrame(out.data(), out.size(), bytes.data(), bytes.size(), nullptr)
                          : ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 1);
  CHECK(lz4 ? LZ4F_isError(size) == 0 : ZSTD_isError(size) == 0);
  out.resize(size);
  return out;
}

}  // namespace

v1::Record MakeRecord(uint64_t number, size_t padding) {
  v1::Record record;
  record.set_value(std::to_string(number) + '|' + std::string(padding, 'x'));
  return record;
}

uint64_t NumberIn(const v1::Record& record) {
  uint64_t number = 0;
  const std::string& value = record.value();
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  return error == std::errc() && end != value.data() + value.size() && *end == '|' ? number : 0;
}

void FillBatch(const v1::RecordSet& records, v1::Codec codec, v1::RecordBatch* batch) {
  if (codec == v1::CODEC_NONE) {
    *batch->mutable_records() = records;
    return;
  }
  const std::string plain = records.SerializeAsString();
  batch->set_codec(codec);
  batch->set_record_count(records.records_size());
  batch->set_uncompressed_bytes(static_cast<int32_t>(plain.size()));
  batch->set_compressed_records(Compressed(codec, plain));
}

std::optional<v1::RecordSet> RecordsIn(const partition::BatchHeader& header, std::string_view stored) {
  std::string plain(stored);
  if (header.codec != partition::Codec::kNone) {
    static partition::Decompressor decompressor;  // one thread
    plain.assign(header.uncompressed_bytes, '\0');
    if (!decompressor.Decompress(header.codec, stored, plain.data(), plain.size()).ok()) return std::nullopt;
  }
  v1::RecordSet set;
  if (!set.ParseFromString(plain)) return std::nullopt;
  return set;
}

}  // namespace flotilla::sim::broker
