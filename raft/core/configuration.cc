#include "raft/core/configuration.h"

#include <algorithm>
#include <cstring>

#include "storage/base/limits.h"

namespace flotilla::raft {
namespace {

constexpr uint8_t kFormat = 1;

bool Holds(const std::vector<ReplicaId>& sorted, ReplicaId id) { return std::binary_search(sorted.begin(), sorted.end(), id); }

void Insert(std::vector<ReplicaId>* sorted, ReplicaId id) {
  const auto at = std::lower_bound(sorted->begin(), sorted->end(), id);
  if (at == sorted->end() || *at != id) sorted->insert(at, id);
}

void Erase(std::vector<ReplicaId>* sorted, ReplicaId id) {
  const auto at = std::lower_bound(sorted->begin(), sorted->end(), id);
  if (at != sorted->end() && *at == id) sorted->erase(at);
}

void SortOnce(std::vector<ReplicaId>* ids) {
  std::sort(ids->begin(), ids->end());
  ids->erase(std::unique(ids->begin(), ids->end()), ids->end());
}

Status Illegal(const std::string& why) { return Status(Reason::kIllegalConfiguration, why); }

void PutU64(std::string* out, uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) out->push_back(static_cast<char>(value >> shift));
}

// Reads numbers from the front of a view; ok() turns false, and stays, at the first one that is not there.
class Cursor {
 public:
  explicit Cursor(std::string_view data) : data_(data) {}
  bool ok() const { return ok_; }
  bool at_end() const { return data_.empty(); }
  uint8_t U8() { return static_cast<uint8_t>(Number(1)); }
  uint64_t U64() { return Number(8); }

 private:
  uint64_t Number(size_t size) {
    if (data_.size() < size) {
      ok_ = false;
      return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < size; ++i) value |= static_cast<uint64_t>(static_cast<uint8_t>(data_[i])) << (8 * i);
    data_.remove_prefix(size);
    return value;
  }
  std::string_view data_;
  bool ok_ = true;
};

std::string Join(const std::vector<ReplicaId>& ids) {
  std::string text;
  for (const ReplicaId& id : ids) {
    if (!text.empty()) text += ',';
    text += ToString(id);
  }
  return text.empty() ? "-" : text;
}

}  // namespace

bool Configuration::IsVoter(ReplicaId id) const { return Holds(voters, id) || Holds(outgoing, id); }

bool Configuration::Contains(ReplicaId id) const { return IsVoter(id) || Holds(learners, id); }

std::vector<ReplicaId> Configuration::Replicas() const {
  std::vector<ReplicaId> all = voters;
  all.insert(all.end(), outgoing.begin(), outgoing.end());
  all.insert(all.end(), learners.begin(), learners.end());
  SortOnce(&all);
  return all;
}

void Configuration::Normalize() {
  SortOnce(&voters);
  SortOnce(&outgoing);
  SortOnce(&learners);
}

