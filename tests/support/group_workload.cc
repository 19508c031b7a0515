#include "tests/support/group_workload.h"

#include <algorithm>
#include <utility>

#include "storage/base/limits.h"
#include "tests/support/entry_maker.h"

namespace flotilla::storage {
namespace {

// Above it the start moves, so that a run of hours stays small.
constexpr size_t kEntriesMax = 60;

}  // namespace

LogAnchor GroupModel::AnchorAt(LogIndex index) const {
  return index == start.last.index ? start : AnchorAfter(entries[index - start.last.index - 1]);
}

std::ostream& operator<<(std::ostream& out, const GroupModel& model) {
  out << "group " << model.group;
  if (!model.exists) return out << " (none)";
  return out << " log (" << model.start.last << ", " << model.AnchorAt(model.last_index()).last << "] ending at offset "
             << model.AnchorAt(model.last_index()).end_offset << ", term " << model.hard_state.term << ", vote "
             << model.hard_state.voted_for << ", commit " << model.hard_state.commit << ", " << model.rows.size() << " rows";
}

Result<GroupModel> ReadModel(const LogReader& store, GroupId group) {
  GroupModel model{.group = group};
  Result<GroupState> state = store.Load(group);
  if (state.status().reason() == Reason::kGroupNotFound) return model;
  if (!state.ok()) return state.status();
  model.exists = true;
  model.start = state->bounds.start;
  model.hard_state = state->hard_state;
  const LogIndex end = state->bounds.last_index() + 1;
  while (model.last_index() + 1 < end) {
    Result<std::vector<Entry>> entries = store.Read(group, model.last_index() + 1, end, {});
    if (!entries.ok()) return entries.status();
    for (const Entry& entry : *entries) {
      FLOTILLA_RETURN_IF_ERROR(VerifyEntry(entry));
      model.entries.push_back(entry.header);
    }
  }
  Result<std::vector<LogReader::StateRow>> rows = store.ScanState(group, "", "", SIZE_MAX);
  if (!rows.ok()) return rows.status();
  for (const LogReader::StateRow& row : *rows) model.rows[row.key] = row.value.view();
  return model;
}

GroupWorkload::GroupWorkload(GroupModel found, uint64_t seed)
    : model_(std::move(found)), random_(seed * 1'000'003 + model_.group.value()) {}

WriteTask GroupWorkload::Next() {
  WriteTask task{.group = model_.group, .token = ++tasks_};
  if (!model_.exists) {
    model_ = {.group = model_.group, .exists = true};
    task.create = GroupIdentity{.self = {NodeId{1}, 1}, .label = "workload"};
    return task;
  }
  if (random_.OneIn(150)) {
    model_ = {.group = model_.group};
    task.destroy = true;
    return task;
  }
  if (random_.OneIn(8) || model_.entries.size() > kEntriesMax) MoveStart(&task);
  if (!random_.OneIn(6)) PutEntries(&task);
  if (random_.OneIn(4)) PutRows(&task);
  if (random_.OneIn(3)) {
    model_.hard_state.term += random_.Between(1, 2);
    model_.hard_state.voted_for = {NodeId{random_.Between(1, 5)}, 1};
    model_.hard_state.commit = model_.last_index();
    task.hard_state = model_.hard_state;
  }
  return task;
}

void GroupWorkload::MoveStart(WriteTask* task) {
  LogAnchor anchor = model_.AnchorAt(LogIndex{random_.Between(model_.start.last.index.value(), model_.last_index().value())});
  if (random_.OneIn(5)) {
    task->replace_log = true;
    anchor.last.index += random_.Below(50);
    anchor.end_offset += random_.Below(50);
    model_.entries.clear();
  } else {
    const uint64_t gone = anchor.last.index - model_.start.last.index;
    model_.entries.erase(model_.entries.begin(), model_.entries.begin() + static_cast<ptrdiff_t>(gone));
  }
  model_.start = anchor;
  task->snapshot = SnapshotMeta{.anchor = anchor, .id = tasks_};
}

void GroupWorkload::PutEntries(WriteTask* task) {
  LogIndex after = model_.last_index();
  if (random_.OneIn(5)) after = LogIndex{random_.Between(model_.start.last.index.value(), after.value())};
  model_.entries.resize(after - model_.start.last.index);
  const LogAnchor at = model_.AnchorAt(after);
  EntryMaker make(model_.group, std::max(at.last.term, Term{1}) + random_.Below(2));
  make.ContinueAfter(at);
  for (uint64_t count = random_.Between(1, 5); count != 0; --count) {
    const size_t size = random_.OneIn(10) ? random_.Below(50'000) : random_.Below(1'000);
    std::string payload(size, static_cast<char>(random_.Below(256)));
    for (size_t i = 0; i + 8 <= size; i += 97) payload[i] = static_cast<char>(random_.Next());
    const auto time = static_cast<int64_t>(random_.Below(1'000'000));
    task->entries.push_back(random_.OneIn(10) ? make.Configuration("1,2,3")
                                              : make.Data(payload, {.records = static_cast<uint32_t>(random_.Between(1, 4)),
                                                                    .min_timestamp_ms = time,
                                                                    .max_timestamp_ms = time}));
    model_.entries.push_back(task->entries.back().header);
  }
}

void GroupWorkload::PutRows(WriteTask* task) {
  const std::string key = "row/" + std::to_string(random_.Below(10));
  if (random_.OneIn(4)) {
    task->state.push_back({StateWrite::Kind::kDelete, key, {}});
    model_.rows.erase(key);
    return;
  }
  const std::string value = std::to_string(random_.Next());
  task->state.push_back({StateWrite::Kind::kPut, key, Bytes(value)});
  model_.rows[key] = value;
}

}  // namespace flotilla::storage
