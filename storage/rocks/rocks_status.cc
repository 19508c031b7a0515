#include "storage/rocks/rocks_status.h"

namespace flotilla::storage {
namespace {

bool IsMissingFile(const rocksdb::Status& status) {
  return status.IsPathNotFound() || status.ToString().find("No such file") != std::string::npos;
}

}  // namespace

Status FromOpen(const rocksdb::Status& status, const std::string& path) {
  const std::string what = "database " + path + ": " + status.ToString() + "; ";
  if (status.IsIOError() && !IsMissingFile(status)) {
    return Status(Reason::kDirectoryUnusable, what + "look at permissions, free space and the system's log");
  }
  return Status(Reason::kDataLoss, what + kAfterDataLoss).With("path", path);
}

Status FromWrite(const rocksdb::Status& status) {
  return Status(Reason::kStorageFailed,
                "a write or sync failed: " + status.ToString() + "; nothing is acknowledged any more, restart after looking at the disk");
}

Status EntryLost(GroupId group, LogIndex index, const std::string& what) {
  return Status(Reason::kDataLoss, "entry " + std::to_string(index.value()) + " of group " + std::to_string(group.value()) + ": " + what +
                                       "; this replica must leave the group and come back as a new one")
      .With("group", group.value())
      .With("index", index.value());
}

Status GroupLost(GroupId group, const std::string& what) {
  return Status(Reason::kDataLoss, "group " + std::to_string(group.value()) + ": " + what + "; " + kAfterDataLoss)
      .With("group", group.value());
}

}  // namespace flotilla::storage
