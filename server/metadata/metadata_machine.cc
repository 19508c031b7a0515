#include "server/metadata/metadata_machine.h"

#include <utility>

#include "server/metadata/image_codec.h"
#include "server/metadata/records.h"
#include "server/metadata/replay.h"

namespace flotilla::metadata {
namespace {

// Where in the log it was.
Status At(LogIndex index, const Status& what) {
  Status where(what.reason(), "index " + std::to_string(index.value()) + ": " + std::string(what.message()));
  if (const auto level = UnknownFeatureLevelIn(what)) where = std::move(where).With("feature_level", *level);
  return where;
}

}  // namespace

LogIndex MetadataMachine::AppliedOnOpen(const storage::GroupState& state, const storage::LogReader&) {
  // The image lives in memory: it begins with the snapshot, and the log is replayed.
  applied_ = state.bounds.start.last.index;
  return applied_;
}

Status MetadataMachine::Restore(const storage::SnapshotMeta& meta, raft::SnapshotReader& reader) {
  std::vector<Bytes> chunks;
  for (uint32_t number = 0; number < reader.chunks(); ++number) {
    Result<Bytes> chunk = reader.Chunk(number);
    if (!chunk.ok()) return chunk.status();
    chunks.push_back(*std::move(chunk));
  }
  Result<Shared<Image>> image = DecodeImage(chunks, supported_);
  if (!image.ok()) return image.status();
  applied_ = meta.anchor.last.index;
  bytes_since_snapshot_ = 0;
  Publish(*std::move(image));
  return {};
}

void MetadataMachine::Apply(std::span<const storage::Entry> entries, std::vector<storage::StateWrite>* /*rows*/) {
  if (!health_.ok()) return;
  Shared<Image> image = image_;
  Status failed;
  for (const storage::Entry& entry : entries) {
    Result<Shared<Image>> next = Replay(image, entry);
    failed = next.status();
    if (!failed.ok()) break;
    image = *std::move(next);
    applied_ = entry.index();
    bytes_since_snapshot_ += entry.bytes();
  }
  Publish(std::move(image));
  if (!failed.ok()) Halt(std::move(failed));
}

Result<Shared<Image>> MetadataMachine::Replay(const Shared<Image>& image, const storage::Entry& entry) const {
  switch (entry.header.kind) {
    case storage::EntryKind::kNoop:
    case storage::EntryKind::kConfiguration: return image;
    case storage::EntryKind::kControl: break;
    case storage::EntryKind::kData:
    case storage::EntryKind::kTrim:
      return Status(Reason::kReplicaFaulted, std::string("an entry of kind ") + storage::EntryKindName(entry.header.kind) + " at index " +
                                                 std::to_string(entry.index().value()) + " of the metadata's log");
  }
  const Result<Batch> batch = DecodeBatch(entry.payload.view(), supported_);
  if (!batch.ok()) return At(entry.index(), batch.status());
  Result<Shared<Image>> after = ReplayBatch(image, *batch, entry.index());
  // The batch that raises the level is of the old one, so that everybody understands it. From there on this program would guess.
  if (after.ok() && (*after)->cluster && !supported_.Contains((*after)->feature_level())) {
    return At(entry.index(), UnknownFeatureLevel((*after)->feature_level(), supported_));
  }
  return after;
}

Result<raft::SnapshotContent> MetadataMachine::Snapshot() {
  if (!health_.ok()) return health_;
  bytes_since_snapshot_ = 0;
  return raft::SnapshotContent{.anchor = applied_, .chunks = EncodeImage(*image_)};
}

void MetadataMachine::OnLeadership(const Leadership& leadership) {
  for (MetadataListener* listener : listeners_) listener->OnLeadership(leadership);
}

void MetadataMachine::OnConfiguration(const raft::Configuration& configuration, LogIndex /*index*/) {
  for (MetadataListener* listener : listeners_) listener->OnConfiguration(configuration);
}

void MetadataMachine::OnFault(const Status& reason) {
  if (health_.ok()) Halt(reason);
}

void MetadataMachine::Publish(Shared<Image> image) {
  if (image->version == image_->version) return;
  const Shared<Image> before = std::exchange(image_, std::move(image));
  feed_.Publish(image_);
  for (MetadataListener* listener : listeners_) listener->OnImage(before, image_);
}

void MetadataMachine::Halt(Status reason) {
  LOG(ERROR) << "metadata replay halted: version=" << image_->version << " applied=" << applied_ << " reason=\"" << reason << "\"";
  health_ = std::move(reason);
  for (MetadataListener* listener : listeners_) listener->OnHalt(health_);
}

}  // namespace flotilla::metadata
