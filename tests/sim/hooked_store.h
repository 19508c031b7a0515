// The store as a simulated process sees it: the real one, but whoever simulates the process is asked before each write.
#pragma once

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/memory/memory_store.h"

namespace flotilla::sim {

class SubmitHook {
 public:
  virtual ~SubmitHook() = default;
  // False: the process has just died, nothing reaches the disk any more.
  virtual bool BeforeSubmit(const storage::WriteTask& task) = 0;
  // The store has taken a task.
  virtual void Submitted() = 0;
};

class HookedStore final : public storage::LogStore {
 public:
  // Both outlive it.
  HookedStore(storage::MemoryStore& store, SubmitHook& hook) : store_(store), hook_(hook) {}

  Status Submit(storage::WriteTask task, storage::WriteSink& sink) override {
    if (!hook_.BeforeSubmit(task)) return {};
    Status submitted = store_.Submit(std::move(task), sink);
    if (submitted.ok()) hook_.Submitted();
    return submitted;
  }
  std::vector<GroupId> Groups() const override { return store_.Groups(); }
  Result<storage::GroupState> Load(GroupId group) const override { return store_.Load(group); }
  Result<storage::GroupIdentity> Identity(GroupId group) const override { return store_.Identity(group); }
  Result<storage::LogBounds> Bounds(GroupId group) const override { return store_.Bounds(group); }
  Result<uint64_t> ApproximateBytes(GroupId group) const override { return store_.ApproximateBytes(group); }
  Result<std::vector<storage::Entry>> Read(GroupId group, LogIndex first, LogIndex last, storage::ReadLimits limits) const override {
    return store_.Read(group, first, last, limits);
  }
  std::optional<std::vector<storage::Entry>> ReadCached(GroupId group, LogIndex first, LogIndex last,
                                                        storage::ReadLimits limits) const override {
    return store_.ReadCached(group, first, last, limits);
  }
  Result<storage::EntryHeader> FindOffset(GroupId group, Offset offset) const override { return store_.FindOffset(group, offset); }
  Result<std::optional<storage::EntryHeader>> FindTimestamp(GroupId group, int64_t timestamp_ms) const override {
    return store_.FindTimestamp(group, timestamp_ms);
  }
  Result<std::optional<Bytes>> GetState(GroupId group, std::string_view key) const override { return store_.GetState(group, key); }
  Result<std::vector<StateRow>> ScanState(GroupId group, std::string_view prefix, std::string_view after, size_t bytes_max) const override {
    return store_.ScanState(group, prefix, after, bytes_max);
  }
  Result<Bytes> ReadSnapshotChunk(GroupId group, uint64_t id, uint32_t number) const override {
    return store_.ReadSnapshotChunk(group, id, number);
  }
  storage::StoreCounters Counters() const override { return store_.Counters(); }
  storage::SyncCounters Syncs() const override { return store_.Syncs(); }
  Status health() const override { return store_.health(); }

 private:
  storage::MemoryStore& store_;
  SubmitHook& hook_;
};

}  // namespace flotilla::sim
