// A group as its leader would describe it, in a few words.
//
//   GroupOf(partition).Entries(11, 20).Bytes(1000).Learner({4, 3}, 15)
#pragma once

#include "flotilla/internal/v1/peer.pb.h"
#include "server/metadata/image.h"

namespace flotilla::broker {

class GroupText {
 public:
  explicit GroupText(const metadata::Partition& partition) { description_.set_group(partition.group.value()); }

  GroupText& Entries(uint64_t first, uint64_t last) {
    description_.set_first_index(first);
    description_.set_last_index(last);
    return *this;
  }
  GroupText& Bytes(uint64_t bytes) {
    description_.set_log_bytes(bytes);
    return *this;
  }
  GroupText& Changing() {
    description_.set_changing(true);
    return *this;
  }
  GroupText& Stalled(const std::string& why) {
    description_.set_stalled(why);
    return *this;
  }
  GroupText& Voter(ReplicaId id, bool in_sync = true) { return Member(id, true, description_.last_index(), in_sync); }
  GroupText& Learner(ReplicaId id, uint64_t match, bool in_sync = false) { return Member(id, false, match, in_sync); }
  GroupText& Voters(const std::vector<ReplicaId>& ids) {
    for (const ReplicaId id : ids) Voter(id);
    return *this;
  }

  operator internal::v1::GroupDescription() const { return description_; }  // NOLINT(google-explicit-constructor)

 private:
  GroupText& Member(ReplicaId id, bool voter, uint64_t match, bool in_sync) {
    internal::v1::ReplicaDescription& replica = *description_.add_replicas();
    replica.set_node_id(id.node.value());
    replica.set_incarnation(id.incarnation);
    replica.set_voter(voter);
    replica.set_match_index(match);
    replica.set_in_sync(in_sync);
    return *this;
  }

  internal::v1::GroupDescription description_;
};

}  // namespace flotilla::broker
