#include "storage/rocks/posix_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace flotilla::storage {
namespace {

std::string ParentOf(const std::string& path) {
  const std::filesystem::path absolute = std::filesystem::absolute(path).lexically_normal();
  const auto parent = absolute.has_filename() ? absolute.parent_path() : absolute.parent_path().parent_path();
  return parent.empty() ? "/" : parent.string();
}

const char* AdviceFor(int error_number) {
  switch (error_number) {
    case EACCES:
    case EPERM: return "give the directory and what is in it to the user that runs this process";
    case EROFS: return "the file system is read-only; look into the system's log for disk errors";
    case ENOENT: return "make the directory that it is in, or correct the path";
    case ENOTDIR: return "a part of the path is a file; correct the path";
    case ENOSPC:
    case EDQUOT: return "free space on the file system";
    default: return "look into the system's log for disk errors";
  }
}

Status WriteAll(int descriptor, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(descriptor, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError("write", path, errno);
    content.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  if (this != &other) {
    if (valid()) ::close(descriptor_);
    descriptor_ = other.Release();
  }
  return *this;
}

FileHandle::~FileHandle() {
  if (valid()) ::close(descriptor_);
}

int FileHandle::Release() { return std::exchange(descriptor_, -1); }

Status FileError(std::string_view operation, const std::string& path, int error_number) {
  return Status(Reason::kDirectoryUnusable,
                "cannot " + std::string(operation) + " " + path + ": " + std::strerror(error_number) + "; " + AdviceFor(error_number));
}

Result<FileHandle> OpenFile(const std::string& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0640);
  if (descriptor < 0) return FileError("open", path, errno);
  return FileHandle(descriptor);
}

Result<std::optional<std::string>> ReadWholeFile(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0 && errno == ENOENT) return std::optional<std::string>();
  if (descriptor < 0) return FileError("open", path, errno);
  const FileHandle file(descriptor);
  std::string content;
  char buffer[4096];
  while (true) {
    const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FileError("read", path, errno);
    if (count == 0) return std::optional(std::move(content));
    content.append(buffer, static_cast<size_t>(count));
  }
}

Status WriteFileAtomically(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".new";
  {
    Result<FileHandle> file = OpenFile(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    if (!file.ok()) return file.status();
    FLOTILLA_RETURN_IF_ERROR(WriteAll(file->get(), content, temporary));
    if (::fsync(file->get()) != 0) return FileError("fsync", temporary, errno);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return FileError("rename to", path, errno);
  return SyncDirectory(ParentOf(path));
}

Status EnsureDirectory(const std::string& path) {
  if (::mkdir(path.c_str(), 0750) == 0) return SyncDirectory(ParentOf(path));
  if (errno != EEXIST) return FileError("make the directory", path, errno);
  return {};
}

Status SyncDirectory(const std::string& path) {
  Result<FileHandle> directory = OpenFile(path, O_RDONLY | O_DIRECTORY);
  if (!directory.ok()) return directory.status();
  if (::fsync(directory->get()) != 0) return FileError("fsync", path, errno);
  return {};
}

bool PathExists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

}  // namespace flotilla::storage
