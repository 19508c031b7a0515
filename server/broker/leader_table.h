// Who leads which partition, as far as this node knows: from its own replicas, from answers of other nodes, and from the
// metadata leader, which hears it from everybody. A hint, never a proof: leaders check for themselves. Executor only.
//
//   leaders.Learn(group, {.node = NodeId{2}, .epoch = Term{7}});
//   leaders.Of(group)      // {2, 7}; node 0: nobody that we know of
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "storage/base/ids.h"

namespace flotilla::broker {

// A group that nobody has and nobody leads: of a partition that does not exist.
inline constexpr GroupId kNoGroup{~uint64_t{0}};

struct Leader {
  NodeId node;  // 0: nobody leads in this term, as far as is known
  Term epoch;
  bool operator==(const Leader&) const = default;
};

class LeaderListener {
 public:
  virtual ~LeaderListener() = default;
  virtual void OnLeader(GroupId group, const Leader& leader) = 0;
};

class LeaderTable {
 public:
  // Listeners outlive the table.
  void AddListener(LeaderListener& listener) { listeners_.push_back(&listener); }

  // The newer term wins; in the same term, one who leads wins over nobody.
  void Learn(GroupId group, const Leader& leader);
  // Who led in this term does not any more.
  void Lost(GroupId group, Term epoch);
  // The group is gone.
  void Forget(GroupId group);
  Leader Of(GroupId group) const;

  // Changes are counted, so that what one knows can be told to others once.
  uint64_t sequence() const { return sequence_; }
  // Groups that changed after `sequence`, each once, with their leaders as of now: visit(sequence, group, leader), which
  // returns whether to go on.
  template <typename Visit>
  void ForEachSince(uint64_t sequence, Visit visit) const {
    for (auto at = by_sequence_.upper_bound(sequence); at != by_sequence_.end(); ++at) {
      if (!visit(at->first, at->second, leaders_.at(at->second).leader)) return;
    }
  }

 private:
  struct Known {
    Leader leader;
    uint64_t sequence = 0;
  };
  void Set(GroupId group, const Leader& leader);

  std::unordered_map<GroupId, Known> leaders_;
  std::map<uint64_t, GroupId> by_sequence_;
  uint64_t sequence_ = 0;
  std::vector<LeaderListener*> listeners_;
};

}  // namespace flotilla::broker
