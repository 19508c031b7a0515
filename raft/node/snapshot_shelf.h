// The snapshots that one group has in its store, and under which ids.
//
//   current   what the log begins after, durable
//   ready     written by the own state machine; becomes current when the log is cut behind it
//   making    being written
//   staging   being received from the leader
//   retired   no longer current, but still on its way to a follower
//
// Ids are slots, used in turn, so that a group that opens after a crash knows which ones may hold leftovers: all but the current.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <optional>
#include <vector>

#include "raft/core/raft_core.h"
#include "storage/log/log_store.h"

namespace flotilla::raft {

// A snapshot of the own state machine on its way to the store, a few chunks at a time.
struct Making {
  storage::SnapshotMeta meta;
  std::vector<Bytes> chunks;
  uint32_t written = 0;
  bool anchored = false;  // the anchor's term and offset are known
};

// One that comes from the leader.
struct Staging {
  storage::SnapshotMeta theirs;  // as the leader names it
  ReplicaId from;
  Term term;
  uint64_t id = 0;           // here
  uint32_t accepted = 0;     // chunks given to the store
  uint32_t durable = 0;      // ... and written
  std::list<Bytes> writing;  // the data of those in between
  uint32_t checksum = 0;     // of the durable ones
  uint64_t bytes = 0;
  Tick expires_at = 0;
  bool installing = false;  // the core has taken it
};

struct SnapshotShelf {
  static constexpr uint64_t kSlots = 4;

  std::optional<storage::SnapshotMeta> current;
  std::optional<storage::SnapshotMeta> ready;
  bool ready_cut = false;  // the task that makes `ready` current is on its way
  Tick cut_tried_at = kNever;
  Tick cut_due = kNever;  // to be tried again, without waiting for anything else to happen
  std::optional<Making> making;
  std::optional<Staging> staging;
  std::vector<uint64_t> retired;
  std::vector<ReplicaId> wanted_by;  // followers that wait for what is being made
  uint64_t last_id = 0;

  Tick NextDue() const {
    Tick due = ready && !ready_cut ? cut_due : kNever;
    if (staging && !staging->installing) due = std::min(due, staging->expires_at);
    return due;
  }
  bool Holds(uint64_t id) const {
    if (current && current->id == id) return true;
    if (ready && ready->id == id) return true;
    if (making && making->meta.id == id) return true;
    if (staging && staging->id == id) return true;
    for (uint64_t held : retired) {
      if (held == id) return true;
    }
    return false;
  }
  // A slot for a new one; nothing when all are taken.
  std::optional<uint64_t> NextId() {
    for (uint64_t i = 0; i < kSlots; ++i) {
      const uint64_t id = (last_id + i) % kSlots + 1;
      if (Holds(id)) continue;
      last_id = id;
      return id;
    }
    return std::nullopt;
  }
  // What may be left over from a crash.
  std::vector<uint64_t> FreeIds() const {
    std::vector<uint64_t> ids;
    for (uint64_t id = 1; id <= kSlots; ++id) {
      if (!Holds(id)) ids.push_back(id);
    }
    return ids;
  }
};

}  // namespace flotilla::raft
