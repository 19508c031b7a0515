// The members of a group (Raft §6; Ongaro's thesis §4.3, joint consensus).
//
//   Configuration now{.voters = {a, b, c}};
//   Configuration joint = *now.Change({.promote = {d}, .remove = {c}});   // voters {a,b,d}, outgoing {a,b,c}
//   Configuration after = joint.Leave();                                  // voters {a,b,d}
//
// While `outgoing` is not empty the configuration is joint: every decision needs a majority of `voters` and a majority of
// `outgoing`. A voter that becomes a learner stands in `outgoing` and in `learners` until the joint phase ends.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "storage/base/bytes.h"
#include "storage/base/ids.h"
#include "storage/base/status.h"

namespace flotilla::raft {

// What to do to a configuration; one replica is named at most once.
struct MembershipChange {
  std::vector<ReplicaId> add_learners = {};
  std::vector<ReplicaId> promote = {};  // learners that become voters
  std::vector<ReplicaId> demote = {};   // voters that become learners
  std::vector<ReplicaId> remove = {};
  bool empty() const { return add_learners.empty() && promote.empty() && demote.empty() && remove.empty(); }
};

struct Configuration {
  // Each sorted and without repeats (Normalize).
  std::vector<ReplicaId> voters = {};
  std::vector<ReplicaId> outgoing = {};
  std::vector<ReplicaId> learners = {};

  bool joint() const { return !outgoing.empty(); }
  bool empty() const { return voters.empty(); }
  // A voter of either half.
  bool IsVoter(ReplicaId id) const;
  bool Contains(ReplicaId id) const;
  // Voters of both halves and learners, sorted, each once.
  std::vector<ReplicaId> Replicas() const;

  // The configuration by which the change begins: joint when it touches a voter, otherwise final at once.
  // CONFIGURATION_PENDING: this one is joint. ILLEGAL_CONFIGURATION: no voter would be left, a replica is unknown, named twice,
  // is already what it should become, or another incarnation on the same node stays. LIMIT_EXCEEDED: too many replicas.
  Result<Configuration> Change(const MembershipChange& change) const;
  // Ends the joint phase.
  Configuration Leave() const;

  void Normalize();
  bool operator==(const Configuration&) const = default;
};

// The payload of a kConfiguration entry and SnapshotMeta::configuration; grammar in raft/README.md.
Bytes EncodeConfiguration(const Configuration& configuration);
// CORRUPT_MESSAGE: does not decode, is not normalized, or exceeds limits::kReplicasPerGroupMax. Empty bytes are an empty
// configuration: that of a replica which waits to be told.
Result<Configuration> DecodeConfiguration(std::string_view encoded);

// "voters 1,2,3 outgoing 1,2,4 learners 5".
std::string ToString(const Configuration& configuration);
std::ostream& operator<<(std::ostream& out, const Configuration& configuration);

}  // namespace flotilla::raft
