#include "tests/support/fault_file_system.h"

#include <glog/logging.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "tests/support/file_content.h"

namespace flotilla::storage {

using rocksdb::FileOptions;
using rocksdb::FSDirectory;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

namespace {

constexpr uint64_t kSectorBytes = 512;

std::string DirectoryOf(const std::string& path) { return std::filesystem::path(path).parent_path().lexically_normal(); }

IOStatus Injected(const char* what) { return IOStatus::IOError(std::string("injected: ") + what); }
IOStatus NoPower() { return IOStatus::IOError("injected: the machine has stopped"); }

// What a stopped machine pretends to write, because RocksDB 7.8.3 trips over assertions of its own, which Debian compiles in, when it
// cannot. Tables: a compaction with an empty output. The manifest: two memtables that are sealed together, where a failure for the
// first one leaves a reference to the second one's family behind (facebook/rocksdb#12176), which closing the database does not
// survive. Nothing is acknowledged by either: that takes a sync of the WAL, and it fails.
bool IsPretended(FileKind kind) { return kind == FileKind::kTable || kind == FileKind::kManifest; }

void Overwrite(const std::string& path, uint64_t offset, const std::string& bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  CHECK(file.good()) << path;
}

std::string BytesOf(const std::string& path, uint64_t offset, uint64_t size) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  std::string bytes(size, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(size));
  CHECK(file.good()) << path << " has no " << size << " bytes at " << offset;
  return bytes;
}

}  // namespace

FileKind KindOf(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename();
  if (name.ends_with(".log")) return FileKind::kWal;
  if (name.ends_with(".sst")) return FileKind::kTable;
  if (name.starts_with("MANIFEST-")) return FileKind::kManifest;
  return FileKind::kAny;
}

// Asks before each write and sync, and tells after it.
class FaultFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultFile(FaultFileSystem& files, std::string path, uint64_t size, std::unique_ptr<FSWritableFile> target)
      : FSWritableFileOwnerWrapper(std::move(target)), files_(files), path_(std::move(path)), size_(size) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    return Write(size_, data, [&](const Slice& part) { return target()->Append(part, options, debug); });
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& info, IODebugContext* debug) override {
    return Write(size_, data, [&](const Slice& part) {
      return part.size() == data.size() ? target()->Append(part, options, info, debug) : target()->Append(part, options, debug);
    });
  }
  IOStatus PositionedAppend(const Slice& data, uint64_t offset, const IOOptions& options, IODebugContext* debug) override {
    return Write(offset, data, [&](const Slice& part) { return target()->PositionedAppend(part, offset, options, debug); });
  }
  IOStatus PositionedAppend(const Slice& data, uint64_t offset, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                            IODebugContext* debug) override {
    return PositionedAppend(data, offset, options, debug);
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    const IOStatus stopped = files_.JudgeChange();
    if (!stopped.ok() && KindOf(path_) != FileKind::kTable) return stopped;
    IOStatus status = target()->Truncate(size, options, debug);
    if (status.ok()) files_.HasSize(path_, size_ = size);
    return status;
  }
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return SyncNow(); }
  IOStatus Fsync(const IOOptions&, IODebugContext*) override { return SyncNow(); }
  // A hint to the system, which promises nothing.
  IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  template <typename WritePart>
  IOStatus Write(uint64_t offset, const Slice& data, WritePart write) {
    const uint64_t end = offset + data.size();
    const uint64_t growth = end - std::min(end, size_);
    const FaultFileSystem::Verdict verdict = files_.JudgeWrite(path_, {.bytes = data.size(), .growth = growth});
    if (verdict.bytes != 0) {
      files_.WillWrite(path_, offset);
      IOStatus status = IOStatus::OK();
      if (use_direct_io() && verdict.bytes != data.size()) {
        // Half of a sector is none. RocksDB must not hear of the others: it would take them for the end of the file.
        Overwrite(path_, offset, data.ToString().substr(0, verdict.bytes / kSectorBytes * kSectorBytes));
      } else {
        status = write(Slice(data.data(), verdict.bytes));
      }
      if (!status.ok()) return status;
      size_ = std::max(size_, FileSize(path_));
      files_.HasSize(path_, size_);
    }
    return verdict.status;
  }
  IOStatus SyncNow() { return files_.JudgeSync(path_); }

  FaultFileSystem& files_;
  const std::string path_;
  uint64_t size_;
};

