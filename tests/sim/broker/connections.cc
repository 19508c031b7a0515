#include "tests/sim/broker/connections.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "server/errors/error_codec.h"
#include "server/errors/refusal.h"
#include "server/rpc/client/produce_split.h"

namespace flotilla::sim::broker {

using flotilla::broker::Caller;
using rpc::client::RawProduce;

namespace {

// How much longer than the call's deadline a client waits for its answer.
constexpr Time kClientGrace = 500 * kMillisecond;

Caller CallerOf(Place client, Machine& machine, Time timeout) {
  return {.principal = "",
          .address = "client-" + std::to_string(client.value()),
          .deadline = machine.clock().Now() + std::chrono::microseconds(timeout)};
}

}  // namespace

std::string CallOutcome::ToString() const {
  if (broken) return "broken connection";
  if (error) return v1::ErrorReason_Name(error->reason()) + ": " + error->message();
  return "OK";
}

// --- Unary calls

// A call that a client waits for. What happens first decides.
struct Connections::Pending {
  EventQueue& events;
  std::function<void()> broken;
  bool over = false;

  // True, once.
  bool Decide() { return !std::exchange(over, true); }
  void Break() {
    if (Decide()) broken();
  }
};

std::shared_ptr<Connections::Pending> Connections::Begin(Place /*client*/, Machine& machine, Time timeout) {
  auto pending = std::make_shared<Pending>(Pending{.events = environment_.events, .broken = {}});
  environment_.events.After(timeout + kClientGrace, [pending] { pending->Break(); });
  auto& list = pending_[machine.place().value()];
  std::erase_if(list, [](const std::weak_ptr<Pending>& other) { return other.expired() || other.lock()->over; });
  list.push_back(pending);
  return pending;
}

void Connections::Call(Place client, Machine& machine, std::string_view method, std::string request, Time timeout,
                       std::function<void(CallOutcome)> done) {
  const std::shared_ptr<Pending> pending = Begin(client, machine, timeout);
  pending->broken = [done] { done({.broken = true, .error = {}, .response = {}}); };
  const auto lost = [pending, &environment = environment_] {
    environment.events.After(environment.wires.NoticeDelay(), [pending] { pending->Break(); });
  };
  const uint64_t stream = environment_.wires.NextStream();
  const auto arrived = [this, client, &machine, pending, lost, stream, timeout, done, method = std::string(method),
                        request = std::move(request)] {
    if (!machine.serving()) return lost();
    machine.Post([this, client, &machine, pending, lost, stream, timeout, done, method, request] {
      machine.broker().Call(method, request, CallerOf(client, machine, timeout),
                            [this, client, &machine, pending, lost, stream, done](const Result<std::string>& answer) {
                              if (machine.DiesHere("crash before an answer to a client")) return;
                              CallOutcome outcome;
                              if (answer.ok()) {
                                outcome.response = *answer;
                              } else {
                                outcome.error = ToError(answer.status());
                                environment_.tally.Add("answered " + v1::ErrorReason_Name(outcome.error->reason()));
                              }
                              environment_.wires.Carry(
                                  {.from = machine.place(), .to = client, .stream = stream},
                                  [pending, done, outcome = std::move(outcome)] {
                                    if (pending->Decide()) done(outcome);
                                  },
                                  lost);
                            });
    });
  };
  environment_.wires.Carry({.from = client, .to = machine.place(), .stream = stream}, arrived, lost);
}

void Connections::Fetch(Place client, Machine& machine, const v1::FetchRequest& request, Time timeout,
                        std::function<void(FetchOutcome)> done) {
  const std::shared_ptr<Pending> pending = Begin(client, machine, timeout);
  pending->broken = [done] { done({.broken = true, .error = {}, .answer = {}}); };
  const auto lost = [pending, &environment = environment_] {
    environment.events.After(environment.wires.NoticeDelay(), [pending] { pending->Break(); });
  };
  const uint64_t stream = environment_.wires.NextStream();
  const auto answered = [this, client, &machine, pending, lost, stream, done](Result<flotilla::broker::FetchAnswer> answer) {
    if (machine.DiesHere("crash before an answer to a client")) return;
    FetchOutcome outcome;
    if (answer.ok()) {
      outcome.answer = *std::move(answer);
    } else {
      outcome.error = ToError(answer.status());
      environment_.tally.Add("answered " + v1::ErrorReason_Name(outcome.error->reason()));
    }
    environment_.wires.Carry(
        {.from = machine.place(), .to = client, .stream = stream},
        [pending, done, outcome = std::move(outcome)] {
          if (pending->Decide()) done(outcome);
        },
        lost);
  };
  const auto arrived = [client, &machine, lost, timeout, answered, request] {
    if (!machine.serving()) return lost();
    machine.Post(
        [client, &machine, timeout, answered, request] { machine.broker().Fetch(request, CallerOf(client, machine, timeout), answered); });
  };
  environment_.wires.Carry({.from = client, .to = machine.place(), .stream = stream}, arrived, lost);
}

// --- Streams

uint64_t Connections::OpenStream(Place client, Machine& machine, std::function<void(uint64_t)> broken) {
  const uint64_t id = next_++;
  streams_.emplace(id, Stream{.client = client, .machine = &machine, .broken = [broken = std::move(broken), id] { broken(id); }});
  return id;
}

void Connections::AtMachine(uint64_t stream, std::function<void(Stream&)> work) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  Machine& machine = *found->second.machine;
  environment_.wires.Carry(
      {.from = found->second.client, .to = machine.place(), .stream = stream << 20},
      [this, &machine, stream, work = std::move(work)] {
        const auto at = streams_.find(stream);
        if (at == streams_.end()) return;
        if (at->second.life == 0) at->second.life = machine.life();
        if (!machine.serving() || machine.life() != at->second.life) return BreakSoon(stream);
        work(at->second);
      },
      [this, stream] { BreakSoon(stream); });
}

