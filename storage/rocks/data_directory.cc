#include "storage/rocks/data_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <random>
#include <utility>

#include "storage/base/crc32c.h"

namespace flotilla::storage {
namespace {

constexpr uint32_t kFormat = 1;
constexpr std::string_view kTitle = "flotilla data directory\n";

std::string Hex32(uint32_t number) {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", number);
  return text;
}

// A version 4 UUID from the system's randomness.
std::string MakeUuid() {
  std::random_device system;
  std::array<uint32_t, 4> words{};
  for (uint32_t& word : words) word = system();
  words[1] = (words[1] & 0xFFFF0FFFU) | 0x4000U;
  words[2] = (words[2] & 0x3FFFFFFFU) | 0x80000000U;
  char text[37];
  std::snprintf(text, sizeof text, "%08x-%04x-%04x-%04x-%04x%08x", words[0], words[1] >> 16, words[1] & 0xFFFFU, words[2] >> 16,
                words[2] & 0xFFFFU, words[3]);
  return text;
}

bool TakePrefix(std::string_view prefix, std::string_view* text) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

// The rest of the line after `name`; the text moves behind the line.
std::optional<std::string> TakeField(std::string_view name, std::string_view* text) {
  if (!TakePrefix(name, text)) return std::nullopt;
  const size_t end = text->find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  std::string value(text->substr(0, end));
  text->remove_prefix(end + 1);
  return value;
}

Status Damaged(const std::string& what) { return Status(Reason::kCorruptMessage, "identity file: " + what + "; it was edited or damaged"); }

Status Mismatch(const std::string& path, const std::string& what, const std::string& found, const std::string& wanted) {
  return Status(Reason::kDirectoryMismatch, "data directory " + path + " is of " + what + " \"" + found + "\", not \"" + wanted +
                                                "\"; use the directory that belongs to it, or an "
                                                "empty one")
      .With("found", found)
      .With("wanted", wanted);
}

Status Compare(const std::string& path, const DirectoryIdentity& found, const DirectoryIdentity& expected) {
  if (!expected.cluster_id.empty() && !found.cluster_id.empty() && expected.cluster_id != found.cluster_id) {
    return Mismatch(path, "cluster", found.cluster_id, expected.cluster_id);
  }
  if (!expected.node_uuid.empty() && expected.node_uuid != found.node_uuid) {
    return Mismatch(path, "node", found.node_uuid, expected.node_uuid);
  }
  return {};
}

// DIRECTORY_LOCKED: another process has it.
Status TakeLock(const FileHandle& file, const std::string& path, const std::string& file_path) {
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) return FileError("lock", file_path, errno);
  const Result<std::optional<std::string>> owner = ReadWholeFile(file_path);
  const std::string pid = owner.ok() && *owner && !(*owner)->empty() ? (*owner)->substr(0, (*owner)->find('\n')) : "?";
  return Status(Reason::kDirectoryLocked, "data directory " + path + " is in use by process " + pid + "; stop it, or use another directory")
      .With("pid", pid);
}

Result<FileHandle> Lock(const std::string& path) {
  const std::string file_path = path + "/LOCK";
  Result<FileHandle> file = OpenFile(file_path, O_RDWR | O_CREAT);
  if (!file.ok()) return file.status();
  FLOTILLA_RETURN_IF_ERROR(TakeLock(*file, path, file_path));
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(file->get(), 0) != 0) return FileError("truncate", file_path, errno);
  if (::pwrite(file->get(), pid.data(), pid.size(), 0) < 0) return FileError("write", file_path, errno);
  return file;
}

// What may be in a directory that becomes ours: what an interrupted beginning left, and what belongs to the file system.
bool MayBeInNewDirectory(std::string_view name) {
  return name.starts_with('.') || name == "LOCK" || name == "IDENTITY.new" || name == "lost+found";
}

// DIRECTORY_MISMATCH: it has no identity, but files of somebody else. Nothing was written yet.
Status CheckNotForeign(const std::string& path) {
  if (PathExists(path + "/IDENTITY") || PathExists(path + "/EVIDENCE") || PathExists(path + "/db")) return {};
  std::error_code error;
  for (std::filesystem::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (MayBeInNewDirectory(name)) continue;
    return Status(Reason::kDirectoryMismatch,
                  "data directory " + path + " has \"" + name + "\" in it, but is no data directory of a node yet; use an empty one")
        .With("found", name);
  }
  if (error) return FileError("list", path, error.value());
  return {};
}

}  // namespace

std::string EncodeIdentity(const DirectoryIdentity& identity) {
  std::string text(kTitle);
  text += "format: " + std::to_string(kFormat) + "\n";
  text += "cluster: " + identity.cluster_id + "\n";
  text += "node: " + identity.node_uuid + "\n";
  return text + "crc32c: " + Hex32(crc32c::Value(text)) + "\n";
}

