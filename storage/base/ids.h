// The vocabulary of the project as types. None of them converts silently into another or into a number:
//
//   LogIndex next = last + 1;            // an index moves by a count
//   uint64_t gap = next - first;         // two indexes have a distance
//   Offset o = Offset{7}; o == next;     // does not compile
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <limits>
#include <ostream>
#include <string>

namespace flotilla {

// A 64-bit number that means one thing. `Tag` is an empty struct that names it.
template <typename Tag>
class StrongId {
 public:
  constexpr StrongId() = default;
  constexpr explicit StrongId(uint64_t value) : value_(value) {}

  constexpr uint64_t value() const { return value_; }
  constexpr auto operator<=>(const StrongId&) const = default;

 private:
  uint64_t value_ = 0;
};

// A StrongId that is a position: it can be moved and two of them have a distance.
template <typename Tag>
class StrongPosition : public StrongId<Tag> {
 public:
  using StrongId<Tag>::StrongId;

  constexpr StrongPosition operator+(uint64_t count) const { return StrongPosition{this->value() + count}; }
  constexpr StrongPosition operator-(uint64_t count) const { return StrongPosition{this->value() - count}; }
  constexpr StrongPosition& operator+=(uint64_t count) { return *this = *this + count; }
  constexpr StrongPosition& operator++() { return *this = *this + 1; }
  // The distance from `other` up to this one. `other` is not larger.
  constexpr uint64_t operator-(StrongPosition other) const { return this->value() - other.value(); }
};

// A Raft term. 0 is before the first election.
using Term = StrongPosition<struct TermTag>;
// A place in a Raft log. The first entry has index 1; 0 means "before the first".
using LogIndex = StrongPosition<struct LogIndexTag>;
// A place of a record as clients count them: dense, from 0, only data entries have any.
using Offset = StrongPosition<struct OffsetTag>;
// A Raft group. 0 is the metadata of the cluster.
using GroupId = StrongId<struct GroupIdTag>;
// A broker of a cluster. Given by the cluster, never reused; 0 means "none".
using NodeId = StrongId<struct NodeIdTag>;

// One replica of a group: a node, and which of its lives in that group it is. A node that left a group and comes
// back, or that lost its disk, has forgotten its votes: it gets a new incarnation and so is another replica.
struct ReplicaId {
  NodeId node;
  uint64_t incarnation = 0;

  constexpr auto operator<=>(const ReplicaId&) const = default;
  constexpr bool valid() const { return node.value() != 0; }
};

inline constexpr ReplicaId kNoReplica{};

// Milliseconds since 1970 in a record's timestamp; kNoTimestamp orders before all of them.
inline constexpr int64_t kNoTimestamp = std::numeric_limits<int64_t>::min();

template <typename Tag>
std::ostream& operator<<(std::ostream& out, StrongId<Tag> id) {
  return out << id.value();
}
template <typename Tag>
std::ostream& operator<<(std::ostream& out, StrongPosition<Tag> id) {
  return out << id.value();
}
// "3" for the first life of node 3, "3.2" for incarnation 2; "-" for none.
std::ostream& operator<<(std::ostream& out, const ReplicaId& id);
std::string ToString(const ReplicaId& id);

}  // namespace flotilla

template <typename Tag>
struct std::hash<flotilla::StrongId<Tag>> {
  size_t operator()(flotilla::StrongId<Tag> id) const { return std::hash<uint64_t>{}(id.value()); }
};
template <typename Tag>
struct std::hash<flotilla::StrongPosition<Tag>> {
  size_t operator()(flotilla::StrongPosition<Tag> id) const { return std::hash<uint64_t>{}(id.value()); }
};
template <>
struct std::hash<flotilla::ReplicaId> {
  size_t operator()(const flotilla::ReplicaId& id) const {
    return std::hash<uint64_t>{}(id.node.value() * 0x9E3779B97F4A7C15ULL ^ id.incarnation);
  }
};