void Connections::AtClient(uint64_t stream, std::function<void()> work) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  environment_.wires.Carry(
      {.from = found->second.machine->place(), .to = found->second.client, .stream = stream << 20},
      [this, stream, work = std::move(work)] {
        if (streams_.contains(stream)) work();
      },
      [this, stream] { BreakSoon(stream); });
}

void Connections::BreakSoon(uint64_t stream) {
  environment_.events.After(environment_.wires.NoticeDelay(), [this, stream] { Break(stream); });
}

void Connections::Break(uint64_t stream) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  environment_.tally.Add("client stream broken");
  const std::function<void()> broken = found->second.broken;
  Close(stream);
  broken();
}

void Connections::Close(uint64_t stream) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  const Stream gone = found->second;
  streams_.erase(found);
  if (gone.session == 0) return;
  environment_.events.After(environment_.wires.NoticeDelay(), [gone] {
    if (gone.machine->IsLife(gone.life)) gone.machine->Post([gone] { gone.machine->Drop(gone.session); });
  });
}

void Connections::OnDown(Machine& machine) {
  for (const std::weak_ptr<Pending>& weak : std::exchange(pending_[machine.place().value()], {})) {
    const std::shared_ptr<Pending> pending = weak.lock();
    if (pending == nullptr || pending->over) continue;
    environment_.events.After(environment_.wires.NoticeDelay(), [pending] { pending->Break(); });
  }
  for (auto& [id, stream] : streams_) {
    if (stream.machine == &machine && stream.life == machine.life()) BreakSoon(id);
  }
}

// What the edge keeps of a ProduceStream.
class Connections::ProducePort final : public Session, public flotilla::broker::ProduceSink {
 public:
  ProducePort(Connections& connections, Machine& machine, Place client, uint64_t stream, ProduceListener& listener, uint64_t seed)
      : connections_(connections), machine_(machine), client_(client), stream_(stream), listener_(listener), splitter_(seed) {}

  // Where it is kept; on the executor.
  void Open(uint64_t session) {
    session_ = session;
    produce_ = machine_.broker().OpenProduce(*this);
  }

  void Take(int64_t correlation_id, std::string bytes, Time timeout) {
    waiting_.push_back({correlation_id, std::move(bytes), machine_.clock().Now() + std::chrono::microseconds(timeout)});
    Pump();
  }

  void OnProduced(uint64_t token, v1::ProduceResponse response) override {
    v1::ProduceStreamResponse answer;
    const auto found = submitted_.find(token);
    CHECK(found != submitted_.end()) << "an answer to nothing";
    answer.set_correlation_id(found->second);
    submitted_.erase(found);
    answer.mutable_response()->Swap(&response);
    Send(std::move(answer));
  }

 private:
  struct Waiting {
    int64_t correlation_id;
    std::string bytes;
    MonotonicTime deadline;
  };

