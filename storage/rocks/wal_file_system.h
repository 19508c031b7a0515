// Writes the files of the WAL past the page cache, and the others as `target` does.
//
// Through the page cache a synced write takes twice the processor time, and nobody reads these files again but recovery. RocksDB's
// own direct writes are no choice: for a file that says it is direct, WritableFileWriter::Sync (7.8.3) does not sync. So RocksDB
// sees an ordinary file. What is appended gathers in memory; Sync writes whole pages, the last one filled up with zeros, and then
// syncs. The next Sync writes that page again, with the same bytes in its front.
//
//   appended     |aaaaaaaaaa|aaaa            |aaaaaaaaaa|aaaabbbbbb|bb
//   on the disk  |aaaaaaaaaa|aaaa000000|     |aaaaaaaaaa|aaaabbbbbb|bb00000000|
//                           ^ written again: nothing that was synced changes
//
// So a file may end in a page of zeros until it is closed, which RocksDB's recovery takes for its end. Nothing reaches the
// system before Sync or Close: this is a file for those who count on nothing before they synced.
#pragma once

#include <rocksdb/file_system.h>

#include <functional>
#include <memory>
#include <string>

namespace flotilla::storage {

class WalFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit WalFileSystem(const std::shared_ptr<rocksdb::FileSystem>& target) : FileSystemWrapper(target) {}

  static const char* kClassName() { return "flotilla.WalFileSystem"; }
  const char* Name() const override { return kClassName(); }

  rocksdb::FileOptions OptimizeForLogWrite(const rocksdb::FileOptions& options, const rocksdb::DBOptions& database) const override;
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file, rocksdb::IODebugContext* debug) override;
};

// Calls `synced` on this thread, while it lives, each time that a file of the WAL to which this thread wrote is synced.
class WalSyncWatch {
 public:
  explicit WalSyncWatch(std::function<void()> synced);
  ~WalSyncWatch();
  WalSyncWatch(const WalSyncWatch&) = delete;
  WalSyncWatch& operator=(const WalSyncWatch&) = delete;

 private:
  friend class WalFile;
  const std::function<void()> synced_;
};

}  // namespace flotilla::storage
