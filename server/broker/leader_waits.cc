#include "server/broker/leader_waits.h"

#include <algorithm>

namespace flotilla::broker {

uint64_t LeaderWaits::Wait(GroupId group, raft::Tick until, uint64_t token, LeaderWaitSink& sink) {
  const uint64_t ticket = next_ticket_++;
  const raft::Tick at = std::min(until, time_.now() + kRetryTicks);
  rows_.emplace(ticket, Row{.group = group, .token = token, .sink = &sink, .at = at});
  by_time_.emplace(at, ticket);
  by_group_.emplace(group, ticket);
  return ticket;
}

void LeaderWaits::Cancel(uint64_t ticket) {
  const auto found = rows_.find(ticket);
  if (found == rows_.end()) return;
  const auto [first, last] = by_group_.equal_range(found->second.group);
  const auto at = std::find_if(first, last, [ticket](const auto& entry) { return entry.second == ticket; });
  if (at != last) by_group_.erase(at);
  rows_.erase(found);  // by_time_ forgets it in its time
}

void LeaderWaits::Tick() {
  while (!by_time_.empty() && by_time_.begin()->first <= time_.now()) {
    const uint64_t ticket = by_time_.begin()->second;
    by_time_.erase(by_time_.begin());
    Due(ticket);
  }
}

void LeaderWaits::OnLeader(GroupId group, const Leader& leader) {
  if (leader.node.value() == 0) return;
  const auto [first, last] = by_group_.equal_range(group);
  std::vector<uint64_t> woken;
  for (auto at = first; at != last; ++at) woken.push_back(at->second);
  std::sort(woken.begin(), woken.end());  // in the order in which they came, whatever the hash
  for (const uint64_t ticket : woken) Due(ticket);
}

void LeaderWaits::Due(uint64_t ticket) {
  if (!rows_.contains(ticket)) return;
  due_.push_back(ticket);
  if (std::exchange(flush_posted_, true)) return;
  executor_.Post([this] { Flush(); });
}

void LeaderWaits::Flush() {
  flush_posted_ = false;
  for (const uint64_t ticket : std::exchange(due_, {})) {
    const auto found = rows_.find(ticket);
    if (found == rows_.end()) continue;
    const Row row = found->second;
    Cancel(ticket);
    row.sink->OnLeaderAwaited(row.token);
  }
}

}  // namespace flotilla::broker
