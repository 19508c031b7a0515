// One synced write in the making: tasks become rows of one WriteBatch, and groups as they will be once it is
// synced.
//
//   batch.Begin({.number = number, .ahead = ..., .settle = ...});
//   for (WriteTask& task : tasks) outcomes.push_back(batch.Add(task));   // a refused task leaves nothing behind
//   batch.Seal();
//   if (!batch.empty()) engine.WriteSynced(&batch.rows());
//   for (auto& [group, draft] : batch.drafts()) ... publish ...
//
// One thread at a time. After Seal the drafts do not change until the next Begin, but for `appended`, which belongs to who
// publishes; so the batch behind can be built on them meanwhile.
#pragma once

#include <rocksdb/write_batch.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "storage/log/log_store.h"
#include "storage/log/task_check.h"
#include "storage/rocks/engine.h"
#include "storage/rocks/group.h"
#include "storage/rocks/rows.h"

namespace flotilla::storage {

// Which log family the next group gets: the one with the fewest groups.
class FamilyPool {
 public:
  explicit FamilyPool(uint32_t families) : groups_(families) {}
  uint32_t Emptiest() const;
  void Add(uint32_t family) { ++groups_[family], ++total_; }
  void Remove(uint32_t family) { --groups_[family], --total_; }
  uint64_t total() const { return total_; }

 private:
  std::vector<uint64_t> groups_;
  uint64_t total_ = 0;
};

// A group as the batch will leave it.
struct GroupDraft {
  std::optional<GroupState> before;  // what the rows on the disk say; nothing: not there, or made anew in this batch
  std::optional<GroupState> state;
  GroupPlace place;
  GroupPlace place_before;
  LogIndex tail_cut = LogIndex{UINT64_MAX};
  std::vector<Entry> appended;  // the log's end, from this batch
  bool removes = false;
  std::optional<uint32_t> destroyed_in;  // the family that has files of a former life of it
};

class TaskBatch {
 public:
  // All outlive the batch. `destroyed`: groups with a kReclaim row, by id.
  TaskBatch(Engine& engine, const GroupTable& table, FamilyPool& pool, std::map<GroupId, uint32_t>& destroyed, uint32_t node_mark)
      : engine_(engine), table_(table), pool_(pool), destroyed_(destroyed), node_mark_(node_mark) {}

  struct Start {
    uint64_t number = 0;
    const TaskBatch* ahead = nullptr;  // sealed, and perhaps not published yet; null: all others are published
    std::function<void()> settle;      // waits until it is published
  };
  // Forgets what was in it.
  void Begin(Start start);
  // Decides and, when the task is sound, adds it.
  Status Add(const WriteTask& task);
  // Entries of the group up to `upto` left the files: removes what is left of them.
  void AddTrimReclaimed(GroupId group, LogIndex upto);
  void AddDestroyReclaimed(GroupId group);

  // Whether nothing would be written but the batch's number.
  bool empty() const { return batch_.Count() == 1; }
  // Adds the rows of all groups in it. Once.
  void Seal();
  rocksdb::WriteBatch& rows() { return batch_; }

  std::map<GroupId, GroupDraft>& drafts() { return drafts_; }
  const std::map<GroupId, GroupDraft>& drafts() const { return drafts_; }
  const std::set<Family>& families() const { return families_; }  // which hold data of it
  uint64_t entries() const { return entries_; }
  uint64_t entry_bytes() const { return entry_bytes_; }

 private:
  GroupDraft& DraftOf(GroupId group);
  const GroupDraft* DraftAhead(GroupId group) const;
  Result<LogAnchor> AnchorAt(const GroupDraft& draft, GroupId group, LogIndex index);
  Status CheckBeyondPlan(const WriteTask& task) const;
  void PutTask(const WriteTask& task, const TaskEffect& effect, GroupDraft* draft);
  void PutEntries(const WriteTask& task, GroupDraft* draft);
  void PutState(const WriteTask& task);
  void PutChunks(const WriteTask& task);
  void DestroyRows(GroupId group, GroupDraft* draft);
  void PutGroupRows(GroupId group, const GroupDraft& draft);
  void PutMeta(GroupId group, RowKind kind, const std::string& value);
  void DeleteRange(Family family, const std::string& begin, const std::string& end);

  Engine& engine_;
  const GroupTable& table_;
  FamilyPool& pool_;
  std::map<GroupId, uint32_t>& destroyed_;
  const uint32_t node_mark_;

  Start start_;
  rocksdb::WriteBatch batch_;
  std::map<GroupId, GroupDraft> drafts_;
  std::set<Family> families_;
  uint64_t entries_ = 0;
  uint64_t entry_bytes_ = 0;
  std::string header_;  // reused
};

}  // namespace flotilla::storage
