// Nodes of the edge alone: a peer server, a network, and in the broker's place one that writes down what it
// hears.
//
//   TestNode one(NodeId{1}), two(NodeId{2});
//   one.Meet({two.AsPeer()});
//   one.Send(raft::Channel::kData, Append(one.id(), two.id(), "payload"));
//   two.Await([&] { return two.received.size() == 1; });
#pragma once

#include <glog/logging.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "raft/node/thread_executor.h"
#include "server/broker/peer_api.h"
#include "server/broker/peer_network.h"
#include "server/errors/refusal.h"
#include "server/rpc/credentials.h"
#include "server/rpc/peer/peer_network.h"
#include "server/rpc/peer/peer_server.h"

namespace flotilla::rpc {

struct TestNodeOptions {
  std::string cluster = "cluster-a-uuid-1";  // 16 bytes
  std::string address = "127.0.0.1:0";
  PeerLimits limits = {.backoff_max = std::chrono::milliseconds(100)};
};

inline Uuid UuidOf(NodeId id) {
  std::string bytes(16, '\0');
  bytes[15] = static_cast<char>(id.value());
  return *Uuid::FromBytes(bytes);
}

class TestNode final : public broker::PeerApi, public broker::PeerSink {
 public:
  explicit TestNode(NodeId id, TestNodeOptions options = {}) : id_(id), options_(std::move(options)), executor_("node") {
    executor_.Start();
    auto started =
        PeerServer::Start({.address = options_.address, .credentials = InsecurePeerCredentials().server, .limits = options_.limits}, *this);
    CHECK(started.ok()) << started.status();
    server_ = *std::move(started);
    network_ = std::make_unique<GrpcPeerNetwork>(PeerNetworkOptions{.identity = [this] { return Identity(); },
                                                                    .credentials = InsecurePeerCredentials().client,
                                                                    .limits = options_.limits,
                                                                    .seed = id.value()},
                                                 executor_, *this);
  }
  ~TestNode() override {
    server_->Stop();
    network_->Stop();
    executor_.Stop();
  }

  NodeId id() const { return id_; }
  PeerServer& server() { return *server_; }
  GrpcPeerNetwork& network() { return *network_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  broker::Peer AsPeer() const { return {.id = id_, .uuid = UuidOf(id_), .address = address()}; }

  void Meet(const std::vector<broker::Peer>& peers) {
    executor_.Post([this, peers] { network_->SetPeers(peers); });
  }
  void Send(raft::Channel channel, raft::PeerMessage message) { network_->Send(channel, std::move(message)); }
  void Forward(NodeId to, broker::ForwardRequest request) {
    executor_.Post([this, to, request = std::move(request)]() mutable { network_->Forward(to, std::move(request)); });
  }
  // Comes back with the outcome.
  Result<std::string> Call(const std::string& to, const std::string& method, std::string request, Duration timeout) {
    auto outcome = std::make_shared<std::optional<Result<std::string>>>();
    executor_.Post([=, this] {
      network_->Call(to, method, request, timeout, [=, this](Result<std::string> result) { Note([&] { *outcome = std::move(result); }); });
    });
    if (!Await([&] { return outcome->has_value(); })) return Status(Reason::kCancelled, "the test waited in vain");
    return **outcome;
  }

  // Waits for what `condition` asks of the notes below; false when that takes too long.
  bool Await(const std::function<bool()>& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), condition);
  }
  void Note(const std::function<void()>& change) {
    {
      const std::lock_guard lock(mutex_);
      change();
    }
    changed_.notify_all();
  }

  // --- Notes: look at them inside of Await.
  std::vector<raft::PeerMessage> received;
  std::map<uint64_t, std::vector<broker::ForwardAnswer>> answers;
  std::vector<broker::ForwardRequest> submitted;
  std::vector<std::string> calls;
  int unreachable = 0;
  int broken = 0;
  int open_sessions = 0;
  mutable std::atomic<int> greetings = 0;
  // How it behaves; set before anything comes.
  std::function<Result<std::string>(std::string_view method, const std::string& request)> answer_call =
      [](std::string_view, const std::string& request) { return "re: " + request; };
  std::function<std::optional<broker::ForwardAnswer>(const broker::ForwardRequest&)> answer_forward =
      [](const broker::ForwardRequest& request) {
        return broker::ForwardAnswer{.id = request.id, .result = partition::ProduceResult{.base_offset = Offset{request.id}}};
      };
  // Instead of that, when it is set: answers when it likes.
  std::function<void(const broker::ForwardRequest&, broker::ForwardSink&)> handle_forward;
  bool silent = false;  // unary calls are not answered

