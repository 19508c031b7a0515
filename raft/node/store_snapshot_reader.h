// The chunks of an installed snapshot, from the store.
#pragma once

#include "raft/node/state_machine.h"
#include "storage/log/log_store.h"

namespace flotilla::raft {

class StoreSnapshotReader final : public SnapshotReader {
 public:
  StoreSnapshotReader(const storage::LogReader& store, GroupId group, const storage::SnapshotMeta& meta)
      : store_(store), group_(group), id_(meta.id), chunks_(meta.chunks) {}

  uint32_t chunks() const override { return chunks_; }
  Result<Bytes> Chunk(uint32_t number) override { return store_.ReadSnapshotChunk(group_, id_, number); }

 private:
  const storage::LogReader& store_;
  const GroupId group_;
  const uint64_t id_;
  const uint32_t chunks_;
};

}  // namespace flotilla::raft