class FaultDirectory final : public FSDirectory {
 public:
  FaultDirectory(FaultFileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}

  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    IOStatus status = files_.JudgeSync(path_);
    if (status.ok()) files_.DirectorySynced(path_);
    return status;
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  FaultFileSystem& files_;
  const std::string path_;
};

// --- Faults

void FaultFileSystem::Fail(Operation operation, FileKind kind, uint64_t after) {
  std::lock_guard lock(mutex_);
  faults_.push_back({operation, kind, after});
}

void FaultFileSystem::SetFreeBytes(std::optional<uint64_t> bytes) {
  std::lock_guard lock(mutex_);
  free_bytes_ = bytes;
}

void FaultFileSystem::FreezeAfter(uint64_t operations, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  freeze_at_ = operations_ + operations;
  freeze_bytes_ = bytes;
}

void FaultFileSystem::Freeze() {
  std::lock_guard lock(mutex_);
  frozen_ = true;
  held_ = false;
  released_.notify_all();
}

bool FaultFileSystem::frozen() const {
  std::lock_guard lock(mutex_);
  return frozen_;
}

void FaultFileSystem::PowerCut(PowerCutOptions options) {
  std::lock_guard lock(mutex_);
  for (const auto& [path, state] : files_) {
    if (std::filesystem::exists(path)) CutPower(path, state, options);
  }
  if (options.lose_directory_entries) {
    for (auto entry = new_entries_.rbegin(); entry != new_entries_.rend(); ++entry) {
      if (!std::filesystem::exists(entry->path)) continue;
      if (entry->moved_from) {
        std::filesystem::rename(entry->path, *entry->moved_from);
      } else {
        std::filesystem::remove(entry->path);
      }
      if (entry->replaced_content) std::ofstream(entry->path, std::ios::binary) << *entry->replaced_content;
    }
  }
  for (const std::string& path : ghosts_) std::filesystem::remove(path);
  ghosts_.clear();
  files_.clear();
  new_entries_.clear();
  faults_.clear();
  free_bytes_.reset();
  freeze_at_.reset();
  frozen_ = false;
  held_ = false;
}

void FaultFileSystem::CutPower(const std::string& path, const FileState& state, const PowerCutOptions& options) {
  const uint64_t kept = std::min(options.keep_bytes, state.size - state.unsynced_from);
  const uint64_t replaced = std::min<uint64_t>(kept, state.overwritten.size());  // of what was overwritten
  switch (options.unsynced) {
    case Unsynced::kLost:
      TruncateFile(path, state.synced_size);
      Overwrite(path, state.unsynced_from, state.overwritten);
      break;
    case Unsynced::kTorn:
      TruncateFile(path, std::max(state.synced_size, state.unsynced_from + kept));
      Overwrite(path, state.unsynced_from + replaced, state.overwritten.substr(replaced));
      break;
    case Unsynced::kKept:
      TruncateFile(path, state.size);  // what was only reserved beyond it goes
      break;
    case Unsynced::kHole:
      TruncateFile(path, state.size);
      Overwrite(path, state.unsynced_from, state.overwritten.substr(0, replaced) + std::string(kept - replaced, '\0'));
      break;
  }
}

void FaultFileSystem::HoldSyncs() {
  std::lock_guard lock(mutex_);
  held_ = true;
}

void FaultFileSystem::ReleaseSyncs() {
  std::lock_guard lock(mutex_);
  held_ = false;
  released_.notify_all();
}

// --- What happened

uint64_t FaultFileSystem::operations() const {
  std::lock_guard lock(mutex_);
  return operations_;
}

uint64_t FaultFileSystem::faults_fired() const {
  std::lock_guard lock(mutex_);
  return fired_;
}

uint64_t FaultFileSystem::UnsyncedBytes(FileKind kind) const {
  std::lock_guard lock(mutex_);
  uint64_t bytes = 0;
  for (const auto& [path, state] : files_) {
    if (kind == FileKind::kAny || KindOf(path) == kind) bytes += state.size - state.unsynced_from;
  }
  return bytes;
}

// --- Deciding. The mutex is held in those without a lock of their own.

bool FaultFileSystem::FaultFires(Operation operation, const std::string& path) {
  for (auto fault = faults_.begin(); fault != faults_.end(); ++fault) {
    if (fault->operation != operation) continue;
    if (fault->kind != FileKind::kAny && fault->kind != KindOf(path)) continue;
    if (fault->after-- != 0) continue;
    faults_.erase(fault);
    ++fired_;
    return true;
  }
  return false;
}