Result<Configuration> Configuration::Change(const MembershipChange& change) const {
  if (joint()) {
    return Status(Reason::kConfigurationPending,
                  "the group is between two configurations (" + raft::ToString(*this) + "); wait until the change has ended");
  }
  if (change.empty()) return Illegal("the change names no replica");

  std::vector<ReplicaId> named;
  for (const auto* list : {&change.add_learners, &change.promote, &change.demote, &change.remove}) {
    named.insert(named.end(), list->begin(), list->end());
  }
  std::sort(named.begin(), named.end());
  if (const auto twice = std::adjacent_find(named.begin(), named.end()); twice != named.end()) {
    return Illegal("replica " + flotilla::ToString(*twice) + " is named twice in one change");
  }

  Configuration next = *this;
  for (const ReplicaId& id : change.add_learners) {
    if (!id.valid()) return Illegal("replica 0 is not a replica");
    if (Contains(id)) return Illegal("replica " + flotilla::ToString(id) + " is a member already");
    Insert(&next.learners, id);
  }
  for (const ReplicaId& id : change.promote) {
    if (Holds(voters, id)) return Illegal("replica " + flotilla::ToString(id) + " is a voter already");
    if (!Holds(learners, id)) {
      return Illegal("replica " + flotilla::ToString(id) + " is no learner; add it as one and let it catch up first");
    }
    Erase(&next.learners, id);
    Insert(&next.voters, id);
  }
  for (const ReplicaId& id : change.demote) {
    if (!Holds(voters, id)) return Illegal("replica " + flotilla::ToString(id) + " is no voter");
    Erase(&next.voters, id);
    Insert(&next.learners, id);
  }
  for (const ReplicaId& id : change.remove) {
    if (!Contains(id)) return Illegal("replica " + flotilla::ToString(id) + " is not a member");
    Erase(&next.voters, id);
    Erase(&next.learners, id);
  }
  if (next.voters.empty()) return Illegal("the change would leave no voter; one has to stay");

  const std::vector<ReplicaId> members = [&] {
    std::vector<ReplicaId> stay = next.voters;
    stay.insert(stay.end(), next.learners.begin(), next.learners.end());
    SortOnce(&stay);
    return stay;
  }();
  const auto same_node =
      std::adjacent_find(members.begin(), members.end(), [](const ReplicaId& a, const ReplicaId& b) { return a.node == b.node; });
  if (same_node != members.end()) {
    return Illegal("node " + std::to_string(same_node->node.value()) + " would hold two replicas; remove " +
                   flotilla::ToString(*same_node) + " in the same change");
  }
  if (next.voters != voters) next.outgoing = voters;
  if (next.Replicas().size() > limits::kReplicasPerGroupMax) {
    return Status(Reason::kLimitExceeded, std::to_string(next.Replicas().size()) + " replicas in one group; the limit is " +
                                              std::to_string(limits::kReplicasPerGroupMax));
  }
  return next;
}

Configuration Configuration::Leave() const {
  Configuration next = *this;
  next.outgoing.clear();
  return next;
}

Bytes EncodeConfiguration(const Configuration& configuration) {
  std::string out;
  out.push_back(static_cast<char>(kFormat));
  for (const auto* list : {&configuration.voters, &configuration.outgoing, &configuration.learners}) {
    out.push_back(static_cast<char>(list->size()));
    for (const ReplicaId& id : *list) {
      PutU64(&out, id.node.value());
      PutU64(&out, id.incarnation);
    }
  }
  return Bytes(std::move(out));
}

Result<Configuration> DecodeConfiguration(std::string_view encoded) {
  Configuration configuration;
  if (encoded.empty()) return configuration;
  const auto corrupt = [&](const std::string& why) {
    return Status(Reason::kCorruptMessage, "configuration of " + std::to_string(encoded.size()) + " bytes: " + why);
  };
  Cursor cursor(encoded);
  if (const uint8_t format = cursor.U8(); format != kFormat) {
    return corrupt("format " + std::to_string(format) + " is unknown; this version reads " + std::to_string(kFormat));
  }
  for (auto* list : {&configuration.voters, &configuration.outgoing, &configuration.learners}) {
    const size_t count = cursor.U8();
    for (size_t i = 0; i < count && cursor.ok(); ++i) {
      const uint64_t node = cursor.U64();
      list->push_back({NodeId{node}, cursor.U64()});
    }
  }
  if (!cursor.ok()) return corrupt("it ends early");
  if (!cursor.at_end()) return corrupt("bytes behind its end");
  Configuration normal = configuration;
  normal.Normalize();
  if (!(normal == configuration)) return corrupt("replicas are not sorted or stand twice");
  const std::vector<ReplicaId> replicas = configuration.Replicas();
  if (replicas.size() > limits::kReplicasPerGroupMax) return corrupt(std::to_string(replicas.size()) + " replicas are too many");
  if (!replicas.empty() && !replicas.front().valid()) return corrupt("replica 0");
  if (configuration.voters.empty() && !replicas.empty()) return corrupt("no voter");
  for (const ReplicaId& id : configuration.learners) {
    if (Holds(configuration.voters, id)) return corrupt("replica " + flotilla::ToString(id) + " is voter and learner");
  }
  return configuration;
}

std::string ToString(const Configuration& configuration) {
  std::string text = "voters " + Join(configuration.voters);
  if (configuration.joint()) text += " outgoing " + Join(configuration.outgoing);
  if (!configuration.learners.empty()) text += " learners " + Join(configuration.learners);
  return text;
}

std::ostream& operator<<(std::ostream& out, const Configuration& configuration) { return out << ToString(configuration); }

}  // namespace flotilla::raft
