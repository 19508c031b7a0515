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
  // As RaftHost's of the same names; but a replica that has stopped says what Stopped says.
  Result<LogIndex> Propose(const raft::Proposal& proposal, uint64_t token, raft::ProposalSink& sink) {
    Result<LogIndex> index = host_.Propose(group_, std::span(&proposal, 1), token, sink);
    if (!index.ok() && IsFault(index.status())) return Stopped(index.status());
    return index;
  }
  Status ReadIndex(uint64_t token, raft::ReadSink& sink) {
    const Status asked = host_.ReadIndex(group_, token, sink);
    return IsFault(asked) ? Stopped(asked) : asked;
  }
  Status TakeSnapshot() { return host_.TakeSnapshot(group_); }
  void Fail(const Status& reason) { host_.FailGroup(group_, reason); }

  // Reasons of this replica alone.
  static bool IsFault(const Status& status) {
    return status.reason() == Reason::kStorageFailed || status.reason() == Reason::kDataLoss || status.reason() == Reason::kReplicaFaulted;
  }
  // Whether there is no other replica that could take its place.
  bool alone() const {
    const raft::RaftCore* core = host_.Find(group_);
    return core == nullptr || core->configuration().voters.size() <= 1;
  }
  // What callers hear of a replica that has stopped: NO_LEADER, for another one takes its place; when there is no other, why.
  Status Stopped(const Status& why) const;

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
  std::optional<std::vector<storage::Entry>> TailEntries(LogIndex first, LogIndex last, size_t bytes_max) const {
    const raft::RaftCore* core = host_.Find(group_);
    if (core == nullptr) return std::nullopt;
    return core->log().TailEntries(first, last, bytes_max, flotilla::limits::kAppendEntriesMax);
  }

 private:
  raft::RaftHost& host_;
  const GroupId group_;
};

}  // namespace flotilla::partition
