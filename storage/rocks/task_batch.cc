#include "storage/rocks/task_batch.h"

#include <algorithm>
#include <array>

#include "storage/base/coding.h"
#include "storage/rocks/reader.h"
#include "storage/rocks/rocks_status.h"

namespace flotilla::storage {
namespace {

// A batch that held a huge task gives its memory back.
constexpr size_t kBatchBytesKept = 4 * limits::kWriteGroupBytesMax;

// Entries come as slices of large received buffers. What is kept for long must not keep those.
void OwnWhatIsKept(const WriteTask& task, GroupState* state) {
  if (task.snapshot) state->snapshot.configuration = Bytes::Copy(task.snapshot->configuration.view());
  if (task.entries.empty()) return;
  for (auto entry = state->configurations.rbegin(); entry != state->configurations.rend(); ++entry) {
    if (entry->index() < task.entries.front().index()) break;
    entry->payload = Bytes::Copy(entry->payload.view());
  }
}

std::vector<LogIndex> IndexesOf(const std::vector<Entry>& entries) {
  std::vector<LogIndex> indexes;
  for (const Entry& entry : entries) indexes.push_back(entry.index());
  return indexes;
}

}  // namespace

uint32_t FamilyPool::Emptiest() const { return static_cast<uint32_t>(std::min_element(groups_.begin(), groups_.end()) - groups_.begin()); }

void TaskBatch::Begin(Start start) {
  start_ = std::move(start);
  if (batch_.GetDataSize() > kBatchBytesKept) batch_ = rocksdb::WriteBatch();
  batch_.Clear();
  drafts_.clear();
  families_.clear();
  entries_ = 0;
  entry_bytes_ = 0;
  batch_.Put(engine_.family(kMetaFamily), ToSlice(BatchNumberKey()), EncodeBatch({start_.number, node_mark_}));
  families_.insert(kMetaFamily);
}

Status TaskBatch::Add(const WriteTask& task) {
  GroupDraft& draft = DraftOf(task.group);
  const Result<TaskEffect> effect =
      PlanTask(draft.state ? &*draft.state : nullptr, task, [&](LogIndex index) { return AnchorAt(draft, task.group, index); });
  if (!effect.ok()) return effect.status();
  FLOTILLA_RETURN_IF_ERROR(CheckBeyondPlan(task));
  PutTask(task, *effect, &draft);
  return {};
}

Status TaskBatch::CheckBeyondPlan(const WriteTask& task) const {
  if (task.create && pool_.total() >= limits::kGroupsPerNodeMax) {
    return Status(Reason::kLimitExceeded,
                  "this node has " + std::to_string(pool_.total()) + " groups, the limit; place the group on another node");
  }
  // What is damaged now would be found only when it is read: the checksum costs a thirtieth of the write.
  for (const Entry& entry : task.entries) FLOTILLA_RETURN_IF_ERROR(VerifyEntry(entry));
  return {};
}

GroupDraft& TaskBatch::DraftOf(GroupId group) {
  const auto [at, fresh] = drafts_.try_emplace(group);
  GroupDraft& draft = at->second;
  if (!fresh) return draft;
  if (const GroupDraft* const ahead = DraftAhead(group)) {
    draft.before = ahead->state;
    draft.place = ahead->place;
  } else if (const std::shared_ptr<Group> published = table_.Find(group)) {
    draft.before = published->State();
    draft.place = published->place();
  }
  draft.state = draft.before;
  draft.place_before = draft.place;
  return draft;
}

const GroupDraft* TaskBatch::DraftAhead(GroupId group) const {
  if (start_.ahead == nullptr) return nullptr;
  const auto draft = start_.ahead->drafts().find(group);
  return draft == start_.ahead->drafts().end() ? nullptr : &draft->second;
}

Result<LogAnchor> TaskBatch::AnchorAt(const GroupDraft& draft, GroupId group, LogIndex index) {
  if (!draft.appended.empty() && index >= draft.appended.front().index()) {
    return AnchorAfter(draft.appended[index - draft.appended.front().index()].header);
  }
  start_.settle();
  if (const std::shared_ptr<Group> published = table_.Find(group)) {
    if (const auto cached = published->FromTail(index, index + 1, {})) return AnchorAfter(cached->front().header);
  }
  rocksdb::PinnableSlice value;
  const rocksdb::Status status = engine_.db().Get(rocksdb::ReadOptions(), engine_.log(draft.place.family), LogKey(group, index), &value);
  if (!status.ok()) return EntryLost(group, index, status.ToString());
  const Result<EntryHeader> header = CheckHeader(group, index, ToView(value));
  if (!header.ok()) return header.status();
  return AnchorAfter(*header);
}

void TaskBatch::PutTask(const WriteTask& task, const TaskEffect& effect, GroupDraft* draft) {
  if (task.create) {
    draft->place = {.family = pool_.Emptiest(), .reclaimed = LogIndex{}};
    pool_.Add(draft->place.family);
    if (destroyed_.erase(task.group) != 0) {
      batch_.Delete(engine_.family(kMetaFamily), MetaKey(task.group, RowKind::kReclaim));
    }
  }
  const Family log = kFirstLogFamily + draft->place.family;
  if (!effect.trimmed.empty()) draft->removes = true;
  if (task.replace_log) {
    // Also when nothing is left to remove: what earlier tasks of this batch appended and trimmed is not followed by what comes now.
    DeleteRange(log, GroupPrefix(task.group), GroupEnd(task.group));
    draft->appended.clear();
    draft->tail_cut = LogIndex{};
  }
  if (task.snapshot && task.replace_log) {
    draft->place.reclaimed = std::min(draft->place.reclaimed, task.snapshot->anchor.last.index);
  }
  if (!effect.overwritten.empty()) {
    DeleteRange(log, LogKey(task.group, effect.overwritten.first), LogKey(task.group, effect.overwritten.end));
    draft->removes = true;
    const LogIndex first = effect.overwritten.first;
    while (!draft->appended.empty() && draft->appended.back().index() >= first) draft->appended.pop_back();
    draft->tail_cut = std::min(draft->tail_cut, first);
  }
  PutEntries(task, draft);
  PutState(task);
  PutChunks(task);
  ApplyTask(task, &draft->state);
  if (task.destroy) return DestroyRows(task.group, draft);
  OwnWhatIsKept(task, &*draft->state);
  if (task.create) draft->place.reclaimed = draft->state->bounds.start.last.index;
}

void TaskBatch::PutEntries(const WriteTask& task, GroupDraft* draft) {
  if (task.entries.empty()) return;
  families_.insert(kFirstLogFamily + draft->place.family);
  std::array<char, kLogKeyBytes> key;
  PutBig64(task.group.value(), key.data());
  const rocksdb::Slice key_slice(key.data(), key.size());
  for (const Entry& entry : task.entries) {
    PutBig64(entry.index().value(), key.data() + 8);
    header_.clear();
    EncodeEntryHeader(entry.header, &header_);
    const std::array<rocksdb::Slice, 2> parts = {ToSlice(header_), ToSlice(entry.payload.view())};
    batch_.Put(engine_.log(draft->place.family), rocksdb::SliceParts(&key_slice, 1), rocksdb::SliceParts(parts.data(), parts.size()));
    entry_bytes_ += header_.size() + entry.payload.size();
    draft->appended.push_back(entry);
  }
  entries_ += task.entries.size();
}

void TaskBatch::PutState(const WriteTask& task) {
  if (task.state.empty()) return;
  rocksdb::ColumnFamilyHandle* family = engine_.family(kStateFamily);
  families_.insert(kStateFamily);
  for (const StateWrite& row : task.state) {
    const std::string key = StateKey(task.group, row.key);
    switch (row.kind) {
      case StateWrite::Kind::kPut: batch_.Put(family, key, ToSlice(row.value.view())); break;
      case StateWrite::Kind::kDelete: batch_.Delete(family, key); break;
      case StateWrite::Kind::kDeletePrefix: DeleteRange(kStateFamily, key, PrefixEnd(key)); break;
    }
  }
}

void TaskBatch::PutChunks(const WriteTask& task) {
  for (const SnapshotChunkWrite& chunk : task.chunks) {
    const std::string key = ChunkKey(task.group, chunk.id, chunk.number);
    header_.clear();
    AppendLittle<uint32_t>(ChunkChecksum(key, chunk.data.view()), &header_);
    const rocksdb::Slice key_slice = ToSlice(key);
    const std::array<rocksdb::Slice, 2> parts = {ToSlice(header_), ToSlice(chunk.data.view())};
    batch_.Put(engine_.family(kSnapshotsFamily), rocksdb::SliceParts(&key_slice, 1), rocksdb::SliceParts(parts.data(), parts.size()));
    families_.insert(kSnapshotsFamily);
  }
  for (const uint64_t id : task.drop_snapshots) {
    const std::string prefix = SnapshotPrefix(task.group, id);
    DeleteRange(kSnapshotsFamily, prefix, PrefixEnd(prefix));
  }
}

void TaskBatch::DestroyRows(GroupId group, GroupDraft* draft) {
  rocksdb::ColumnFamilyHandle* meta = engine_.family(kMetaFamily);
  for (const RowKind kind : kGroupRows) batch_.Delete(meta, MetaKey(group, kind));
  const std::string begin = GroupPrefix(group);
  const std::string end = GroupEnd(group);
  DeleteRange(kFirstLogFamily + draft->place.family, begin, end);
  DeleteRange(kStateFamily, begin, end);
  DeleteRange(kSnapshotsFamily, begin, end);
  const std::string key = MetaKey(group, RowKind::kReclaim);
  batch_.Put(meta, key, EncodeNumber(key, draft->place.family));
  destroyed_[group] = draft->place.family;
  pool_.Remove(draft->place.family);
  draft->before.reset();  // a group made after this one has none of its rows
  draft->removes = true;
  draft->appended.clear();
  draft->tail_cut = LogIndex{};
}

void TaskBatch::AddTrimReclaimed(GroupId group, LogIndex upto) {
  GroupDraft& draft = DraftOf(group);
  if (!draft.state || upto > draft.state->bounds.start.last.index || upto <= draft.place.reclaimed) return;
  DeleteRange(kFirstLogFamily + draft.place.family, LogKey(group, draft.place.reclaimed), LogKey(group, upto + 1));
  draft.place.reclaimed = upto;
}

void TaskBatch::AddDestroyReclaimed(GroupId group) {
  if (destroyed_.erase(group) != 0) batch_.Delete(engine_.family(kMetaFamily), MetaKey(group, RowKind::kReclaim));
}

void TaskBatch::Seal() {
  for (auto& [group, draft] : drafts_) {
    PutGroupRows(group, draft);
    if (const auto destroyed = destroyed_.find(group); destroyed != destroyed_.end()) draft.destroyed_in = destroyed->second;
  }
}

void TaskBatch::PutGroupRows(GroupId group, const GroupDraft& draft) {
  if (!draft.state) return;
  const GroupState& now = *draft.state;
  const std::optional<GroupState>& before = draft.before;
  if (!before || before->identity != now.identity) {
    const std::string key = MetaKey(group, RowKind::kIdentity);
    PutMeta(group, RowKind::kIdentity, EncodeIdentityRow(key, {now.identity, draft.place.family}));
  }
  if (!before || before->hard_state != now.hard_state) {
    PutMeta(group, RowKind::kHardState, EncodeHardState(MetaKey(group, RowKind::kHardState), now.hard_state));
  }
  if (!before || before->bounds != now.bounds || draft.place_before.reclaimed != draft.place.reclaimed) {
    const BoundsRow row{now.bounds, draft.place.reclaimed};
    PutMeta(group, RowKind::kBounds, EncodeBounds(MetaKey(group, RowKind::kBounds), row));
  }
  if (!before || before->terms != now.terms) {
    PutMeta(group, RowKind::kTerms, EncodeTerms(MetaKey(group, RowKind::kTerms), now.terms));
  }
  if (!before || IndexesOf(before->configurations) != IndexesOf(now.configurations)) {
    const std::string key = MetaKey(group, RowKind::kConfigurations);
    PutMeta(group, RowKind::kConfigurations, EncodeIndexes(key, IndexesOf(now.configurations)));
  }
  if (!before || before->snapshot != now.snapshot) {
    PutMeta(group, RowKind::kSnapshot, EncodeSnapshot(MetaKey(group, RowKind::kSnapshot), now.snapshot));
  }
}

void TaskBatch::PutMeta(GroupId group, RowKind kind, const std::string& value) {
  batch_.Put(engine_.family(kMetaFamily), MetaKey(group, kind), value);
}

void TaskBatch::DeleteRange(Family family, const std::string& begin, const std::string& end) {
  batch_.DeleteRange(engine_.family(family), begin, end);
  families_.insert(family);
}

}  // namespace flotilla::storage
