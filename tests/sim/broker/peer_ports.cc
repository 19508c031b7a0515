#include "tests/sim/broker/peer_ports.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "server/errors/error_codec.h"
#include "tests/sim/broker/machine.h"
#include "tests/sim/network.h"

namespace flotilla::sim::broker {

using flotilla::broker::ForwardAnswer;
using flotilla::broker::ForwardCancel;
using flotilla::broker::ForwardRequest;
using flotilla::broker::Peer;

namespace {

constexpr Time kBackoffMin = 50 * kMillisecond;
constexpr Time kBackoffMax = kSecond;
constexpr std::string_view kHandshake = "/flotilla.internal.v1.PeerService/Handshake";

Time TimeOf(Duration duration) { return std::chrono::duration_cast<std::chrono::microseconds>(duration).count(); }

}  // namespace

// The callee's side of a stream of forwarded parts. Answers to a stream that broke go nowhere.
class SimPeerNetwork::ForwardPort final : public Session, public flotilla::broker::ForwardSink {
 public:
  ForwardPort(Machine& here, Machine& there, uint64_t there_life, uint64_t stream)
      : here_(here), there_(there), there_life_(there_life), stream_(stream) {}

  void Open() { session_ = here_.broker().OpenForward(*this); }
  void Submit(ForwardRequest request) { session_->Submit(std::move(request)); }
  void OnForwardDone(ForwardAnswer answer) override {
    if (here_.DiesHere("crash before an answer to a peer")) return;
    const auto from = NodeId{here_.broker().Identity().node_id()};
    here_.environment().wires.Carry(
        {.from = here_.place(), .to = there_.place(), .stream = stream_},
        [&there = there_, life = there_life_, stream = stream_, from, answer = std::move(answer)]() mutable {
          if (!there.IsLife(life)) return;
          there.Post([&there, stream, from, answer = std::move(answer)]() mutable {
            if (there.network().LinkOf(stream) != nullptr) there.network().sink_.OnForwardAnswer(from, std::move(answer));
          });
        },
        [&there = there_, life = there_life_, stream = stream_] {
          if (there.IsLife(life)) there.network().Break(stream);
        });
  }

 private:
  Machine& here_;
  Machine& there_;
  const uint64_t there_life_;
  const uint64_t stream_;
  std::unique_ptr<flotilla::broker::ForwardSession> session_;
};

SimPeerNetwork::SimPeerNetwork(Machine& machine, PeerDirectory& directory, flotilla::broker::PeerSink& sink, Random random)
    : machine_(machine), directory_(directory), sink_(sink), random_(random) {}
SimPeerNetwork::~SimPeerNetwork() = default;

size_t SimPeerNetwork::waiting() const {
  size_t count = 0;
  for (const auto& [id, link] : links_) count += link.queue.size();
  return count;
}

void SimPeerNetwork::SetPeers(const std::vector<Peer>& peers) {
  for (auto at = links_.begin(); at != links_.end();) {
    const auto same = std::find(peers.begin(), peers.end(), at->second.peer);
    if (same != peers.end()) {
      ++at;
      continue;
    }
    // For good: what waits and what is on its way is over.
    const NodeId to = at->first;
    const bool open = at->second.stream != 0;
    CloseStream(at->second);
    std::deque<Queued> unsent = std::move(at->second.queue);
    at = links_.erase(at);
    machine_.Post([this, to, open, unsent = std::move(unsent)] {
      for (const Queued& part : unsent) {
        if (!std::holds_alternative<ForwardCancel>(part.request.operation)) {
          sink_.OnForwardAnswer(to, {.id = part.request.id, .status = Status(Reason::kNoLeader, "it is no member any more")});
        }
      }
      if (open) sink_.OnForwardBroken(to);
    });
  }
  for (const Peer& peer : peers) {
    Link& link = links_[peer.id];
    link.peer = peer;
  }
}

Machine* SimPeerNetwork::Reach(const Peer& peer) {
  Machine* other = directory_.AtAddress(peer.address);
  return other != nullptr && other->serving() ? other : nullptr;
}

bool SimPeerNetwork::Greets(Machine& other, const Peer& peer) {
  if (!machine_.up() || !other.serving()) return false;
  const std::pair<uint64_t, uint64_t> key(other.place().value(), other.life());
  if (greeted_.contains(key)) return true;
  internal::v1::HandshakeRequest hello;
  *hello.mutable_caller() = machine_.broker().Identity();
  hello.set_expected_node_id(peer.id.value());
  hello.set_expected_node_uuid(std::string(peer.uuid.bytes()));
  const auto answer = other.broker().Greet(hello);
  if (!answer.ok()) {
    machine_.environment().tally.Add("handshake refused");
    return false;
  }
  greeted_.insert(key);
  return true;
}

// --- Raft's messages

void SimPeerNetwork::Send(raft::Channel channel, raft::PeerMessage message) {
  const NodeId to = message.to;
  const auto found = links_.find(to);
  if (found == links_.end()) return;
  if (machine_.DiesHere("crash before a message of Raft")) return;
  const Peer peer = found->second.peer;
  Machine* other = Reach(peer);
  const Environment& environment = machine_.environment();
  environment.trace.Mark(Event::kSend, machine_.place(), to.value(), static_cast<uint64_t>(channel), message.messages.size());
  if (environment.trace.text()) environment.trace.Line(machine_.place(), "sends to node ", to, ": ", Describe(message));
  const auto broken = [&machine = machine_, life = machine_.life(), to, &environment] {
    environment.events.After(environment.wires.ResetDelay(), [&machine, life, to] {
      if (machine.IsLife(life)) machine.Post([&machine, to] { machine.network().sink_.OnUnreachable(to); });
    });
  };
  if (other == nullptr) return broken();
  environment.wires.Carry(
      {.from = machine_.place(), .to = other->place(), .stream = static_cast<uint64_t>(channel), .datagram = true},
      [&machine = machine_, life = machine_.life(), other, peer, message = std::move(message), &environment]() mutable {
        if (!machine.up() || machine.life() != life || !other->serving()) return;
        if (!machine.network().Greets(*other, peer)) return;
        environment.trace.Mark(Event::kDeliver, other->place(), machine.place().value());
        if (environment.trace.text()) environment.trace.Line(other->place(), "receives from n", machine.place(), ": ", Describe(message));
        other->Post([other, message = std::move(message)]() mutable { other->broker().Receive(std::move(message)); });
      },
      broken);
}

// --- Unary calls

// One call. Whatever happens first decides; the rest finds it decided.
struct SimPeerNetwork::Answering {
  Machine& caller;
  const uint64_t life;
  flotilla::broker::PeerDone done;
  bool begun = false;  // the other side may have it
  bool over = false;

