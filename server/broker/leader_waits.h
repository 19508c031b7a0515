// Who waits for a partition to have a leader again: woken when one is heard of, and now and then in any case, since what a node
// knows of leaders may be old. Executor only.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "raft/node/executor.h"
#include "server/broker/leader_table.h"
#include "server/broker/tick_clock.h"

namespace flotilla::broker {

class LeaderWaitSink {
 public:
  virtual ~LeaderWaitSink() = default;
  // Try again.
  virtual void OnLeaderAwaited(uint64_t token) = 0;
};

class LeaderWaits final : public LeaderListener {
 public:
  // References outlive this.
  LeaderWaits(raft::Executor& executor, const TickClock& time) : executor_(executor), time_(time) {}

  // Once, by a posted call, at `until` at the latest. A ticket for Cancel.
  uint64_t Wait(GroupId group, raft::Tick until, uint64_t token, LeaderWaitSink& sink);
  void Cancel(uint64_t ticket);
  size_t size() const { return rows_.size(); }
  void Tick();

  // LeaderListener
  void OnLeader(GroupId group, const Leader& leader) override;

 private:
  // Without news somebody tries again after so long.
  static constexpr raft::Tick kRetryTicks = 4;
  struct Row {
    GroupId group;
    uint64_t token;
    LeaderWaitSink* sink;
    raft::Tick at;
  };
  void Due(uint64_t ticket);
  void Flush();

  raft::Executor& executor_;
  const TickClock& time_;
  uint64_t next_ticket_ = 1;
  std::map<uint64_t, Row> rows_;
  std::multimap<raft::Tick, uint64_t> by_time_;
  std::unordered_multimap<GroupId, uint64_t> by_group_;
  std::vector<uint64_t> due_;
  bool flush_posted_ = false;
};

}  // namespace flotilla::broker