bool FaultFileSystem::StopsHere() {
  if (!freeze_at_ || operations_ != *freeze_at_) return false;
  frozen_ = true;
  return true;
}

FaultFileSystem::Verdict FaultFileSystem::JudgeWrite(const std::string& path, const Write& write) {
  std::lock_guard lock(mutex_);
  const uint64_t size = write.bytes;
  const bool stops_here = !frozen_ && StopsHere();
  const FileKind kind = KindOf(path);
  // Tables are read again while the database lives; a power cut takes them away.
  if (frozen_ && kind == FileKind::kTable) return {size, IOStatus::OK()};
  const uint64_t bytes = stops_here ? std::min(size, freeze_bytes_) : 0;
  if (frozen_) return {bytes, IsPretended(kind) ? IOStatus::OK() : NoPower()};
  ++operations_;
  if (FaultFires(Operation::kWrite, path)) return {0, Injected("a write failed")};
  if (!free_bytes_) return {size, IOStatus::OK()};
  if (write.growth > *free_bytes_) {
    ++fired_;
    return {size - write.growth + std::exchange(*free_bytes_, 0), IOStatus::NoSpace("injected: the disk is full")};
  }
  *free_bytes_ -= write.growth;
  return {size, IOStatus::OK()};
}

IOStatus FaultFileSystem::JudgeSync(const std::string& path) {
  std::unique_lock lock(mutex_);
  if (KindOf(path) == FileKind::kWal) released_.wait(lock, [this] { return !held_; });
  if (frozen_ || StopsHere()) return IsPretended(KindOf(path)) ? IOStatus::OK() : NoPower();
  ++operations_;
  if (FaultFires(Operation::kSync, path)) return Injected("a sync failed");
  if (auto file = files_.find(path); file != files_.end()) file->second = Synced(file->second.size);
  return IOStatus::OK();
}

IOStatus FaultFileSystem::JudgeChange() const {
  std::lock_guard lock(mutex_);
  return frozen_ ? NoPower() : IOStatus::OK();
}

// --- Remembering

void FaultFileSystem::WillWrite(const std::string& path, uint64_t offset) {
  std::lock_guard lock(mutex_);
  FileState& state = files_[path];
  if (offset >= state.unsynced_from) return;
  state.overwritten = BytesOf(path, offset, state.unsynced_from - offset) + state.overwritten;
  state.unsynced_from = offset;
}

void FaultFileSystem::HasSize(const std::string& path, uint64_t size) {
  std::lock_guard lock(mutex_);
  FileState& state = files_[path];
  state.size = size;
  state.synced_size = std::min(state.synced_size, size);
  state.unsynced_from = std::min(state.unsynced_from, size);
  state.overwritten.resize(state.synced_size - state.unsynced_from);
}

void FaultFileSystem::DirectorySynced(const std::string& directory) {
  std::lock_guard lock(mutex_);
  const std::string wanted = std::filesystem::path(directory + "/").lexically_normal().parent_path();
  std::erase_if(new_entries_, [&](const NewEntry& entry) { return DirectoryOf(entry.path) == wanted; });
}

void FaultFileSystem::Created(const std::string& path, uint64_t size) {
  std::lock_guard lock(mutex_);
  files_[path] = Synced(size);
}

// --- rocksdb::FileSystem

IOStatus FaultFileSystem::NewWritableFile(const std::string& path, const FileOptions& options, std::unique_ptr<FSWritableFile>* file,
                                          IODebugContext* debug) {
  // As with IsPretended: when RocksDB cannot make a WAL file it seals a memtable twice. So a stopped machine pretends to make files;
  // nothing on the disk will ever name them.
  const bool ghost = frozen();
  const std::optional<std::string> replaced = FileContent(path);
  std::unique_ptr<FSWritableFile> beneath;
  IOStatus status = target()->NewWritableFile(path, options, &beneath, debug);
  if (!status.ok()) return status;
  Created(path, 0);
  {
    std::lock_guard lock(mutex_);
    if (ghost) {
      ghosts_.push_back(path);
    } else {
      new_entries_.push_back({path, std::nullopt, replaced});
    }
  }
  *file = std::make_unique<FaultFile>(*this, path, 0, std::move(beneath));
  return status;
}

