#include "server/broker/leader_table.h"

namespace flotilla::broker {

void LeaderTable::Learn(GroupId group, const Leader& leader) {
  const Leader known = Of(group);
  if (leader.epoch < known.epoch) return;
  if (leader.epoch == known.epoch && (known.node.value() != 0 || leader.node.value() == 0)) return;
  Set(group, leader);
}

void LeaderTable::Lost(GroupId group, Term epoch) {
  const Leader known = Of(group);
  if (known.epoch == epoch && known.node.value() != 0) Set(group, {.node = {}, .epoch = epoch});
}

void LeaderTable::Forget(GroupId group) {
  const auto found = leaders_.find(group);
  if (found == leaders_.end()) return;
  by_sequence_.erase(found->second.sequence);
  leaders_.erase(found);
}

Leader LeaderTable::Of(GroupId group) const {
  const auto found = leaders_.find(group);
  return found == leaders_.end() ? Leader{} : found->second.leader;
}

void LeaderTable::Set(GroupId group, const Leader& leader) {
  Known& known = leaders_[group];
  by_sequence_.erase(known.sequence);
  known = {.leader = leader, .sequence = ++sequence_};
  by_sequence_.emplace(known.sequence, group);
  for (LeaderListener* listener : listeners_) listener->OnLeader(group, leader);
}

}  // namespace flotilla::broker