  void End(Result<std::string> result) {
    if (std::exchange(over, true) || !caller.IsLife(life)) return;
    caller.Post([done = std::move(done), result = std::move(result)] { done(result); });
  }
  void Fail(const std::string& why) {
    if (begun) {
      End(Status(Reason::kOutcomeUnknown, "it did not answer, it may have been done: " + why));
    } else {
      End(Status(Reason::kNoLeader, "it was not reached, nothing was done: " + why));
    }
  }
};

void SimPeerNetwork::Call(const std::string& address, std::string_view method, std::string request, Duration timeout,
                          flotilla::broker::PeerDone done) {
  if (machine_.DiesHere("crash before a call to a peer")) return;
  const Environment& environment = machine_.environment();
  auto call = std::make_shared<Answering>(Answering{.caller = machine_, .life = machine_.life(), .done = std::move(done)});
  environment.events.After(std::max<Time>(1, TimeOf(timeout)), [call] { call->Fail("time ran out"); });
  Machine* other = directory_.AtAddress(address);
  const Place here = machine_.place();
  if (other == nullptr || !other->serving()) {
    environment.events.After(environment.wires.ResetDelay(), [call] { call->Fail("connection refused"); });
    return;
  }
  const auto lost = [call, &environment] {
    environment.events.After(environment.wires.NoticeDelay(), [call] { call->Fail("the connection broke"); });
  };
  const uint64_t stream = environment.wires.NextStream();
  const auto serve = [call, other, here, stream, lost, method = std::string(method), request = std::move(request),
                      handshake = machine_.broker().Identity(), &environment] {
    const auto answered = [call, other, here, stream, lost, &environment](const Result<std::string>& answer) {
      if (other->DiesHere("crash before an answer to a peer")) return;
      // Errors travel as they do on the wire.
      Result<std::string> sent = answer.ok() ? answer : Result<std::string>(ToStatus(ToError(answer.status())));
      environment.wires.Carry(
          {.from = other->place(), .to = here, .stream = stream}, [call, sent = std::move(sent)] { call->End(sent); }, lost);
    };
    if (method != kHandshake) return other->broker().PeerCall(method, request, answered);
    internal::v1::HandshakeRequest hello;
    if (!hello.ParseFromString(request)) return answered(Status(Reason::kCorruptMessage, "no handshake"));
    const auto response = other->broker().Greet(hello);
    answered(response.ok() ? Result<std::string>(response->SerializeAsString()) : Result<std::string>(response.status()));
  };
  // First the connection, then the request: what fails before was surely not begun.
  environment.wires.Carry(
      {.from = here, .to = other->place(), .stream = stream},
      [call, other, here, stream, serve, lost, &environment] {
        if (!other->serving() || !environment.wires.Connected(here, other->place())) return lost();
        call->begun = true;
        environment.wires.Carry(
            {.from = here, .to = other->place(), .stream = stream},
            [call, other, life = other->life(), serve, lost] {
              if (!other->IsLife(life) || !other->serving()) return lost();
              if (call->over) return;  // cancelled in time
              other->Post(serve);
            },
            lost);
      },
      lost);
}

// --- Forwarded parts

SimPeerNetwork::Link* SimPeerNetwork::LinkOf(uint64_t stream) {
  for (auto& [id, link] : links_) {
    if (link.stream == stream && stream != 0) return &link;
  }
  return nullptr;
}

void SimPeerNetwork::Refuse(NodeId to, uint64_t id, const std::string& why) {
  machine_.Post([this, to, id, why] {
    sink_.OnForwardAnswer(
        to, {.id = id, .status = Status(Reason::kNoLeader, "node " + std::to_string(to.value()) + " was not reached: " + why)});
  });
}

void SimPeerNetwork::Forward(NodeId to, ForwardRequest request) {
  const bool cancel = std::holds_alternative<ForwardCancel>(request.operation);
  const auto found = links_.find(to);
  if (found == links_.end()) {
    if (!cancel) Refuse(to, request.id, "it is no member");
    return;
  }
  Link& link = found->second;
  if (cancel) {
    const auto waits =
        std::find_if(link.queue.begin(), link.queue.end(), [&](const Queued& other) { return other.request.id == request.id; });
    if (waits != link.queue.end()) {
      link.queue.erase(waits);
      return;
    }
    if (link.state != Link::State::kOpen) return;  // what it cancels went with its stream
  }
  const MonotonicTime deadline = machine_.clock().Now() + request.timeout;
  link.queue.push_back({std::move(request), deadline});
  if (link.state == Link::State::kIdle) Connect(link);
  Pump(link);
  WatchDeadlines(to);
}

void SimPeerNetwork::Connect(Link& link) {
  link.state = Link::State::kConnecting;
  link.attempt = next_attempt_++;
  const Environment& environment = machine_.environment();
  const NodeId to = link.peer.id;
  const auto failed = [&machine = machine_, life = machine_.life(), to, attempt = link.attempt] {
    if (machine.IsLife(life)) machine.network().NotConnected(to, attempt);
  };
  Machine* other = Reach(link.peer);
  if (other == nullptr) {
    environment.events.After(environment.wires.ResetDelay(), failed);
    return;
  }
  const Time round_trip = environment.wires.RoundTrip(machine_.place(), other->place());
  environment.events.After(round_trip,
                           [&machine = machine_, life = machine_.life(), to, attempt = link.attempt, other, failed, &environment] {
                             if (!machine.IsLife(life)) return;
                             const auto at = machine.network().links_.find(to);
                             if (at == machine.network().links_.end() || at->second.attempt != attempt) return;
                             const bool reached = environment.wires.Connected(machine.place(), other->place()) && other->serving();
                             if (!reached || !machine.network().Greets(*other, at->second.peer)) return failed();
                             machine.network().Connected(to, attempt, *other);
                           });
}

void SimPeerNetwork::NotConnected(NodeId to, uint64_t attempt) {
  const auto found = links_.find(to);
  if (found == links_.end() || found->second.attempt != attempt) return;
  Link& link = found->second;
  link.state = Link::State::kWaiting;
  link.backoff = std::clamp(2 * link.backoff, kBackoffMin, kBackoffMax);
  const Environment& environment = machine_.environment();
  const Time wait = link.backoff / 2 + static_cast<Time>(random_.Below(static_cast<uint64_t>(link.backoff)));
  environment.events.After(wait, [&machine = machine_, life = machine_.life(), to, attempt] {
    if (!machine.IsLife(life)) return;
    const auto at = machine.network().links_.find(to);
    if (at == machine.network().links_.end() || at->second.attempt != attempt) return;
    at->second.state = Link::State::kIdle;
    if (!at->second.queue.empty()) machine.network().Connect(at->second);
  });
}

void SimPeerNetwork::Connected(NodeId to, uint64_t /*attempt*/, Machine& other) {
  Link& link = links_.at(to);
  link.state = Link::State::kOpen;
  link.backoff = 0;
  link.stream = machine_.environment().wires.NextStream();
  link.other_life = other.life();
  machine_.environment().tally.Add("forward stream opened");
  auto port = std::make_unique<ForwardPort>(other, machine_, machine_.life(), link.stream);
  ForwardPort* opened = port.get();
  link.session = other.Keep(std::move(port));
  other.Post([&other, session = link.session, opened] {
    if (other.Find(session) != nullptr) opened->Open();
  });
  Pump(link);
}

void SimPeerNetwork::Pump(Link& link) {
  if (link.state != Link::State::kOpen) return;
  Machine* other = directory_.AtAddress(link.peer.address);
  const MonotonicTime now = machine_.clock().Now();
  const Environment& environment = machine_.environment();
  std::deque<Queued> late;
  while (!link.queue.empty()) {
    Queued next = std::move(link.queue.front());
    link.queue.pop_front();
    if (next.deadline <= now) {
      late.push_back(std::move(next));
      continue;
    }
    if (machine_.DiesHere("crash before a part is forwarded")) return;
    next.request.timeout = next.deadline - now;
    environment.trace.Mark(Event::kSend, machine_.place(), other->place().value(), next.request.id, 9);
    environment.wires.Carry(
        {.from = machine_.place(), .to = other->place(), .stream = link.stream},
        [other, other_life = link.other_life, session = link.session, request = std::move(next.request)] {
          if (!other->IsLife(other_life)) return;
          // A stream that broke meanwhile brings nothing more.
          if (other->Find(session) == nullptr) return;
          ForwardRequest copy = request;
          if (auto* append = std::get_if<flotilla::broker::ForwardAppend>(&copy.operation)) {
            // What arrives are other bytes than those that were sent.
            append->batch.records = partition::RecordBuffer::CopyOf(append->batch.records.view());
          }
          other->Post([other, session, copy = std::move(copy)]() mutable {
            if (auto* port = static_cast<ForwardPort*>(other->Find(session)); port != nullptr) port->Submit(std::move(copy));
          });
        },
        [&machine = machine_, life = machine_.life(), stream = link.stream] {
          if (machine.IsLife(life)) machine.network().Break(stream);
        });
  }
  link.queue = std::move(late);
}

// The connection is gone: the other side notices on its own, this side after a while.
void SimPeerNetwork::CloseStream(Link& link) {
  if (link.stream == 0) return;
  Machine* other = directory_.AtAddress(link.peer.address);
  const Environment& environment = machine_.environment();
  environment.events.After(environment.wires.NoticeDelay(), [other, life = link.other_life, session = link.session] {
    if (other->IsLife(life)) other->Post([other, session] { other->Drop(session); });
  });
  link.stream = 0;
}

void SimPeerNetwork::Break(uint64_t stream) {
  Link* link = LinkOf(stream);
  if (link == nullptr) return;
  machine_.environment().tally.Add("forward stream broken");
  machine_.environment().trace.Line(machine_.place(), "its stream to node ", link->peer.id, " breaks");
  CloseStream(*link);
  link->state = Link::State::kWaiting;
  link->attempt = next_attempt_++;
  machine_.Post([this, to = link->peer.id, attempt = link->attempt] {
    const auto at = links_.find(to);
    if (at == links_.end() || at->second.attempt != attempt) return;
    for (const Queued& part : std::exchange(at->second.queue, {})) {
      if (std::holds_alternative<ForwardCancel>(part.request.operation)) continue;
      sink_.OnForwardAnswer(to, {.id = part.request.id, .status = Status(Reason::kNoLeader, "the connection broke before it was sent")});
    }
    sink_.OnForwardBroken(to);
    NotConnected(to, attempt);
  });
}

void SimPeerNetwork::PeerDied(const std::string& address) {
  for (auto& [id, link] : links_) {
    if (link.stream == 0 || link.peer.address != address) continue;
    machine_.environment().events.After(machine_.environment().wires.NoticeDelay(),
                                        [&machine = machine_, life = machine_.life(), stream = link.stream] {
                                          if (machine.IsLife(life)) machine.network().Break(stream);
                                        });
  }
}

void SimPeerNetwork::Abandon() {
  for (auto& [id, link] : links_) CloseStream(link);
}

void SimPeerNetwork::WatchDeadlines(NodeId to) {
  const auto found = links_.find(to);
  if (found == links_.end() || found->second.watching || found->second.queue.empty()) return;
  found->second.watching = true;
  machine_.environment().events.After(20 * kMillisecond, [&machine = machine_, life = machine_.life(), to] {
    if (!machine.IsLife(life)) return;
    SimPeerNetwork& network = machine.network();
    const auto at = network.links_.find(to);
    if (at == network.links_.end()) return;
    at->second.watching = false;
    std::deque<Queued> waiting;
    const MonotonicTime now = machine.clock().Now();
    for (Queued& part : at->second.queue) {
      if (part.deadline > now) {
        waiting.push_back(std::move(part));
      } else if (!std::holds_alternative<ForwardCancel>(part.request.operation)) {
        network.Refuse(to, part.request.id, "its time ran out");
      }
    }
    at->second.queue = std::move(waiting);
    network.WatchDeadlines(to);
  });
}

}  // namespace flotilla::sim::broker
