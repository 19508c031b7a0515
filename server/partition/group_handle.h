// A partition's Raft group: the part of RaftHost that the partition needs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "raft/node/raft_host.h"
#include "storage/base/ids.h"
#include "storage/base/status.h"
#include "storage/log/entry.h"

namespace flotilla::partition {

// On the host's executor only.
class GroupHandle {
 public:
  // `host` outlives this. While the group is not open every call says so, or answers as an empty log would.
  GroupHandle(raft::RaftHost& host, GroupId group) : host_(host), group_(group) {}

  GroupId group() const { return group_; }
  // As RaftHost's of the same names.
  Result<LogIndex> Propose(const raft::Proposal& proposal, uint64_t token, raft::ProposalSink& sink) {
    return host_.Propose(group_, std::span(&proposal, 1), token, sink);
  }
  Status ReadIndex(uint64_t token, raft::ReadSink& sink) { return host_.ReadIndex(group_, token, sink); }
  Status TakeSnapshot() { return host_.TakeSnapshot(group_); }

  // The end of the log as it is in memory: where the next proposal goes.
  storage::LogAnchor end() const {
    const raft::RaftCore* core = host_.Find(group_);
    return core == nullptr ? storage::LogAnchor{} : core->log().end();
  }
  // Before its first entry: everything up to there was cut.
  LogIndex start() const {
    const raft::RaftCore* core = host_.Find(group_);
    return core == nullptr ? LogIndex{} : core->log().start().last.index;
  }
  // Up to here the log is on this node's disk.
  LogIndex stable() const {
    const raft::RaftCore* core = host_.Find(group_);
    return core == nullptr ? LogIndex{} : core->log().stable();
  }
  // Entries in [first, last) if all of them are in memory, as many as fit, at least one.
  std::optional<std::vector<storage::Entry>> TailEntries(LogIndex first, LogIndex last,
                                                         size_t bytes_max) const {
    const raft::RaftCore* core = host_.Find(group_);
    if (core == nullptr) return std::nullopt;
    return core->log().TailEntries(first, last, bytes_max, flotilla::limits::kAppendEntriesMax);
  }

 private:
  raft::RaftHost& host_;
  const GroupId group_;
};

}  // namespace flotilla::partition
