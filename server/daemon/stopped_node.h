// `flotillad verify` and `flotillad dump-log`: what is in the data directory of a node that is stopped. Nothing in it changes.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>

#include "storage/base/status.h"

namespace flotilla {

// Damage was found (EX_DATAERR).
inline constexpr int kExitDamaged = 65;

struct Talk {
  std::ostream& out;
  std::ostream& err;
  bool err_is_terminal = false;
};

// Says why it cannot be done; the exit code for it.
int Fail(const Status& status, const Talk& talk);

// Reads everything and checks every checksum. 0: all is well; 65: damage, each in a line; 1: it cannot be read at all (a node runs in
// it, it is no data directory).
int VerifyDirectory(const std::string& directory, const Talk& talk);

struct DumpOptions {
  std::string directory;
  // Nothing: the list of all groups.
  std::optional<uint64_t> group = {};
  std::optional<uint64_t> from = {};   // an index; nothing: where the log begins
  std::optional<uint64_t> count = {};  // nothing: to its end
  // What is in the entries: records with keys and sizes, members, changes of the metadata.
  bool payloads = false;
};
int DumpLog(const DumpOptions& options, const Talk& talk);

}  // namespace flotilla
