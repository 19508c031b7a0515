// A group that is written to at random, and what it has to look like after each of its tasks. The tasks depend on the seed and
// on the group as it was found, and on nothing else: another process that starts from the same makes the same ones.
//
//   GroupWorkload load(*ReadModel(store, group), seed);
//   store.Submit(load.Next(), sink);                  // token 1
//   store.Submit(load.Next(), sink);                  // token 2
//   ... the machine dies; token 1 was reported durable
//   GroupModel found = *ReadModel(store, group);      // has to be the model after token 1 or after token 2
#pragma once

#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "storage/base/ids.h"
#include "storage/base/random.h"
#include "storage/base/status.h"
#include "storage/log/log_store.h"

namespace flotilla::storage {

// Everything durable of one group. Payloads are told by the checksums in their headers.
struct GroupModel {
  GroupId group;
  bool exists = false;
  LogAnchor start;
  std::vector<EntryHeader> entries;
  HardState hard_state;
  std::map<std::string, std::string> rows;

  LogIndex last_index() const { return start.last.index + entries.size(); }
  // The anchor after the entry at `index`: in the log, or the last one before it.
  LogAnchor AnchorAt(LogIndex index) const;
  bool operator==(const GroupModel&) const = default;
};
std::ostream& operator<<(std::ostream& out, const GroupModel& model);

// Reads all of it and checks every entry. A group that is not there is a model that does not exist.
Result<GroupModel> ReadModel(const LogReader& store, GroupId group);

class GroupWorkload {
 public:
  GroupWorkload(GroupModel found, uint64_t seed);

  // The next task; its tokens count from 1.
  WriteTask Next();
  // After all tasks that Next returned.
  const GroupModel& model() const { return model_; }
  uint64_t tasks() const { return tasks_; }

 private:
  void MoveStart(WriteTask* task);
  void PutEntries(WriteTask* task);
  void PutRows(WriteTask* task);

  GroupModel model_;
  Random random_;
  uint64_t tasks_ = 0;
};

}  // namespace flotilla::storage
