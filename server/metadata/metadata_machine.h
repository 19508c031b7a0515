// Group 0's state machine: every committed batch becomes the next image. The same on all nodes, leader or
// not.
//
//   MetadataMachine machine(kSupportedFeatures);
//   machine.AddListener(controller);
//   host.OpenGroup(kMetadataGroup, machine);
//   Shared<Image> image = machine.feed().Current();   // any thread
//
// A batch that this program cannot replay (of a newer feature level, damaged, or decided on another image)
// halts the machine: it stays at the last good image, applies nothing more, makes no snapshot, and says why.
// The node should leave the cluster then, and can come back with a program that understands. One machine per
// opening of the group.
#pragma once

#include <vector>

#include "raft/node/state_machine.h"
#include "server/metadata/change_feed.h"
#include "server/metadata/image.h"
#include "server/metadata/records.h"

namespace flotilla::metadata {

inline constexpr GroupId kMetadataGroup{0};
// Bytes of the log after which a snapshot pays: replaying so much takes a fraction of a second.
inline constexpr size_t kSnapshotAfterBytes = 4 * limits::kMiB;

// Who lives with the machine. On its executor.
class MetadataListener {
 public:
  virtual ~MetadataListener() = default;
  // The image is another one. Batches that were applied together, and snapshots, come as one step.
  virtual void OnImage(const Shared<Image>& /*before*/, const Shared<Image>& /*after*/) {}
  virtual void OnLeadership(const raft::StateMachine::Leadership& /*leadership*/) {}
  virtual void OnConfiguration(const raft::Configuration& /*configuration*/) {}
  // The machine halted, or the replica stopped taking part. Once.
  virtual void OnHalt(const Status& /*reason*/) {}
};

class MetadataMachine final : public raft::StateMachine {
 public:
  explicit MetadataMachine(FeatureRange supported, size_t snapshot_after_bytes = kSnapshotAfterBytes)
      : supported_(supported), snapshot_after_bytes_(snapshot_after_bytes) {}

  // Before the group opens. Listeners outlive the group.
  void AddListener(MetadataListener& listener) { listeners_.push_back(&listener); }

  // Its Current() and After(), on any thread.
  ChangeFeed& feed() { return feed_; }
  const ChangeFeed& feed() const { return feed_; }
  // Executor only, as everything below.
  const Shared<Image>& image() const { return image_; }
  // How far the log was applied, batches or not.
  LogIndex applied() const { return applied_; }
  // The levels that this program knows.
  FeatureRange supported() const { return supported_; }
  // OK, or why the machine halted.
  const Status& health() const { return health_; }
  // The log has grown enough since the last snapshot.
  bool WantsSnapshot() const { return health_.ok() && bytes_since_snapshot_ >= snapshot_after_bytes_; }

  // raft::StateMachine
  LogIndex AppliedOnOpen(const storage::GroupState& state, const storage::LogReader& reader) override;
  Status Restore(const storage::SnapshotMeta& meta, raft::SnapshotReader& reader) override;
  void Apply(std::span<const storage::Entry> entries, std::vector<storage::StateWrite>* rows) override;
  Result<raft::SnapshotContent> Snapshot() override;
  void OnLeadership(const Leadership& leadership) override;
  void OnConfiguration(const raft::Configuration& configuration, LogIndex index) override;
  void OnFault(const Status& reason) override;

 private:
  // The image after the entry.
  Result<Shared<Image>> Replay(const Shared<Image>& image, const storage::Entry& entry) const;
  void Publish(Shared<Image> image);
  void Halt(Status reason);

  const FeatureRange supported_;
  const size_t snapshot_after_bytes_;
  std::vector<MetadataListener*> listeners_;
  ChangeFeed feed_;
  Shared<Image> image_ = std::make_shared<const Image>();
  LogIndex applied_;
  size_t bytes_since_snapshot_ = 0;
  Status health_;
};

}  // namespace flotilla::metadata
