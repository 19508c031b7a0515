#include "raft/core/messages.h"

#include <sstream>

namespace flotilla::raft {
namespace {

struct Printer {
  std::ostream& out;

  void operator()(const VoteRequest& m) const {
    out << (m.pre_vote ? "PreVote" : "Vote") << " for t" << m.campaign_term << " last " << m.last << (m.transfer ? " transfer" : "");
  }
  void operator()(const VoteReply& m) const {
    out << (m.pre_vote ? "PreVoteReply" : "VoteReply") << " for t" << m.campaign_term << (m.granted ? " granted" : " refused");
  }
  void operator()(const AppendRequest& m) const {
    out << "Append prev " << m.prev;
    if (!m.entries.empty()) out << " entries " << m.entries.front().id() << ".." << m.entries.back().id();
    out << " commit " << m.commit << " acknowledged " << m.acknowledged;
  }
  void operator()(const AppendReply& m) const {
    if (m.accepted) {
      out << "AppendReply accepted " << m.index;
    } else {
      out << "AppendReply refused " << m.index << " hint " << m.hint;
    }
  }
  void operator()(const Heartbeat& m) const { out << "Heartbeat commit " << m.commit << " round " << m.read_round; }
  void operator()(const HeartbeatReply& m) const { out << "HeartbeatReply last " << m.last << " round " << m.read_round; }
  void operator()(const SnapshotInstall& m) const { out << "SnapshotInstall " << m.meta.anchor.last; }
  void operator()(const TimeoutNow&) const { out << "TimeoutNow"; }
  void operator()(const ReadIndexRequest& m) const { out << "ReadIndex #" << m.sequence; }
  void operator()(const ReadIndexReply& m) const { out << "ReadIndexReply #" << m.sequence << (m.ok ? " ok " : " refused ") << m.index; }
};

}  // namespace

size_t Message::bytes() const {
  constexpr size_t kEnvelope = 96;
  size_t total = kEnvelope;
  if (const auto* append = std::get_if<AppendRequest>(&body)) {
    for (const Entry& entry : append->entries) total += entry.bytes();
  }
  return total;
}

std::ostream& operator<<(std::ostream& out, const Message& message) {
  out << message.from << "->" << message.to << " t" << message.term << ' ';
  std::visit(Printer{out}, message.body);
  return out;
}

std::string ToString(const Message& message) {
  std::ostringstream out;
  out << message;
  return out.str();
}

}  // namespace flotilla::raft