  void Pump() {
    while (!synchronising_ && !waiting_.empty()) {
      Waiting next = std::move(waiting_.front());
      waiting_.pop_front();
      google::protobuf::io::ArrayInputStream in(next.bytes.data(), static_cast<int>(next.bytes.size()));
      Result<RawProduce> raw = rpc::client::ReadProduceRequest(in, next.bytes.size());
      const Caller caller{.principal = "", .address = "client-" + std::to_string(client_.value()), .deadline = next.deadline};
      if (!raw.ok()) {
        Refuse(next.correlation_id, raw.status());
        continue;
      }
      const auto image = machine_.broker().metadata();
      if (image == nullptr || !raw->refusal.ok() || !rpc::client::NamesWhatIsNotThere(*raw, *image)) {
        Deliver(next.correlation_id, *std::move(raw), caller);
        continue;
      }
      connections_.environment_.tally.Add("produce waits for newer metadata");
      synchronising_ = true;
      auto shared = std::make_shared<RawProduce>(*std::move(raw));
      machine_.broker().SyncMetadata(
          caller, [&machine = machine_, session = session_, correlation_id = next.correlation_id, shared, caller](const Status& status) {
            auto* port = static_cast<ProducePort*>(machine.Find(session));
            if (port != nullptr) port->Synchronised(status, correlation_id, std::move(*shared), caller);
          });
    }
  }

  void Synchronised(const Status& status, int64_t correlation_id, RawProduce raw, const Caller& caller) {
    synchronising_ = false;
    if (status.ok()) {
      Deliver(correlation_id, std::move(raw), caller);
    } else {
      // What is behind it must not overtake it: the stream ends.
      Refuse(correlation_id, status);
      waiting_.clear();
      synchronising_ = true;
      connections_.AtClient(stream_, [&connections = connections_, stream = stream_] { connections.Break(stream); });
    }
    Pump();
  }

  void Deliver(int64_t correlation_id, RawProduce raw, const Caller& caller) {
    const auto image = machine_.broker().metadata();
    if (image == nullptr) return Refuse(correlation_id, flotilla::Refuse(Refusal::kNotInitialized, "this node is in no cluster yet"));
    Result<flotilla::broker::ProduceCommand> command = splitter_.Split(std::move(raw), *image);
    if (!command.ok()) return Refuse(correlation_id, command.status());
    const uint64_t token = next_token_++;
    submitted_[token] = correlation_id;
    produce_->Submit(*std::move(command), caller, token);
  }

  void Refuse(int64_t correlation_id, const Status& status) {
    v1::ProduceStreamResponse answer;
    answer.set_correlation_id(correlation_id);
    *answer.mutable_error() = ToError(status);
    Send(std::move(answer));
  }

  void Send(v1::ProduceStreamResponse answer) {
    if (machine_.DiesHere("crash before an answer to a client")) return;
    Tally& tally = connections_.environment_.tally;
    if (answer.has_error()) tally.Add("answered " + v1::ErrorReason_Name(answer.error().reason()));
    for (const v1::ProduceResult& result : answer.response().results()) {
      if (result.has_error()) tally.Add("answered " + v1::ErrorReason_Name(result.error().reason()));
    }
    connections_.AtClient(stream_,
                          [&listener = listener_, stream = stream_, answer = std::move(answer)] { listener.OnAnswer(stream, answer); });
  }

  Connections& connections_;
  Machine& machine_;
  const Place client_;
  const uint64_t stream_;
  ProduceListener& listener_;
  rpc::client::ProduceSplitter splitter_;
  uint64_t session_ = 0;
  std::deque<Waiting> waiting_;
  bool synchronising_ = false;
  std::map<uint64_t, int64_t> submitted_;
  uint64_t next_token_ = 1;
  std::unique_ptr<flotilla::broker::ProduceSession> produce_;  // the first to go: it calls us
};

uint64_t Connections::OpenProduce(Place client, Machine& machine, ProduceListener& listener) {
  const uint64_t id = OpenStream(client, machine, [&listener](uint64_t stream) { listener.OnBroken(stream); });
  AtMachine(id, [this, id, client, &machine, &listener, seed = random_.Next()](Stream& stream) {
    auto port = std::make_unique<ProducePort>(*this, machine, client, id, listener, seed);
    ProducePort* opened = port.get();
    stream.session = machine.Keep(std::move(port));
    machine.Post([&machine, opened, session = stream.session] {
      if (machine.Find(session) != nullptr) opened->Open(session);
    });
  });
  return id;
}

void Connections::Produce(uint64_t stream, int64_t correlation_id, const v1::ProduceRequest& request, Time timeout) {
  AtMachine(stream, [correlation_id, bytes = request.SerializeAsString(), timeout](Stream& opened) {
    opened.machine->Post([&machine = *opened.machine, session = opened.session, correlation_id, bytes, timeout] {
      if (auto* port = static_cast<ProducePort*>(machine.Find(session)); port != nullptr) port->Take(correlation_id, bytes, timeout);
    });
  });
}

class Connections::SubscribePort final : public Session, public flotilla::broker::SubscribeSink {
 public:
  SubscribePort(Connections& connections, Machine& machine, uint64_t stream, EventListener& listener)
      : connections_(connections), machine_(machine), stream_(stream), listener_(listener) {}

