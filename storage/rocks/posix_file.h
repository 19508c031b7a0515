// The few file operations that do not go through RocksDB: identity, lock and evidence files. Errors are
// DIRECTORY_UNUSABLE with path, operation and the system's reason.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/status.h"

namespace flotilla::storage {

// An open file descriptor, closed at the end.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int descriptor) : descriptor_(descriptor) {}
  FileHandle(FileHandle&& other) noexcept : descriptor_(other.Release()) {}
  FileHandle& operator=(FileHandle&& other) noexcept;
  ~FileHandle();

  int get() const { return descriptor_; }
  bool valid() const { return descriptor_ >= 0; }

 private:
  int Release();
  int descriptor_ = -1;
};

// DIRECTORY_UNUSABLE: "cannot <operation> <path>: <what errno says>; <advice>".
Status FileError(std::string_view operation, const std::string& path, int error_number);

Result<FileHandle> OpenFile(const std::string& path, int flags);
// Nothing when there is no such file.
Result<std::optional<std::string>> ReadWholeFile(const std::string& path);
// After it returned OK, the content survives a power cut; before, the old content does. Never a mixture.
Status WriteFileAtomically(const std::string& path, std::string_view content);
// Makes the directory when it is missing, and its name durable in its parent.
Status EnsureDirectory(const std::string& path);
Status SyncDirectory(const std::string& path);
bool PathExists(const std::string& path);

}  // namespace flotilla::storage
