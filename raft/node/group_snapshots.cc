// A group's snapshots: making them, cutting the log behind them, sending them, receiving them.
#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "raft/node/group.h"
#include "storage/base/crc32c.h"

namespace flotilla::raft {
namespace {

// Chunks of an own snapshot in one task. One task at a time, so that the group's log does not wait behind a gigabyte.
constexpr uint32_t kChunksPerTask = limits::kMiB / limits::kSnapshotChunkBytes;

// More would be a chunk for every few bytes.
constexpr uint32_t kChunksMax = 1 << 20;

// Whether what a leader says of a snapshot, and the chunk itself, can be true.
bool WellFormed(const SnapshotChunk& chunk) {
  const storage::SnapshotMeta& meta = chunk.meta;
  return meta.chunks > 0 && meta.chunks <= kChunksMax && meta.bytes <= limits::kSnapshotBytesMax && chunk.number < meta.chunks &&
         chunk.data.size() <= limits::kSnapshotChunkBytes && DecodeConfiguration(meta.configuration.view()).ok();
}

}  // namespace

// --- making

Status Group::TakeSnapshot() {
  if (shelf_ && (shelf_->making || shelf_->ready_cut)) {
    return Status(Reason::kOverloaded, "a snapshot of this group is being written; try again when it is done");
  }
  return MakeSnapshot(false);
}

Status Group::MakeSnapshot(bool for_follower) {
  if (!core_.fault().ok()) return core_.fault();
  if (restoring_) return Status(Reason::kOverloaded, "a snapshot of the leader is being installed; try again when it is done");
  Result<SnapshotContent> content = machine_.Snapshot();
  if (closed_) return Status(Reason::kCancelled, "the group was closed");
  if (!content.ok()) return content.status();
  const LogIndex start = core_.log().start().last.index;
  if (content->anchor < start || content->anchor > applied_ || content->chunks.empty()) {
    return Status(Reason::kInvalidArgument, "the snapshot stands for index " + std::to_string(content->anchor.value()) + " and has " +
                                                std::to_string(content->chunks.size()) + " chunks; the log begins after " +
                                                std::to_string(start.value()) + " and " + std::to_string(applied_.value()) + " is applied");
  }
  const LogIndex newest = shelf().ready ? shelf().ready->anchor.last.index : start;
  if (content->anchor <= newest && !for_follower) return {};  // nothing to cut
  const Configuration& members = core_.log().ConfigurationAt(content->anchor);
  if (members.empty()) {
    // This replica joined with an empty log: it was never told the members before the first change that it has.
    return Status(Reason::kNotCaughtUp, "the members at index " + std::to_string(content->anchor.value()) +
                                            " are not known here; try again when a later index is to be cut");
  }
  uint64_t bytes = 0;
  uint32_t checksum = 0;
  for (const Bytes& chunk : content->chunks) {
    if (chunk.size() > limits::kSnapshotChunkBytes) {
      return Status(Reason::kLimitExceeded, "a snapshot chunk of " + std::to_string(chunk.size()) + " bytes; the limit is " +
                                                std::to_string(limits::kSnapshotChunkBytes));
    }
    bytes += chunk.size();
    checksum = crc32c::Extend(checksum, chunk.data(), chunk.size());
  }
  if (bytes > limits::kSnapshotBytesMax) {
    return Status(Reason::kLimitExceeded,
                  "a snapshot of " + std::to_string(bytes) + " bytes; the limit is " + std::to_string(limits::kSnapshotBytesMax));
  }
  if (std::exchange(cleanup_due_, false)) CleanShelf();
  const std::optional<uint64_t> slot = shelf().NextId();
  if (!slot) return Status(Reason::kOverloaded, "earlier snapshots of this group are still being sent; try again later");

  Making making;
  making.meta.configuration = EncodeConfiguration(members);
  making.meta.id = *slot;
  making.meta.bytes = bytes;
  making.meta.chunks = static_cast<uint32_t>(content->chunks.size());
  making.meta.checksum = checksum;
  making.chunks = std::move(content->chunks);
  shelf().making = std::move(making);
  FindAnchor(content->anchor);
  return {};
}

// What the log says of the anchor's entry; the making goes on when it is known.
void Group::FindAnchor(LogIndex index) {
  Making& making = *shelf_->making;
  const RaftLog& log = core_.log();
  making.anchored = true;
  if (index == log.start().last.index) {
    making.meta.anchor = log.start();
  } else if (auto tail = log.TailEntries(index, index + 1, 1, 1)) {
    making.meta.anchor = storage::AnchorAfter(tail->front().header);
  } else if (auto cached = node_.store.ReadCached(id(), index, index + 1, {.bytes = 1})) {
    making.meta.anchor = storage::AnchorAfter(cached->front().header);
  } else {
    making.anchored = false;
    node_.Read({.group = id(),
                .opening = opening_,
                .wanted = EntriesWanted{.purpose = EntriesWanted::Purpose::kAnchor,
                                        .ticket = making.meta.id,
                                        .first = index,
                                        .last = index + 1,
                                        .bytes_max = 1,
                                        .to = {},
                                        .term = {}}});
    return;
  }
  WriteOwnChunks();
}

void Group::WriteOwnChunks() {
  Making& making = *shelf_->making;
  PendingWrite write;
  write.kind = PendingWrite::Kind::kOwnChunks;
  write.snapshot = making.meta.id;
  const uint32_t end = std::min(making.meta.chunks, making.written + kChunksPerTask);
  for (; making.written < end; ++making.written) {
    Bytes& data = making.chunks[making.written];
    write.task.chunks.push_back({.id = making.meta.id, .number = making.written, .data = std::exchange(data, {})});
  }
  Enqueue(std::move(write));
}

void Group::OwnChunksWritten(const PendingWrite& write, const Status& status) {
  if (!shelf_->making || shelf_->making->meta.id != write.snapshot) return;  // overtaken by the leader's
  if (!status.ok()) return GiveUpMaking(status);
  if (shelf_->making->written < shelf_->making->meta.chunks) return WriteOwnChunks();
  SnapshotMade();
}

void Group::SnapshotMade() {
  SnapshotShelf& all = *shelf_;
  CHECK(!all.ready_cut) << "made behind one that is becoming current";
  const std::optional<storage::SnapshotMeta> older = std::exchange(all.ready, std::move(all.making->meta));
  all.making.reset();
  if (older) DropSnapshot(older->id);
  for (ReplicaId to : std::exchange(all.wanted_by, {})) SendSnapshot(to);
  node_.Wake(*this);
}

void Group::GiveUpMaking(const Status& why) {
  LOG(WARNING) << "snapshot given up group=" << id() << " reason=" << why;
  const uint64_t snapshot = shelf_->making->meta.id;
  shelf_->making.reset();
  const std::vector<ReplicaId> wanted_by = std::exchange(shelf_->wanted_by, {});
  if (why.reason() != Reason::kDiskFull) return Fail(why);
  DropSnapshot(snapshot);
  for (ReplicaId to : wanted_by) SnapshotSent(to, std::nullopt);
}

// --- cutting the log

// When the followers allow. Looked at once a tick, since it asks for all of them.
void Group::CutLog() {
  SnapshotShelf& all = *shelf_;
  if (all.making || restoring_) return;
  if (all.cut_tried_at == node_.now) {
    all.cut_due = node_.now + 1;
    return;
  }
  all.cut_tried_at = node_.now;
  all.cut_due = kNever;
  if (all.ready->anchor.last.index > NeededByFollowers()) return;
  all.ready_cut = true;
  WriteRows();  // what they reflect is about to leave the log
  core_.Compact(*all.ready);
  node_.Wake(*this);
}

// Entries up to there are needed by no follower, as far as this replica is to care. A replica that leads nobody cares for nobody.
LogIndex Group::NeededByFollowers() const {
  LogIndex needed = applied_;
  if (core_.role() != Role::kLeader) return needed;
  for (const ReplicaStatus& replica : core_.status().replicas) {
    const LogIndex has = std::max(replica.match, node_.snapshots.AnchorFor(*this, replica.id));
    if (core_.log().last() - has > node_.options.keep_entries_for_followers) continue;
    needed = std::min(needed, has);
  }
  return needed;
}

void Group::SnapshotIsCurrent(const storage::SnapshotMeta& meta) {
  SnapshotShelf& all = shelf();
  all.current.reset();
  if (meta.chunks != 0) all.current = meta;
  if (all.ready && all.ready->id == meta.id) {
    all.ready.reset();
    all.ready_cut = false;
  }
  if (all.staging && all.staging->id == meta.id) {
    ReplyChunk(*all.staging, {.done = true});
    all.staging.reset();
  }
}

void Group::DropSnapshot(uint64_t snapshot) {
  if (node_.snapshots.Uses(*this, snapshot)) {
    shelf_->retired.push_back(snapshot);
  } else {
    DropSnapshots({snapshot});
  }
}

void Group::SnapshotReleased(uint64_t snapshot) {
  if (closed_ || !shelf_ || node_.snapshots.Uses(*this, snapshot)) return;
  const auto retired = std::find(shelf_->retired.begin(), shelf_->retired.end(), snapshot);
  if (retired == shelf_->retired.end()) return;
  shelf_->retired.erase(retired);
  DropSnapshots({snapshot});
}

// --- sending

// The newest one there is; one is made if there is none.
void Group::SendSnapshot(ReplicaId to) {
  if (core_.role() != Role::kLeader) return;
  // A former life of this replica, which the members still name: nobody is there to take it.
  if (to.node == core_.self().node) return SnapshotSent(to, std::nullopt);
  SnapshotShelf& all = shelf();
  const LogIndex start = core_.log().start().last.index;
  const std::optional<storage::SnapshotMeta>& snapshot = all.ready ? all.ready : all.current;
  if (snapshot && snapshot->anchor.last.index >= start) {
    ++snapshot_sends_;
    node_.snapshots.Start(*this, to, core_.term(), *snapshot);
    return;
  }
  if (!all.making) {
    if (const Status made = MakeSnapshot(true); !made.ok()) {
      LOG(WARNING) << "no snapshot for a follower group=" << id() << " to=" << to << " reason=" << made;
      SnapshotSent(to, std::nullopt);
      return;
    }
  }
  all.wanted_by.push_back(to);
}

// --- receiving

void Group::OnChunk(SnapshotChunk chunk) {
  CatchUp();
  if (!core_.fault().ok() || chunk.to != core_.self()) return;
  // Its sender leads: as good as a heartbeat, and answered like one when it is wrong about that.
  core_.Step({id(), chunk.from, chunk.to, chunk.term, Heartbeat{}});
  if (core_.role() != Role::kFollower || core_.leader() != chunk.from || core_.term() != chunk.term) return;
  ++snapshot_chunks_received_;
  SnapshotShelf& all = shelf();
  if (all.staging && all.staging->installing) return;  // answered when it is durable
  if (!WellFormed(chunk)) {
    LOG(WARNING) << "impossible snapshot chunk group=" << id() << " from=" << chunk.from << " number=" << chunk.number;
    return;
  }
  if (all.staging && all.staging->theirs != chunk.meta) AbandonStaging();
  if (!all.staging && !BeginStaging(chunk)) return;
  Staging& staging = *all.staging;
  staging.from = chunk.from;
  staging.term = chunk.term;
  staging.expires_at = node_.now + node_.options.snapshot_timeout_ticks;
  if (chunk.meta.anchor.last.index <= core_.commit()) {
    ReplyChunk(staging, {.done = true});  // the log is here already
    AbandonStaging();
    return;
  }
  if (staging.durable == staging.theirs.chunks) return InstallStaged();            // what an earlier leader began
  if (chunk.number < staging.accepted && chunk.number >= staging.durable) return;  // answered when it is durable
  if (chunk.number != staging.accepted || crc32c::Value(chunk.data.view()) != chunk.checksum) {
    ReplyChunk(staging, {});
    return;
  }
  ++staging.accepted;
  staging.writing.push_back(chunk.data);
  PendingWrite write;
  write.kind = PendingWrite::Kind::kStagedChunk;
  write.snapshot = staging.id;
  write.chunk = chunk.number;
  write.task.chunks.push_back({.id = staging.id, .number = chunk.number, .data = std::move(chunk.data)});
  Enqueue(std::move(write));
}

// A place for what the leader sends. False: there is none now.
bool Group::BeginStaging(const SnapshotChunk& chunk) {
  if (std::exchange(cleanup_due_, false)) CleanShelf();
  Staging staging{.theirs = chunk.meta, .from = chunk.from, .term = chunk.term};
  const std::optional<uint64_t> slot = shelf_->NextId();
  if (!slot) {
    ReplyChunk(staging, {.refused = true});
    return false;
  }
  staging.id = *slot;
  shelf_->staging = std::move(staging);
  return true;
}

void Group::StagedChunkWritten(const PendingWrite& write, const Status& status) {
  if (!shelf_->staging || shelf_->staging->id != write.snapshot) return;  // abandoned meanwhile
  Staging& staging = *shelf_->staging;
  if (!status.ok() && status.reason() != Reason::kDiskFull) return Fail(status);
  // Behind one that was refused: that one comes again, and then this one.
  if (write.chunk != staging.durable || staging.writing.empty()) return;
  if (!status.ok()) {
    staging.accepted = staging.durable;
    staging.writing.clear();
    ReplyChunk(staging, {.refused = true});
    return;
  }
  staging.checksum = crc32c::Extend(staging.checksum, staging.writing.front().data(), staging.writing.front().size());
  staging.bytes += staging.writing.front().size();
  staging.writing.pop_front();
  ++staging.durable;
  if (staging.durable < staging.theirs.chunks) {
    ReplyChunk(staging, {});
  } else if (staging.checksum != staging.theirs.checksum || staging.bytes != staging.theirs.bytes) {
    LOG(ERROR) << "snapshot refused, its checksum is wrong group=" << id() << " from=" << staging.from
               << " anchor=" << staging.theirs.anchor.last;
    // From the beginning, and not at once: it may be the leader's copy that is wrong.
    const Staging anew{.theirs = staging.theirs, .from = staging.from, .term = staging.term};
    AbandonStaging();
    ReplyChunk(anew, {.refused = true});
  } else {
    InstallStaged();
  }
}

void Group::InstallStaged() {
  Staging& staging = *shelf_->staging;
  storage::SnapshotMeta here = staging.theirs;
  here.id = staging.id;
  core_.Step({id(), staging.from, core_.self(), staging.term, SnapshotInstall{here}});
  if (core_.log().start().last == here.anchor.last) {
    staging.installing = true;
  } else if (here.anchor.last.index <= core_.commit()) {
    ReplyChunk(staging, {.done = true});
    AbandonStaging();
  }
  // Otherwise its leader is of the past. The next one may have the same snapshot to send.
}

void Group::AbandonStaging() {
  const uint64_t snapshot = shelf_->staging->id;
  shelf_->staging.reset();
  DropSnapshots({snapshot});
}

void Group::ReplyChunk(const Staging& staging, ChunkAnswer answer) {
  node_.outbox.Add(SnapshotChunkReply{.group = id(),
                                      .from = core_.self(),
                                      .to = staging.from,
                                      .term = core_.term(),
                                      .snapshot_id = staging.theirs.id,
                                      .anchor = staging.theirs.anchor.last.index,
                                      .next = staging.durable,
                                      .done = answer.done,
                                      .refused = answer.refused});
  node_.ScheduleTurn();
}

}  // namespace flotilla::raft
