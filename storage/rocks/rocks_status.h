// RocksDB's outcomes as ours.
#pragma once

#include <rocksdb/status.h>

#include <string>

#include "storage/base/ids.h"
#include "storage/base/status.h"

namespace flotilla::storage {

// What to do about lost data; ends every DATA_LOSS of this store.
inline constexpr const char* kAfterDataLoss =
    "do not repair it in place: keep a copy if it is wanted, empty the data directory and let this node join "
    "anew";

// Of an opening that failed: DATA_LOSS for what is missing or damaged, DIRECTORY_UNUSABLE for what the system
// refused.
Status FromOpen(const rocksdb::Status& status, const std::string& path);
// Of a failed write or sync: STORAGE_FAILED.
Status FromWrite(const rocksdb::Status& status);

// DATA_LOSS about one entry.
Status EntryLost(GroupId group, LogIndex index, const std::string& what);
// DATA_LOSS about a group's rows.
Status GroupLost(GroupId group, const std::string& what);

}  // namespace flotilla::storage
