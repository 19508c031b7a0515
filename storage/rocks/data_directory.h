// Whose data a directory holds. One process owns it at a time.
//
//   Result<std::unique_ptr<DataDirectory>> data = DataDirectory::Open("/var/lib/flotilla", {.cluster_id =
//   "orders"}); data->identity().node_uuid   // made at the first opening, never again: a wiped disk is
//   another node
//
// In it: IDENTITY (text, see storage/README.md), LOCK, EVIDENCE, and the database in db/.
#pragma once

#include <memory>
#include <string>

#include "storage/base/status.h"
#include "storage/rocks/posix_file.h"
#include "storage/rocks/rocks_store.h"

namespace flotilla::storage {

// The text of the IDENTITY file.
std::string EncodeIdentity(const DirectoryIdentity& identity);
// CORRUPT_MESSAGE when it is not such a text; DIRECTORY_MISMATCH when it is of another format.
Result<DirectoryIdentity> DecodeIdentity(std::string_view text);

class DataDirectory {
 public:
  // Makes directory and identity when there are none; in a directory with somebody else's files it does not. Empty fields of `expected`
  // match anything. DIRECTORY_LOCKED names the owner's pid; DIRECTORY_MISMATCH both values; DIRECTORY_UNUSABLE what the system refused;
  // DATA_LOSS: the identity is gone or damaged while data is there.
  static Result<std::unique_ptr<DataDirectory>> Open(const std::string& path, const DirectoryIdentity& expected);

  // Of a node that is stopped, to look at: nothing is made or written, and no node starts in it meanwhile.
  // DIRECTORY_LOCKED, DIRECTORY_UNUSABLE, DIRECTORY_MISMATCH (no directory of a node), DATA_LOSS.
  static Result<std::unique_ptr<DataDirectory>> OpenStopped(const std::string& path);

  const DirectoryIdentity& identity() const { return identity_; }
  // For a node that just joined. DIRECTORY_MISMATCH when it is of another cluster already.
  Status SetClusterId(const std::string& cluster_id);

  std::string database_path() const { return path_ + "/db"; }
  std::string evidence_path() const { return path_ + "/EVIDENCE"; }

 private:
  DataDirectory(std::string path, FileHandle lock, DirectoryIdentity identity)
      : path_(std::move(path)), lock_(std::move(lock)), identity_(std::move(identity)) {}

  std::string path_;
  FileHandle lock_;  // flock'ed as long as we live
  DirectoryIdentity identity_;
};

}  // namespace flotilla::storage
