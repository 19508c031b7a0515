// What was synced, told by somebody else than the database: the number of the last batch whose sync
// succeeded.
//
// After each sync the number is written without fsync, so it survives the death of the process, and every 200
// ms at most it is fsynced, so a power cut can set it back by no more than that. Two slots take turns: a torn
// write leaves the other.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/clock.h"
#include "storage/base/status.h"
#include "storage/rocks/posix_file.h"

namespace flotilla::storage {

inline constexpr Duration kEvidenceSyncInterval = std::chrono::milliseconds(200);

// The bytes of one slot.
std::string EncodeEvidenceSlot(uint64_t batch_number, std::string_view node_uuid);
// Nothing for a torn slot or one of another node.
std::optional<uint64_t> DecodeEvidenceSlot(std::string_view slot, std::string_view node_uuid);

// Writer thread only, but for Open.
class Evidence {
 public:
  // The number on the disk. Nothing when there is no file. DATA_LOSS: neither slot can be read.
  static Result<std::optional<uint64_t>> Read(const std::string& path, const std::string& node_uuid);
  // Makes a file that says 0, durably.
  static Status Create(const std::string& path, const std::string& node_uuid);
  static Result<std::unique_ptr<Evidence>> Open(const std::string& path, const std::string& node_uuid);

  // All batches up to this one were synced. At or above what was recorded before.
  Status Record(uint64_t batch_number, MonotonicTime now);
  // When SyncIfDue has something to do; nothing while everything is on the disk.
  std::optional<MonotonicTime> sync_due() const;
  Status SyncIfDue(MonotonicTime now);
  Status Sync();

 private:
  Evidence(std::string path, std::string node_uuid, FileHandle file)
      : path_(std::move(path)), node_uuid_(std::move(node_uuid)), file_(std::move(file)) {}

  std::string path_;
  std::string node_uuid_;
  FileHandle file_;
  uint64_t writes_ = 0;
  std::optional<MonotonicTime> dirty_since_;
};

}  // namespace flotilla::storage
