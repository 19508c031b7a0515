#include "server/partition/partition_machine.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "storage/base/coding.h"

namespace flotilla::partition {
namespace {

constexpr uint8_t kTrimVersion = 1;
constexpr uint8_t kCheckpointVersion = 1;
constexpr char kCheckpointKey[] = "checkpoint";

Status Corrupt(const std::string& what) { return Status(Reason::kCorruptMessage, what + "; these bytes are of no format known here"); }

}  // namespace

Bytes EncodeTrim(Offset log_start) {
  std::string out;
  AppendLittle<uint8_t>(kTrimVersion, &out);
  AppendLittle<uint64_t>(log_start.value(), &out);
  return Bytes(std::move(out));
}

Result<Offset> DecodeTrim(std::string_view payload) {
  ByteReader in(payload);
  const auto version = in.Little<uint8_t>();
  if (version != kTrimVersion) return Corrupt("trim: version " + std::to_string(version) + ", not " + std::to_string(kTrimVersion));
  const Offset log_start{in.Little<uint64_t>()};
  if (!in.ok() || !in.AtEnd()) return Corrupt("trim: " + std::to_string(payload.size()) + " bytes");
  return log_start;
}

Bytes EncodeCheckpoint(const Checkpoint& checkpoint) {
  std::string out;
  AppendLittle<uint8_t>(kCheckpointVersion, &out);
  AppendLittle<uint64_t>(checkpoint.applied.value(), &out);
  AppendLittle<uint64_t>(checkpoint.end_offset.value(), &out);
  AppendLittle<uint64_t>(checkpoint.log_start.value(), &out);
  checkpoint.producers.EncodeTo(&out);
  return Bytes(std::move(out));
}

Result<Checkpoint> DecodeCheckpoint(std::string_view bytes, const ProducerLimits& limits) {
  ByteReader in(bytes);
  const auto version = in.Little<uint8_t>();
  if (version != kCheckpointVersion) {
    return Corrupt("checkpoint: version " + std::to_string(version) + ", not " + std::to_string(kCheckpointVersion));
  }
  const LogIndex applied{in.Little<uint64_t>()};
  const Offset end_offset{in.Little<uint64_t>()};
  const Offset log_start{in.Little<uint64_t>()};
  Result<ProducerState> producers = ProducerState::Decode(in.Take(in.remaining()), limits);
  if (!in.ok()) return Corrupt("checkpoint: " + std::to_string(bytes.size()) + " bytes");
  if (!producers.ok()) return producers.status();
  return Checkpoint{.applied = applied, .end_offset = end_offset, .log_start = log_start, .producers = *std::move(producers)};
}

// --- Opening

void PartitionMachine::StartAt(const storage::LogAnchor& anchor) {
  applied_ = anchor.last.index;
  state_ = Checkpoint{
      .applied = applied_, .end_offset = anchor.end_offset, .log_start = anchor.end_offset, .producers = ProducerState(options_.producers)};
  anchor_ = applied_;
  bytes_since_checkpoint_ = 0;
  entries_since_checkpoint_ = 0;
}

LogIndex PartitionMachine::AppliedOnOpen(const storage::GroupState& state, const storage::LogReader& reader) {
  StartAt(state.bounds.start);
  const Result<std::optional<Bytes>> row = reader.GetState(state.group, kCheckpointKey);
  if (row.ok() && !row->has_value()) return applied_;
  Result<Checkpoint> checkpoint = row.ok() ? DecodeCheckpoint((*row)->view(), options_.producers) : row.status();
  if (!checkpoint.ok()) {
    // Nothing is lost: it is derived from what is in the log.
    LOG(WARNING) << "a partition's checkpoint cannot be used, its log is read instead group=" << state.group
                 << " reason=" << checkpoint.status();
    return applied_;
  }
  if (checkpoint->applied <= applied_) return applied_;
  applied_ = checkpoint->applied;
  state_ = *std::move(checkpoint);
  // The log may have been cut since, by a trim that is applied again.
  state_.log_start = std::max(state_.log_start, state.bounds.start.end_offset);
  return applied_;
}

Status PartitionMachine::Restore(const storage::SnapshotMeta& meta, raft::SnapshotReader& reader) {
  std::string bytes;
  for (uint32_t number = 0; number < reader.chunks(); ++number) {
    const Result<Bytes> chunk = reader.Chunk(number);
    if (!chunk.ok()) return chunk.status();
    bytes.append(chunk->view());
  }
  Result<Checkpoint> checkpoint = DecodeCheckpoint(bytes, options_.producers);
  if (!checkpoint.ok()) return Status(Reason::kDataLoss, "a partition's snapshot: " + std::string(checkpoint.status().message()));
  if (checkpoint->applied < meta.anchor.last.index) {
    return Status(Reason::kDataLoss, "a partition's snapshot ends at index " + std::to_string(checkpoint->applied.value()) +
                                         ", before its anchor " + std::to_string(meta.anchor.last.index.value()));
  }
  StartAt(meta.anchor);
  state_.applied = checkpoint->applied;
  state_.log_start = std::max(checkpoint->log_start, meta.anchor.end_offset);
  state_.producers = std::move(checkpoint->producers);
  observer_.OnAdvanced();
  return {};
}

// --- Applying

void PartitionMachine::Apply(std::span<const storage::Entry> entries, std::vector<storage::StateWrite>* rows) {
  if (!fault_.ok()) return;
  for (const storage::Entry& entry : entries) {
    Status applied = ApplyOne(entry);
    if (!applied.ok()) {
      EnterFault(Status(Reason::kDataLoss, "entry " + std::to_string(entry.index().value()) + " of group " +
                                               std::to_string(entry.header.group.value()) + ": " + std::string(applied.message())));
      return;
    }
  }
  if (CheckpointDue()) {
    rows->push_back({.kind = storage::StateWrite::Kind::kPut, .key = kCheckpointKey, .value = EncodeCheckpoint(state_)});
    bytes_since_checkpoint_ = 0;
    entries_since_checkpoint_ = 0;
    ++checkpoints_;
  }
  observer_.OnAdvanced();
}

Status PartitionMachine::ApplyOne(const storage::Entry& entry) {
  CHECK_EQ(entry.index(), applied_ + 1);
  switch (entry.header.kind) {
    case storage::EntryKind::kNoop:
    case storage::EntryKind::kConfiguration: break;
    case storage::EntryKind::kData: FLOTILLA_RETURN_IF_ERROR(ApplyData(entry)); break;
    case storage::EntryKind::kTrim: {
      const Result<Offset> log_start = DecodeTrim(entry.payload.view());
      if (!log_start.ok()) return log_start.status();
      if (entry.index() > state_.applied) state_.log_start = std::max(state_.log_start, std::min(*log_start, state_.end_offset));
      break;
    }
    case storage::EntryKind::kControl: return Corrupt("a control entry, and partitions of this version have none");
  }
  applied_ = entry.index();
  state_.applied = std::max(state_.applied, applied_);
  bytes_since_checkpoint_ += entry.bytes();
  ++entries_since_checkpoint_;
  return {};
}

Status PartitionMachine::ApplyData(const storage::Entry& entry) {
  const Result<BatchHeader> header = DecodeBatchHeader(entry.payload.view());
  if (!header.ok()) return header.status();
  state_.end_offset = entry.header.end_offset();
  applied_bytes_ += entry.payload.size();
  if (entry.index() <= state_.applied) return {};
  state_.producers.AdvanceTo(header->append_timestamp_ms);
  if (header->producer.producer_id == 0) return {};
  state_.producers.Apply({.producer = header->producer, .count = entry.header.record_count}, entry.header.base_offset);
  return {};
}

// Not while entries are applied again that the state already holds: its parts are of different indexes then.
bool PartitionMachine::CheckpointDue() const {
  if (applied_ < state_.applied) return false;
  const size_t share = limits::kCheckpointShare * state_.producers.encoded_bytes();
  return bytes_since_checkpoint_ >= std::max(options_.checkpoint_bytes, share) ||
         (entries_since_checkpoint_ >= options_.checkpoint_entries && bytes_since_checkpoint_ >= share);
}

void PartitionMachine::MoveAnchor(LogIndex anchor) {
  CHECK_LE(anchor, applied_);
  anchor_ = std::max(anchor_, anchor);
}

Result<raft::SnapshotContent> PartitionMachine::Snapshot() {
  if (!fault_.ok()) return fault_;
  if (applied_ < state_.applied) {
    return Status(Reason::kNotCaughtUp, "the partition is still applying what its snapshot already knows; try again shortly");
  }
  const Bytes bytes = EncodeCheckpoint(state_);
  raft::SnapshotContent content{.anchor = anchor_, .chunks = {}};
  for (size_t at = 0; at < bytes.size(); at += flotilla::limits::kSnapshotChunkBytes) {
    content.chunks.push_back(bytes.Slice(at, std::min(flotilla::limits::kSnapshotChunkBytes, bytes.size() - at)));
  }
  return content;
}

void PartitionMachine::OnLeadership(const Leadership& leadership) {
  if (!fault_.ok()) return;
  leadership_ = leadership;
  observer_.OnLeadership();
}

void PartitionMachine::OnFault(const Status& reason) { EnterFault(reason); }

void PartitionMachine::EnterFault(Status reason) {
  if (!fault_.ok()) return;
  fault_ = std::move(reason);
  leadership_ = {.role = raft::Role::kFollower, .term = leadership_.term};
  LOG(ERROR) << "a partition stops: " << fault_;
  observer_.OnFault();
}

}  // namespace flotilla::partition
