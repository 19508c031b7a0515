// About how large the logs are that this node leads: asked of the store now and then, a few at a time, because it costs more than
// a look into memory. For descriptions, and for the metadata leader, which plans with it.
//
//   sizes.Tick();                         // every tick
//   sizes.Of(group)                       // 0: not known (yet)
//   for (auto& [group, bytes] : sizes.TakeChanged(full)) ...
//
// Executor only.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "server/broker/replicas.h"
#include "storage/log/log_store.h"

namespace flotilla::broker {

class LogSizes {
 public:
  // References outlive this.
  LogSizes(const raft::RaftHost& host, const Replicas& replicas, const storage::LogStore& store, const TickClock& time)
      : host_(host), replicas_(replicas), store_(store), time_(time) {}

  void Tick();
  uint64_t Of(GroupId group) const;
  // Those of which the last word is old enough to be worth telling again; `full`: all.
  std::vector<std::pair<GroupId, uint64_t>> TakeChanged(bool full);

 private:
  struct Size {
    uint64_t bytes = 0;
    uint64_t told = 0;
    bool ever_told = false;
  };
  void BeginRound();

  const raft::RaftHost& host_;
  const Replicas& replicas_;
  const storage::LogStore& store_;
  const TickClock& time_;
  std::map<GroupId, Size> sizes_;  // of the groups led here when the round began
  std::vector<GroupId> to_ask_;    // what is left of the round
  size_t per_tick_ = 0;
  raft::Tick next_round_ = 0;
};

}  // namespace flotilla::broker
