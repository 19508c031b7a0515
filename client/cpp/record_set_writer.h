// Builds the bytes of a RecordSet (proto/flotilla/v1/records.proto) record by record: a few varints and the copies of key and
// value. What it writes is what is sent: no message object exists in between.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "client/cpp/record.h"
#include "storage/base/bytes.h"

namespace flotilla::client {

// How many bytes the record adds to a set.
size_t EncodedSize(const RecordView& record);

// Memory that batches use again and again: fresh pages cost more than the copy into them. Any thread. Chunks may outlive it.
class ChunkPool : public std::enable_shared_from_this<ChunkPool> {
 public:
  struct Chunk {
    std::unique_ptr<char[]> bytes;
    size_t capacity = 0;
  };
  // Chunks of other sizes are not kept, nor more than `kept_bytes_max` in total.
  ChunkPool(size_t chunk_bytes, size_t kept_bytes_max) : chunk_bytes_(chunk_bytes), kept_bytes_max_(kept_bytes_max) {}

  std::shared_ptr<Chunk> Take(size_t capacity);

 private:
  void Return(std::unique_ptr<Chunk> chunk);

  const size_t chunk_bytes_;
  const size_t kept_bytes_max_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Chunk>> kept_;  // guarded by mutex_
};

class RecordSetWriter {
 public:
  // `expected_bytes` is reserved at first, `full_bytes` when that does not do.
  RecordSetWriter(ChunkPool& pool, size_t expected_bytes, size_t full_bytes)
      : pool_(pool), full_bytes_(full_bytes), chunk_(pool.Take(expected_bytes)) {}

  // `encoded_size` is EncodedSize(record).
  void Append(const RecordView& record, size_t encoded_size);

  size_t size() const { return size_; }
  int records() const { return records_; }

  // The set. The writer is not used any more.
  Bytes Finish() {
    const std::string_view view(chunk_->bytes.get(), size_);
    return Bytes(std::move(chunk_), view);
  }

 private:
  void Grow(size_t needed);

  ChunkPool& pool_;
  const size_t full_bytes_;
  std::shared_ptr<ChunkPool::Chunk> chunk_;
  size_t size_ = 0;
  int records_ = 0;
};

}  // namespace flotilla::client
