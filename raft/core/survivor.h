// What is left of a group whose majority is lost for good: one replica that goes on alone, with what it has on its disk. It gives up
// what Raft promises, once, because a person decided so: what the others had committed beyond this log is lost, and what of this log
// nobody ever committed is committed now.
//
//   storage::WriteTask task = SurvivorTask(*store.Load(group), next_life);   // while the group is closed
//   writer.Submit(task, sink);                                              // when it is durable, open the group
//
// The replica goes on as another one, the only voter of a configuration at the end of its log. The others, should one ever come back,
// know nobody of that name and talk past it; whoever decided has to see to it that they are deleted.
#pragma once

#include "storage/base/ids.h"
#include "storage/log/log_store.h"

namespace flotilla::raft {

// By so much the survivor's term jumps. Elections that it did not hear of have raised the term of those that are lost, and everybody who
// follows the group by its term has to take the survivor for the newer leader.
inline constexpr uint64_t kSurvivorTermGap = uint64_t{1} << 20;

// `next_life`: the same node, an incarnation that no replica of the group ever had. The task is written as a whole or not at all.
storage::WriteTask SurvivorTask(const storage::GroupState& state, ReplicaId next_life);

}  // namespace flotilla::raft
