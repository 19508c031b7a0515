// How clients reach nodes: what the gRPC edge does between a client's bytes and broker::ClientApi, over the simulated wires.
//
//   connections.Call(client, machine, "/flotilla.v1.AdminService/CreateTopic", request, 5 * kSecond, [..](CallOutcome outcome) {...});
//   uint64_t stream = connections.OpenProduce(client, machine, listener);
//   connections.Produce(stream, correlation_id, request);
//
// A connection breaks when the process at the other end dies, when a message of it is lost, or when the client drops it; of what
// was not answered the client then knows nothing. Callbacks come as events of their own.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "flotilla/v1/cluster.pb.h"
#include "flotilla/v1/consume.pb.h"
#include "flotilla/v1/errors.pb.h"
#include "flotilla/v1/produce.pb.h"
#include "server/broker/client_api.h"
#include "tests/sim/broker/machine.h"

namespace flotilla::sim::broker {

// What a client hears of a call.
struct CallOutcome {
  bool broken = false;             // no answer: it may have been done or not
  std::optional<v1::Error> error;  // refused
  std::string response;
  bool ok() const { return !broken && !error; }
  // Certainly nothing was done.
  bool nothing_done() const { return !broken && error && (error->retry() == v1::RETRY_SAFE || error->retry() == v1::RETRY_NEVER); }
  std::string ToString() const;
};
struct FetchOutcome {
  bool broken = false;
  std::optional<v1::Error> error;
  flotilla::broker::FetchAnswer answer;
};

class ProduceListener {
 public:
  virtual ~ProduceListener() = default;
  virtual void OnAnswer(uint64_t stream, v1::ProduceStreamResponse answer) = 0;
  virtual void OnBroken(uint64_t stream) = 0;
};
class EventListener {
 public:
  virtual ~EventListener() = default;
  // The next one comes when this one is dealt with, `busy` later.
  virtual Time OnEvent(uint64_t stream, flotilla::broker::SubscribeEvent event) = 0;
  virtual void OnEnd(uint64_t stream, const std::optional<v1::Error>& error) = 0;
  virtual void OnBroken(uint64_t stream) = 0;
};
class WatchListener {
 public:
  virtual ~WatchListener() = default;
  virtual void OnEvent(uint64_t stream, const v1::WatchMetadataResponse& event) = 0;
  virtual void OnClosed(uint64_t stream) = 0;
};

class Connections {
 public:
  explicit Connections(const Environment& environment, Random random) : environment_(environment), random_(random) {}
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  void Call(Place client, Machine& machine, std::string_view method, std::string request, Time timeout,
            std::function<void(CallOutcome)> done);
  void Fetch(Place client, Machine& machine, const v1::FetchRequest& request, Time timeout, std::function<void(FetchOutcome)> done);

  // Streams. Listeners live until the stream is closed or has ended.
  uint64_t OpenProduce(Place client, Machine& machine, ProduceListener& listener);
  void Produce(uint64_t stream, int64_t correlation_id, const v1::ProduceRequest& request, Time timeout);
  uint64_t Subscribe(Place client, Machine& machine, const v1::SubscribeRequest& request, EventListener& listener);
  uint64_t Watch(Place client, Machine& machine, const v1::WatchMetadataRequest& request, WatchListener& listener);
  void Close(uint64_t stream);
  bool IsOpen(uint64_t stream) const { return streams_.contains(stream); }
  size_t open_streams() const { return streams_.size(); }

  // Its process is gone.
  void OnDown(Machine& machine);

 private:
  struct Pending;
  class ProducePort;
  class SubscribePort;
  class WatchPort;
  struct Stream {
    Place client;
    Machine* machine = nullptr;
    uint64_t life = 0;
    uint64_t session = 0;
    std::function<void()> broken;  // tells the listener
  };

  std::shared_ptr<Pending> Begin(Place client, Machine& machine, Time timeout);
  uint64_t OpenStream(Place client, Machine& machine, std::function<void(uint64_t)> broken);
  // At the machine, when the request has come.
  void AtMachine(uint64_t stream, std::function<void(Stream&)> work);
  // Back at the client.
  void AtClient(uint64_t stream, std::function<void()> work);
  void BreakSoon(uint64_t stream);
  void Break(uint64_t stream);

  const Environment environment_;
  Random random_;
  uint64_t next_ = 1;
  std::map<uint64_t, Stream> streams_;
  std::map<uint64_t, std::vector<std::weak_ptr<Pending>>> pending_;  // by machine
};

}  // namespace flotilla::sim::broker
