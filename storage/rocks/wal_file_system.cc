#include "storage/rocks/wal_file_system.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "storage/base/limits.h"

namespace flotilla::storage {
namespace {

using rocksdb::FileOptions;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// A file system that wants more than a page says so.
constexpr size_t kPageBytes = 4096;
constexpr size_t kFirstCapacity = 64 * limits::kKiB;
// What a synced write may gather before its first pages are written; larger ones come from tasks of unusual size.
constexpr size_t kCapacityMax = 2 * limits::kWriteGroupBytesMax;
// RocksDB takes one to six bytes at the end of a file for a record header that was torn, and zeros that could be a header for
// the end. So there are none, or at least seven.
constexpr size_t kZerosMin = 7;
// RocksDB's own buffer in front of ours: enough for the headers of its records, so that payloads are copied once.
constexpr size_t kRecordBufferBytes = kPageBytes;

// Memory that a direct write may start from.
class PageBuffer {
 public:
  explicit PageBuffer(size_t page_bytes) : page_bytes_(page_bytes) {}

  size_t size() const { return size_; }
  const char* data() const { return bytes_.get(); }

  // As much as fits. The rest of it.
  Slice Append(Slice data) {
    Reserve(size_ + data.size());
    const size_t fits = std::min(data.size(), kCapacityMax - size_);
    std::memcpy(bytes_.get() + size_, data.data(), fits);
    size_ += fits;
    data.remove_prefix(fits);
    return data;
  }
  bool full() const { return size_ == kCapacityMax; }
  // Its bytes, and zeros up to the end of a page.
  Slice Pages() {
    size_t end = (size_ + page_bytes_ - 1) / page_bytes_ * page_bytes_;
    if (end != size_ && end - size_ < kZerosMin) end += page_bytes_;
    std::memset(bytes_.get() + size_, 0, end - size_);
    return {bytes_.get(), end};
  }
  // Forgets all whole pages. Their size.
  size_t DropWholePages() {
    const size_t whole = size_ / page_bytes_ * page_bytes_;
    std::memmove(bytes_.get(), bytes_.get() + whole, size_ - whole);
    size_ -= whole;
    return whole;
  }

 private:
  struct Free {
    void operator()(char* bytes) const { std::free(bytes); }
  };
  // Makes room for so many bytes, up to kCapacityMax, and the zeros behind them.
  void Reserve(size_t wanted) {
    if (wanted <= capacity_ || capacity_ == kCapacityMax) return;
    size_t capacity = std::max(capacity_, kFirstCapacity);
    while (capacity < wanted) capacity *= 2;
    capacity = std::min(capacity, kCapacityMax);
    std::unique_ptr<char, Free> larger(static_cast<char*>(std::aligned_alloc(page_bytes_, capacity + 2 * page_bytes_)));
    CHECK(larger != nullptr) << "no memory for " << capacity << " bytes of the WAL";
    if (size_ != 0) std::memcpy(larger.get(), bytes_.get(), size_);
    bytes_ = std::move(larger);
    capacity_ = capacity;
  }

  const size_t page_bytes_;
  std::unique_ptr<char, Free> bytes_;
  size_t capacity_ = 0;
  size_t size_ = 0;
};

thread_local const WalSyncWatch* watch_of_this_thread = nullptr;

}  // namespace

WalSyncWatch::WalSyncWatch(std::function<void()> synced) : synced_(std::move(synced)) {
  CHECK(watch_of_this_thread == nullptr);
  watch_of_this_thread = this;
}

WalSyncWatch::~WalSyncWatch() { watch_of_this_thread = nullptr; }

// Over a file that is opened for direct writes.
class WalFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  explicit WalFile(std::unique_ptr<FSWritableFile> direct)
      : FSWritableFileOwnerWrapper(std::move(direct)), buffer_(std::max(kPageBytes, target()->GetRequiredBufferAlignment())) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    Slice rest = data;
    while (status_.ok() && !rest.empty()) {
      rest = buffer_.Append(rest);
      unwritten_ = unsynced_ = true;
      if (buffer_.full()) WritePages(options, debug);
    }
    return status_;
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&, IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return status_; }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    WritePages(options, debug);
    if (status_.ok()) status_ = target()->Sync(options, debug);
    if (!status_.ok()) return status_;
    if (std::exchange(unsynced_, false) && watch_of_this_thread != nullptr) watch_of_this_thread->synced_();
    return status_;
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override { return Sync(options, debug); }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    WritePages(options, debug);
    if (status_.ok()) status_ = target()->Truncate(offset_ + buffer_.size(), options, debug);
    const IOStatus closed = target()->Close(options, debug);
    return status_.ok() ? closed : status_;
  }
  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return offset_ + buffer_.size(); }

  // What concerns the page cache, or the target's way of writing.
  bool use_direct_io() const override { return false; }
  bool IsSyncThreadSafe() const override { return false; }
  IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override { return status_; }
  IOStatus PositionedAppend(const Slice&, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::NotSupported("a WAL file is only appended to");
  }
  IOStatus PositionedAppend(const Slice& data, uint64_t offset, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                            IODebugContext* debug) override {
    return PositionedAppend(data, offset, options, debug);
  }

 private:
  void WritePages(const IOOptions& options, IODebugContext* debug) {
    if (!status_.ok() || !unwritten_) return;
    status_ = target()->PositionedAppend(buffer_.Pages(), offset_, options, debug);
    if (!status_.ok()) return;
    offset_ += buffer_.DropWholePages();
    unwritten_ = false;
  }

  PageBuffer buffer_;    // the end of the file, from offset_ on
  uint64_t offset_ = 0;  // a whole number of pages
  bool unwritten_ = false;
  bool unsynced_ = false;
  IOStatus status_;  // the first failure is the last word
};

FileOptions WalFileSystem::OptimizeForLogWrite(const FileOptions& options, const rocksdb::DBOptions& database) const {
  FileOptions optimized = target()->OptimizeForLogWrite(options, database);
  optimized.writable_file_max_buffer_size = kRecordBufferBytes;
  return optimized;
}

IOStatus WalFileSystem::NewWritableFile(const std::string& path, const FileOptions& options, std::unique_ptr<FSWritableFile>* file,
                                        IODebugContext* debug) {
  if (!path.ends_with(".log")) return target()->NewWritableFile(path, options, file, debug);
  FileOptions direct = options;
  direct.use_direct_writes = true;
  std::unique_ptr<FSWritableFile> beneath;
  IOStatus status = target()->NewWritableFile(path, direct, &beneath, debug);
  if (status.ok()) *file = std::make_unique<WalFile>(std::move(beneath));
  return status;
}

}  // namespace flotilla::storage