  // --- PeerApi
  raft::Executor& executor() override { return executor_; }
  internal::v1::NodeIdentity Identity() const override {
    internal::v1::NodeIdentity identity;
    identity.set_cluster_id(options_.cluster);
    identity.set_node_id(id_.value());
    identity.set_node_uuid(std::string(UuidOf(id_).bytes()));
    identity.set_client_address("client.example:9650");
    return identity;
  }
  Result<internal::v1::HandshakeResponse> Greet(const internal::v1::HandshakeRequest& request) const override {
    ++greetings;
    if (request.caller().cluster_id() != options_.cluster) {
      return Refuse(Refusal::kClusterMismatch, "we are in " + options_.cluster + ", you are in " + request.caller().cluster_id())
          .With("ours", options_.cluster)
          .With("theirs", request.caller().cluster_id());
    }
    if (request.expected_node_id() != id_.value()) return Refuse(Refusal::kNodeMismatch, "not me").With("node_id", id_.value());
    internal::v1::HandshakeResponse response;
    *response.mutable_callee() = Identity();
    return response;
  }
  void Receive(raft::PeerMessage message) override {
    Note([&] { received.push_back(std::move(message)); });
  }
  void PeerCall(std::string_view method, const std::string& request, std::function<void(Result<std::string>)> done) override {
    std::optional<Result<std::string>> answer;
    Note([&] {
      calls.emplace_back(method);
      if (!silent) answer = answer_call(method, request);
    });
    if (answer) {
      done(std::move(*answer));
    } else {
      kept_.push_back(std::move(done));
    }
  }
  std::unique_ptr<broker::ForwardSession> OpenForward(broker::ForwardSink& sink) override { return std::make_unique<Session>(*this, sink); }

  // --- PeerSink
  void OnForwardAnswer(NodeId /*from*/, broker::ForwardAnswer answer) override {
    Note([&] { answers[answer.id].push_back(std::move(answer)); });
  }
  void OnForwardBroken(NodeId /*to*/) override {
    Note([&] { ++broken; });
  }
  void OnUnreachable(NodeId /*node*/) override {
    Note([&] { ++unreachable; });
  }

 private:
  class Session final : public broker::ForwardSession {
   public:
    Session(TestNode& node, broker::ForwardSink& sink) : node_(node), sink_(sink) {
      node_.Note([&] { ++node_.open_sessions; });
    }
    ~Session() override {
      node_.Note([&] { --node_.open_sessions; });
    }
    void Submit(broker::ForwardRequest request) override {
      if (node_.handle_forward) return node_.handle_forward(request, sink_);
      std::optional<broker::ForwardAnswer> answer = node_.answer_forward(request);
      node_.Note([&] { node_.submitted.push_back(std::move(request)); });
      if (answer) sink_.OnForwardDone(*std::move(answer));
    }

   private:
    TestNode& node_;
    broker::ForwardSink& sink_;
  };

  const NodeId id_;
  const TestNodeOptions options_;
  raft::ThreadExecutor executor_;
  std::vector<std::function<void(Result<std::string>)>> kept_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<PeerServer> server_;
  std::unique_ptr<GrpcPeerNetwork> network_;
};

// Counts the lines of the log that have this text in them.
class LogWatch final : public google::LogSink {
 public:
  explicit LogWatch(std::string text) : text_(std::move(text)) { google::AddLogSink(this); }
  ~LogWatch() override { google::RemoveLogSink(this); }
  void send(google::LogSeverity, const char*, const char*, int, const google::LogMessageTime&, const char* message, size_t size) override {
    const std::lock_guard lock(mutex_);
    const std::string line(message, size);
    if (line.find(text_) != std::string::npos) lines_.push_back(line);
  }
  std::vector<std::string> lines() {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  const std::string text_;
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

}  // namespace flotilla::rpc