IOStatus FaultFileSystem::ReopenWritableFile(const std::string& path, const FileOptions& options, std::unique_ptr<FSWritableFile>* file,
                                             IODebugContext* debug) {
  if (IOStatus stopped = JudgeChange(); !stopped.ok()) return stopped;
  const bool is_new = !std::filesystem::exists(path);
  std::unique_ptr<FSWritableFile> beneath;
  IOStatus status = target()->ReopenWritableFile(path, options, &beneath, debug);
  if (!status.ok()) return status;
  const uint64_t size = FileSize(path);
  {
    std::lock_guard lock(mutex_);
    files_.try_emplace(path, Synced(size));
    if (is_new) new_entries_.push_back({path, std::nullopt, std::nullopt});
  }
  *file = std::make_unique<FaultFile>(*this, path, size, std::move(beneath));
  return status;
}

IOStatus FaultFileSystem::ReuseWritableFile(const std::string& path, const std::string& old_path, const FileOptions& options,
                                            std::unique_ptr<FSWritableFile>* file, IODebugContext* debug) {
  // Overwrites what is there: such files are not append-only. Nobody asks for it unless WAL files are recycled.
  CHECK(false) << "recycling " << old_path << " as " << path << " is not simulated";
  return FileSystemWrapper::ReuseWritableFile(path, old_path, options, file, debug);
}

IOStatus FaultFileSystem::NewDirectory(const std::string& path, const IOOptions& options, std::unique_ptr<FSDirectory>* directory,
                                       IODebugContext* debug) {
  std::unique_ptr<FSDirectory> beneath;
  IOStatus status = target()->NewDirectory(path, options, &beneath, debug);
  if (status.ok()) *directory = std::make_unique<FaultDirectory>(*this, path);
  return status;
}

IOStatus FaultFileSystem::DeleteFile(const std::string& path, const IOOptions& options, IODebugContext* debug) {
  if (IOStatus stopped = JudgeChange(); !stopped.ok()) return stopped;
  IOStatus status = target()->DeleteFile(path, options, debug);
  if (status.ok()) {
    std::lock_guard lock(mutex_);
    files_.erase(path);
  }
  return status;
}

IOStatus FaultFileSystem::Truncate(const std::string& path, size_t size, const IOOptions& options, IODebugContext* debug) {
  if (IOStatus stopped = JudgeChange(); !stopped.ok()) return stopped;
  IOStatus status = target()->Truncate(path, size, options, debug);
  if (status.ok()) HasSize(path, size);
  return status;
}

IOStatus FaultFileSystem::RenameFile(const std::string& from, const std::string& to, const IOOptions& options, IODebugContext* debug) {
  if (IOStatus stopped = JudgeChange(); !stopped.ok()) return stopped;
  const std::optional<std::string> replaced = FileContent(to);
  IOStatus status = target()->RenameFile(from, to, options, debug);
  if (!status.ok()) return status;
  std::lock_guard lock(mutex_);
  new_entries_.push_back({to, from, replaced});
  if (auto moved = files_.extract(from)) {
    files_.erase(to);
    moved.key() = to;
    files_.insert(std::move(moved));
  }
  return status;
}

IOStatus FaultFileSystem::LinkFile(const std::string& from, const std::string& to, const IOOptions& options, IODebugContext* debug) {
  if (IOStatus stopped = JudgeChange(); !stopped.ok()) return stopped;
  IOStatus status = target()->LinkFile(from, to, options, debug);
  if (status.ok()) {
    std::lock_guard lock(mutex_);
    new_entries_.push_back({to, std::nullopt, std::nullopt});
  }
  return status;
}

// --- Damage by hand

void FlipBitInFile(const std::string& path, uint64_t offset, int bit) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(offset));
  char byte = 0;
  file.get(byte);
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(static_cast<char>(byte ^ (1 << bit)));
  file.flush();
  CHECK(file.good()) << "no byte " << offset << " in " << path;
}

void TruncateFile(const std::string& path, uint64_t size) { std::filesystem::resize_file(path, size); }

uint64_t FileSize(const std::string& path) { return std::filesystem::file_size(path); }

std::vector<std::string> FilesOfKind(const std::string& directory, FileKind kind) {
  std::vector<std::string> paths;
  for (const auto& file : std::filesystem::directory_iterator(directory)) {
    if (KindOf(file.path()) == kind) paths.push_back(file.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace flotilla::storage
