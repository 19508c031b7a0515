#include "tests/sim/network.h"

#include <algorithm>
#include <sstream>
#include <vector>

namespace flotilla::sim {
namespace {

using raft::PeerMessage;

// Each part alone, as if the bundle had been sent piece by piece.
std::vector<PeerMessage> Split(PeerMessage whole) {
  std::vector<PeerMessage> parts;
  const auto part = [&]() -> PeerMessage& {
    parts.emplace_back();
    parts.back().from = whole.from;
    parts.back().to = whole.to;
    return parts.back();
  };
  if (whole.heartbeat) part().heartbeat = std::move(whole.heartbeat);
  if (whole.heartbeat_reply) part().heartbeat_reply = std::move(whole.heartbeat_reply);
  for (auto& message : whole.messages) part().messages.push_back(std::move(message));
  for (auto& chunk : whole.chunks) part().chunks.push_back(std::move(chunk));
  for (auto& reply : whole.chunk_replies) part().chunk_replies.push_back(std::move(reply));
  return parts;
}

size_t PartsOf(const PeerMessage& message) {
  return message.messages.size() + message.chunks.size() + message.chunk_replies.size() + (message.heartbeat ? 1 : 0) +
         (message.heartbeat_reply ? 1 : 0);
}

}  // namespace

void Network::Burst(NodeId from, NodeId to, const NetworkConditions& conditions, Time until) { bursts_[{from, to}] = {conditions, until}; }

const NetworkConditions& Network::ConditionsOf(Direction direction) {
  auto burst = bursts_.find(direction);
  if (burst == bursts_.end()) return conditions_;
  if (burst->second.until > events_.now()) return burst->second.conditions;
  bursts_.erase(burst);
  return conditions_;
}

void Network::Send(raft::Channel channel, PeerMessage message) {
  const NetworkConditions conditions = ConditionsOf({message.from, message.to});
  if (PartsOf(message) > 1 && random_.Chance(conditions.split)) {
    coverage_.Add(Met::kMessageSplit);
    for (PeerMessage& part : Split(std::move(message))) SendOne(channel, std::move(part), conditions);
    return;
  }
  SendOne(channel, std::move(message), conditions);
}

void Network::SendOne(raft::Channel channel, PeerMessage message, const NetworkConditions& conditions) {
  trace_.Mark(Event::kSend, message.from, message.to.value(), static_cast<uint64_t>(channel));
  if (IsCut(message.from, message.to)) {
    Lose(message, Met::kMessageCut);
    TellBroken(message.from, message.to, conditions);
    return;
  }
  if (random_.Chance(conditions.loss)) {
    Lose(message, Met::kMessageLost);
    TellBroken(message.from, message.to, conditions);
    return;
  }
  const int copies = random_.Chance(conditions.repeat) ? 2 : 1;
  if (copies > 1) coverage_.Add(Met::kMessageRepeated);
  Time& last = last_arrival_[{message.from, message.to, channel}];
  for (int copy = 0; copy < copies; ++copy) {
    Time arrival =
        events_.now() + conditions.delay_min + static_cast<Time>(random_.Below(static_cast<uint64_t>(conditions.delay_spread) + 1));
    if (random_.Chance(conditions.straggler)) {
      arrival += static_cast<Time>(random_.Below(static_cast<uint64_t>(conditions.straggler_max) + 1));
    }
    // A repeated message comes at any time, also on an ordered link: it is what a connection's retry leaves.
    if (conditions.ordered && copy == 0) arrival = std::max(arrival, last);
    if (arrival < last) coverage_.Add(Met::kMessageOvertaken);
    last = std::max(last, arrival);
    ++in_flight_;
    events_.At(arrival, [this, message] { Arrive(message); });
  }
}

void Network::Arrive(PeerMessage message) {
  --in_flight_;
  if (IsCut(message.from, message.to)) return Lose(message, Met::kMessageCut);
  auto receiver = receivers_.find(message.to);
  const NodeId from = message.from;
  const NodeId to = message.to;
  trace_.Mark(Event::kDeliver, to, from.value(), PartsOf(message));
  if (trace_.text()) trace_.Line(to, "receives from n", from, ": ", Describe(message));
  if (receiver == receivers_.end() || !receiver->second->Deliver(std::move(message))) {
    coverage_.Add(Met::kMessageToDeadNode);
    TellBroken(from, to, conditions_);
    return;
  }
  coverage_.Add(Met::kMessageDelivered);
}

void Network::Lose(const PeerMessage& message, Met why) {
  coverage_.Add(why);
  trace_.Mark(Event::kLose, message.from, message.to.value());
  if (trace_.text()) {
    trace_.Line(message.from, MetName(why), ", to n", message.to, ": ", Describe(message));
  }
}

void Network::TellBroken(NodeId sender, NodeId peer, const NetworkConditions& conditions) {
  if (!random_.Chance(conditions.break_notice)) return;
  auto receiver = receivers_.find(sender);
  if (receiver == receivers_.end()) return;
  coverage_.Add(Met::kConnectionBroken);
  receiver->second->ConnectionBroken(peer);
}

void Network::ProcessDied(NodeId node) {
  if (conditions_.break_notice == 0) return;
  for (const auto& [peer, receiver] : receivers_) {
    if (peer == node || IsCut(node, peer)) continue;
    coverage_.Add(Met::kConnectionBroken);
    events_.After(conditions_.delay_min, [receiver = receiver, node] { receiver->ConnectionBroken(node); });
  }
}

std::string Describe(const PeerMessage& message) {
  std::ostringstream out;
  const char* between = "";
  for (const auto& part : message.messages) {
    out << between << 'g' << part.group << ' ' << part;
    between = "; ";
  }
  if (message.heartbeat) {
    const auto& heartbeat = *message.heartbeat;
    out << between << "heartbeat v" << heartbeat.version << (heartbeat.full ? " full" : "");
    for (const auto& row : heartbeat.rows) {
      out << " [g" << row.group << ' ' << row.from << "->" << row.to << " t" << row.term << " commit " << row.commit << " round "
          << row.read_round << ']';
    }
    between = "; ";
  }
  if (message.heartbeat_reply) {
    const auto& reply = *message.heartbeat_reply;
    out << between << "heartbeat reply v" << reply.version << (reply.known ? "" : " unknown");
    for (GroupId group : reply.absent) out << " absent g" << group;
    for (const auto& row : reply.rows) {
      out << " [g" << row.group << ' ' << row.from << "->" << row.to << " t" << row.term << " round " << row.read_round << " last "
          << row.last << ']';
    }
    between = "; ";
  }
  for (const auto& chunk : message.chunks) {
    out << between << "g" << chunk.group << ' ' << chunk.from << "->" << chunk.to << " t" << chunk.term << " chunk " << chunk.number << '/'
        << chunk.meta.chunks << " of snapshot " << chunk.meta.id << " at " << chunk.meta.anchor.last;
    between = "; ";
  }
  for (const auto& reply : message.chunk_replies) {
    out << between << "g" << reply.group << ' ' << reply.from << "->" << reply.to << " t" << reply.term << " chunk reply next "
        << reply.next << " of snapshot " << reply.snapshot_id << (reply.done ? " done" : "") << (reply.refused ? " refused" : "");
    between = "; ";
  }
  return std::move(out).str();
}

}  // namespace flotilla::sim
