// A rocksdb::FileSystem that remembers what was synced, and fails or loses power when a test says so.
//
//   auto files = std::make_shared<FaultFileSystem>();
//   ... open a store over it, write ...
//   files->Freeze();                                // the machine stops: nothing more reaches the disk
//   store.reset();
//   files->PowerCut({.unsynced = Unsynced::kTorn, .keep_bytes = 100});
//   ... open again: what was synced must be there
//
// Files lie in the file system beneath it, whole; syncs are only remembered, so a sweep over thousands of them is fast.
// Files grow at their end, or from a page before it that is written again, as those do that are written directly. Any thread.
#pragma once

#include <rocksdb/file_system.h>

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace flotilla::storage {

// What a power cut leaves of the bytes that a file had and that were never synced.
enum class Unsynced {
  kLost,
  kTorn,  // the first keep_bytes of them
  kKept,
  kHole,  // all of them but the first keep_bytes: pages reach the disk in any order
};

struct PowerCutOptions {
  Unsynced unsynced = Unsynced::kLost;
  uint64_t keep_bytes = 0;
  // Files created or renamed since their directory was synced are gone, or as before.
  bool lose_directory_entries = true;
};

enum class FileKind { kAny, kWal, kTable, kManifest };
FileKind KindOf(const std::string& path);

class FaultFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  enum class Operation { kWrite, kSync };

  FaultFileSystem() : FaultFileSystem(rocksdb::FileSystem::Default()) {}
  explicit FaultFileSystem(const std::shared_ptr<rocksdb::FileSystem>& target) : FileSystemWrapper(target) {}

  static const char* kClassName() { return "FaultFileSystem"; }
  const char* Name() const override { return kClassName(); }

  // --- Faults

  // One operation fails with EIO: the next one on a file of `kind`, or the n-th after it.
  void Fail(Operation operation, FileKind kind, uint64_t after = 0);
  // Writes fail with ENOSPC once this many more bytes were written.
  void SetFreeBytes(std::optional<uint64_t> bytes);
  // The machine stops before write or sync number `operations` (0: the next one). Of a write it stops in, `bytes` reach the
  // file.
  void FreezeAfter(uint64_t operations, uint64_t bytes = 0);
  // Nothing reaches the disk any more: every change fails, or is only pretended (tables and the manifest, see IsPretended).
  void Freeze();
  bool frozen() const;
  // Undoes what was not synced, and lets the machine run again. Nothing has a file open.
  void PowerCut(PowerCutOptions options = {});

  // Syncs of WAL files wait until they are let go. Freeze lets them go, too: they fail.
  void HoldSyncs();
  void ReleaseSyncs();

  // --- What happened

  // Writes and syncs so far.
  uint64_t operations() const;
  uint64_t faults_fired() const;
  // Bytes of files of `kind` that a power cut would lose.
  uint64_t UnsyncedBytes(FileKind kind = FileKind::kAny) const;

  // --- rocksdb::FileSystem
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReuseWritableFile(const std::string& path, const std::string& old_path, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* file, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus Truncate(const std::string& path, size_t size, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus LinkFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override;

 private:
  friend class FaultFile;
  friend class FaultDirectory;

  // synced_size <= size, unsynced_from <= synced_size.
  struct FileState {
    uint64_t size = 0;           // as of now
    uint64_t synced_size = 0;    // as of the last sync
    uint64_t unsynced_from = 0;  // what was written since then begins here
    std::string overwritten;     // what stood from there to synced_size
  };
  static FileState Synced(uint64_t size) { return {size, size, size, {}}; }
  static void CutPower(const std::string& path, const FileState& state, const PowerCutOptions& options);
  // A directory entry that was made since its directory was synced, and what stood there before.
  struct NewEntry {
    std::string path;
    std::optional<std::string> moved_from;
    std::optional<std::string> replaced_content;
  };
  struct Fault {
    Operation operation;
    FileKind kind;
    uint64_t after;
  };

  // How much of a write of `size` bytes happens, and how it ends.
  struct Verdict {
    uint64_t bytes;
    rocksdb::IOStatus status;
  };
  struct Write {
    uint64_t bytes;
    uint64_t growth;  // of the file
  };
  Verdict JudgeWrite(const std::string& path, const Write& write);
  rocksdb::IOStatus JudgeSync(const std::string& path);
  rocksdb::IOStatus JudgeChange() const;
  bool FaultFires(Operation operation, const std::string& path);
  bool StopsHere();

  void WillWrite(const std::string& path, uint64_t offset);
  void HasSize(const std::string& path, uint64_t size);
  void DirectorySynced(const std::string& directory);
  void Created(const std::string& path, uint64_t size);

  mutable std::mutex mutex_;
  std::condition_variable released_;
  std::map<std::string, FileState> files_;
  std::vector<NewEntry> new_entries_;
  std::vector<std::string> ghosts_;  // made while the machine stood still: gone with the power
  std::vector<Fault> faults_;
  std::optional<uint64_t> free_bytes_;
  std::optional<uint64_t> freeze_at_;  // operation number
  uint64_t freeze_bytes_ = 0;
  uint64_t operations_ = 0;
  uint64_t fired_ = 0;
  bool frozen_ = false;
  bool held_ = false;
};

// --- Damage by hand, to files that nobody has open.

void FlipBitInFile(const std::string& path, uint64_t offset, int bit = 0);
void TruncateFile(const std::string& path, uint64_t size);
uint64_t FileSize(const std::string& path);
// Paths in `directory` whose kind is `kind`, in order of their names.
std::vector<std::string> FilesOfKind(const std::string& directory, FileKind kind);

}  // namespace flotilla::storage