Result<DirectoryIdentity> DecodeIdentity(std::string_view text) {
  std::string_view rest = text;
  if (!TakePrefix(kTitle, &rest)) return Damaged("it does not begin with \"flotilla data directory\"");
  const std::optional<std::string> format = TakeField("format: ", &rest);
  if (!format) return Damaged("no line \"format: \"");
  if (*format != std::to_string(kFormat)) {
    return Status(Reason::kDirectoryMismatch, "data directory is of format \"" + *format + "\", this program reads \"" +
                                                  std::to_string(kFormat) + "\"; run the version that wrote it")
        .With("found", *format)
        .With("wanted", uint64_t{kFormat});
  }
  const std::optional<std::string> cluster = TakeField("cluster: ", &rest);
  const std::optional<std::string> node = TakeField("node: ", &rest);
  if (!cluster || !node || node->empty()) return Damaged("no line \"cluster: \" or \"node: \"");
  const size_t covered = text.size() - rest.size();
  const std::optional<std::string> checksum = TakeField("crc32c: ", &rest);
  if (!checksum || *checksum != Hex32(crc32c::Value(text.substr(0, covered)))) return Damaged("its checksum is wrong");
  if (!rest.empty()) return Damaged("something follows its checksum");
  return DirectoryIdentity{.cluster_id = *cluster, .node_uuid = *node};
}

Result<std::unique_ptr<DataDirectory>> DataDirectory::Open(const std::string& path, const DirectoryIdentity& expected) {
  if (expected.cluster_id.find('\n') != std::string::npos || expected.node_uuid.find('\n') != std::string::npos) {
    return Status(Reason::kInvalidArgument, "a cluster id or node UUID has a line break; leave it out");
  }
  FLOTILLA_RETURN_IF_ERROR(EnsureDirectory(path));
  FLOTILLA_RETURN_IF_ERROR(CheckNotForeign(path));
  Result<FileHandle> lock = Lock(path);
  if (!lock.ok()) return lock.status();

  const std::string file_path = path + "/IDENTITY";
  const Result<std::optional<std::string>> text = ReadWholeFile(file_path);
  if (!text.ok()) return text.status();
  DirectoryIdentity identity = expected;
  if (*text) {
    const Result<DirectoryIdentity> found = DecodeIdentity(**text);
    if (!found.ok() && found.status().reason() == Reason::kDirectoryMismatch) return found.status();
    if (!found.ok()) {
      return Status(Reason::kDataLoss, file_path + ": " + std::string(found.status().message()) +
                                           "; restore the file, or empty the directory and let this node join anew");
    }
    FLOTILLA_RETURN_IF_ERROR(Compare(path, *found, expected));
    identity = *found;
  } else if (PathExists(path + "/EVIDENCE") || PathExists(path + "/db")) {
    return Status(Reason::kDataLoss, file_path +
                                         " is missing although data is there; restore the file, or empty the "
                                         "directory and let this node join anew");
  } else if (identity.node_uuid.empty()) {
    identity.node_uuid = MakeUuid();
  }

  std::unique_ptr<DataDirectory> directory(new DataDirectory(path, std::move(*lock), identity));
  if (!*text) FLOTILLA_RETURN_IF_ERROR(WriteFileAtomically(file_path, EncodeIdentity(identity)));
  if (!expected.cluster_id.empty()) FLOTILLA_RETURN_IF_ERROR(directory->SetClusterId(expected.cluster_id));
  return directory;
}

Result<std::unique_ptr<DataDirectory>> DataDirectory::OpenStopped(const std::string& path) {
  const std::string file_path = path + "/IDENTITY";
  const Result<std::optional<std::string>> text = ReadWholeFile(file_path);
  if (!text.ok()) return text.status();
  if (!*text) {
    const bool data = PathExists(path + "/EVIDENCE") || PathExists(path + "/db");
    return Status(data ? Reason::kDataLoss : Reason::kDirectoryMismatch,
                  file_path + " is missing" + (data ? " although data is there" : ": this is no data directory of a node"))
        .With("file", file_path);
  }
  // The lock's file says who had it last; that stays as it is.
  const std::string lock_path = path + "/LOCK";
  Result<FileHandle> lock = PathExists(lock_path) ? OpenFile(lock_path, O_RDONLY) : Result<FileHandle>(FileHandle());
  if (!lock.ok()) return lock.status();
  if (lock->valid()) FLOTILLA_RETURN_IF_ERROR(TakeLock(*lock, path, lock_path));
  const Result<DirectoryIdentity> identity = DecodeIdentity(**text);
  if (!identity.ok() && identity.status().reason() == Reason::kDirectoryMismatch) return identity.status();
  if (!identity.ok()) return Status(Reason::kDataLoss, file_path + ": " + std::string(identity.status().message())).With("file", file_path);
  return std::unique_ptr<DataDirectory>(new DataDirectory(path, std::move(*lock), *identity));
}

Status DataDirectory::SetClusterId(const std::string& cluster_id) {
  if (cluster_id.empty() || cluster_id.find('\n') != std::string::npos) {
    return Status(Reason::kInvalidArgument, "cluster id \"" + cluster_id + "\" is empty or has a line break");
  }
  if (identity_.cluster_id == cluster_id) return {};
  if (!identity_.cluster_id.empty()) return Mismatch(path_, "cluster", identity_.cluster_id, cluster_id);
  DirectoryIdentity joined = identity_;
  joined.cluster_id = cluster_id;
  FLOTILLA_RETURN_IF_ERROR(WriteFileAtomically(path_ + "/IDENTITY", EncodeIdentity(joined)));
  identity_ = joined;
  return {};
}

}  // namespace flotilla::storage