  void Open(const v1::SubscribeRequest& request, const Caller& caller) { events_ = machine_.broker().Subscribe(request, caller, *this); }
  void Ready() {
    if (!ended_) events_->Ready();
  }

  void OnEvent(flotilla::broker::SubscribeEvent event) override {
    if (machine_.DiesHere("crash before an event to a client")) return;
    connections_.AtClient(stream_, [&connections = connections_, stream = stream_, &listener = listener_, event = std::move(event)] {
      const Time busy = listener.OnEvent(stream, event);
      connections.environment_.events.After(busy, [&connections, stream] {
        connections.AtMachine(stream, [](Stream& opened) {
          opened.machine->Post([&machine = *opened.machine, session = opened.session] {
            if (auto* port = static_cast<SubscribePort*>(machine.Find(session)); port != nullptr) port->Ready();
          });
        });
      });
    });
  }
  void OnEnd(const Status& status) override {
    ended_ = true;
    if (machine_.DiesHere("crash before an event to a client")) return;
    std::optional<v1::Error> error;
    if (!status.ok()) {
      error = ToError(status);
      connections_.environment_.tally.Add("stream ended " + v1::ErrorReason_Name(error->reason()));
    }
    connections_.AtClient(stream_, [&connections = connections_, stream = stream_, &listener = listener_, error] {
      connections.Close(stream);
      listener.OnEnd(stream, error);
    });
  }

 private:
  Connections& connections_;
  Machine& machine_;
  const uint64_t stream_;
  EventListener& listener_;
  bool ended_ = false;
  std::unique_ptr<flotilla::broker::EventStream> events_;
};

uint64_t Connections::Subscribe(Place client, Machine& machine, const v1::SubscribeRequest& request, EventListener& listener) {
  const uint64_t id = OpenStream(client, machine, [&listener](uint64_t stream) { listener.OnBroken(stream); });
  AtMachine(id, [this, id, client, &machine, &listener, request](Stream& stream) {
    auto port = std::make_unique<SubscribePort>(*this, machine, id, listener);
    SubscribePort* opened = port.get();
    stream.session = machine.Keep(std::move(port));
    machine.Post([&machine, opened, client, request, session = stream.session] {
      if (machine.Find(session) != nullptr) opened->Open(request, CallerOf(client, machine, 3600 * kSecond));
    });
  });
  return id;
}

class Connections::WatchPort final : public Session, public flotilla::broker::WatchSink {
 public:
  WatchPort(Connections& connections, Machine& machine, uint64_t stream, WatchListener& listener)
      : connections_(connections), machine_(machine), stream_(stream), listener_(listener) {}

  void Open(const v1::WatchMetadataRequest& request, const Caller& caller) {
    events_ = machine_.broker().WatchMetadata(request, caller, *this);
  }
  void Ready() {
    if (!ended_) events_->Ready();
  }
  void OnEvent(v1::WatchMetadataResponse event) override {
    if (machine_.DiesHere("crash before an event to a client")) return;
    connections_.AtClient(stream_, [&connections = connections_, stream = stream_, &listener = listener_, event = std::move(event)] {
      listener.OnEvent(stream, event);
      connections.AtMachine(stream, [](Stream& opened) {
        opened.machine->Post([&machine = *opened.machine, session = opened.session] {
          if (auto* port = static_cast<WatchPort*>(machine.Find(session)); port != nullptr) port->Ready();
        });
      });
    });
  }
  void OnEnd(const Status& /*status*/) override {
    ended_ = true;
    if (machine_.DiesHere("crash before an event to a client")) return;
    connections_.AtClient(stream_, [&connections = connections_, stream = stream_, &listener = listener_] {
      connections.Close(stream);
      listener.OnClosed(stream);
    });
  }

 private:
  Connections& connections_;
  Machine& machine_;
  const uint64_t stream_;
  WatchListener& listener_;
  bool ended_ = false;
  std::unique_ptr<flotilla::broker::EventStream> events_;
};

uint64_t Connections::Watch(Place client, Machine& machine, const v1::WatchMetadataRequest& request, WatchListener& listener) {
  const uint64_t id = OpenStream(client, machine, [&listener](uint64_t stream) { listener.OnClosed(stream); });
  AtMachine(id, [this, id, client, &machine, &listener, request](Stream& stream) {
    auto port = std::make_unique<WatchPort>(*this, machine, id, listener);
    WatchPort* opened = port.get();
    stream.session = machine.Keep(std::move(port));
    machine.Post([&machine, opened, client, request, session = stream.session] {
      if (machine.Find(session) != nullptr) opened->Open(request, CallerOf(client, machine, 3600 * kSecond));
    });
  });
  return id;
}

}  // namespace flotilla::sim::broker
