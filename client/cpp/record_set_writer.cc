#include "client/cpp/record_set_writer.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <cstring>

namespace flotilla::client {
namespace {

using Coded = google::protobuf::io::CodedOutputStream;

// Tags of one byte: the number of the field << 3 | the wire type.
constexpr char kRecordTag = 1 << 3 | 2;     // RecordSet.records
constexpr char kKeyTag = 1 << 3 | 2;        // Record.key
constexpr char kValueTag = 2 << 3 | 2;      // Record.value
constexpr char kHeaderTag = 3 << 3 | 2;     // Record.headers
constexpr char kTimestampTag = 4 << 3 | 0;  // Record.timestamp_ms
constexpr char kHeaderKeyTag = 1 << 3 | 2;
constexpr char kHeaderValueTag = 2 << 3 | 2;

size_t SizeOfBytes(size_t length) { return 1 + Coded::VarintSize64(length) + length; }

size_t SizeOfHeader(const HeaderView& header) {
  return (header.key.empty() ? 0 : SizeOfBytes(header.key.size())) + (header.value.empty() ? 0 : SizeOfBytes(header.value.size()));
}

// Of the record alone, without the tag and length in front of it.
size_t SizeOfRecord(const RecordView& record) {
  size_t size = 0;
  if (record.key) size += SizeOfBytes(record.key->size());
  if (record.value) size += SizeOfBytes(record.value->size());
  for (const HeaderView& header : record.headers) size += SizeOfBytes(SizeOfHeader(header));
  if (record.timestamp_ms) size += 1 + Coded::VarintSize64(static_cast<uint64_t>(*record.timestamp_ms));
  return size;
}

char* PutNumber(char* out, uint64_t value) {
  return reinterpret_cast<char*>(Coded::WriteVarint64ToArray(value, reinterpret_cast<uint8_t*>(out)));
}
char* PutBytes(char* out, char tag, std::string_view bytes) {
  *out++ = tag;
  out = PutNumber(out, bytes.size());
  if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
  return out + bytes.size();
}

}  // namespace

size_t EncodedSize(const RecordView& record) { return SizeOfBytes(SizeOfRecord(record)); }

std::shared_ptr<ChunkPool::Chunk> ChunkPool::Take(size_t capacity) {
  std::unique_ptr<Chunk> chunk;
  if (capacity == chunk_bytes_) {
    const std::lock_guard lock(mutex_);
    if (!kept_.empty()) {
      chunk = std::move(kept_.back());
      kept_.pop_back();
    }
  }
  if (!chunk) {
    // Not make_unique: that would clear what is about to be written.
    chunk = std::make_unique<Chunk>(Chunk{std::unique_ptr<char[]>(new char[capacity]), capacity});
  }
  return {chunk.release(), [pool = weak_from_this()](Chunk* returned) {
            std::unique_ptr<Chunk> owned(returned);
            if (const auto alive = pool.lock()) alive->Return(std::move(owned));
          }};
}

void ChunkPool::Return(std::unique_ptr<Chunk> chunk) {
  if (chunk->capacity != chunk_bytes_) return;
  const std::lock_guard lock(mutex_);
  if ((kept_.size() + 1) * chunk_bytes_ <= kept_bytes_max_) kept_.push_back(std::move(chunk));
}

void RecordSetWriter::Append(const RecordView& record, size_t encoded_size) {
  if (size_ + encoded_size > chunk_->capacity) Grow(size_ + encoded_size);
  char* out = chunk_->bytes.get() + size_;
  *out++ = kRecordTag;
  out = PutNumber(out, SizeOfRecord(record));
  if (record.key) out = PutBytes(out, kKeyTag, *record.key);
  if (record.value) out = PutBytes(out, kValueTag, *record.value);
  for (const HeaderView& header : record.headers) {
    *out++ = kHeaderTag;
    out = PutNumber(out, SizeOfHeader(header));
    if (!header.key.empty()) out = PutBytes(out, kHeaderKeyTag, header.key);
    if (!header.value.empty()) out = PutBytes(out, kHeaderValueTag, header.value);
  }
  if (record.timestamp_ms) {
    *out++ = kTimestampTag;
    PutNumber(out, static_cast<uint64_t>(*record.timestamp_ms));
  }
  size_ += encoded_size;
  ++records_;
}

void RecordSetWriter::Grow(size_t needed) {
  auto larger = pool_.Take(std::max(needed, full_bytes_));
  std::memcpy(larger->bytes.get(), chunk_->bytes.get(), size_);
  chunk_ = std::move(larger);
}

}  // namespace flotilla::client
