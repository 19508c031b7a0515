#include "server/rpc/peer/peer_network.h"

#include <grpcpp/channel.h>

#include <map>
#include <utility>

#include "server/rpc/peer/connection.h"
#include "server/rpc/peer/forward_client.h"
#include "server/rpc/peer/link_context.h"
#include "server/rpc/peer/peer_call.h"
#include "server/rpc/peer/raft_channel.h"

namespace flotilla::rpc {
namespace {

constexpr int kRaftChannels = 3;
// Addresses that unary calls were made to: members of a cluster, and the seeds of one that is not found yet.
constexpr size_t kCallConnectionsMax = 64;

}  // namespace

// All that goes to one peer.
struct PeerLink {
  PeerLink(const std::shared_ptr<LinkContext>& context, Random& random)
      : peer(context->peer),
        control(std::make_shared<RaftChannel>(context, raft::Channel::kControl, random.Fork())),
        data(std::make_shared<RaftChannel>(context, raft::Channel::kData, random.Fork())),
        snapshot(std::make_shared<RaftChannel>(context, raft::Channel::kSnapshot, random.Fork())),
        forwards(std::make_shared<ForwardClient>(context, random.Fork())) {}

  RaftChannel& Of(raft::Channel channel) const {
    if (channel == raft::Channel::kControl) return *control;
    return channel == raft::Channel::kData ? *data : *snapshot;
  }
  void Open() const {
    for (const auto& channel : {control, data, snapshot}) channel->Open();
  }
  void Close() const {
    for (const auto& channel : {control, data, snapshot}) channel->Close();
    forwards->Close();
  }

  const broker::Peer peer;
  const std::shared_ptr<RaftChannel> control;
  const std::shared_ptr<RaftChannel> data;
  const std::shared_ptr<RaftChannel> snapshot;
  const std::shared_ptr<ForwardClient> forwards;
};

class GrpcPeerNetwork::Links {
 public:
  Links(PeerNetworkOptions options, raft::Executor& executor, broker::PeerSink& sink)
      : options_(std::move(options)), random_(options_.seed), sink_(executor, sink), live_(std::make_shared<LiveStreams>()) {}

  std::shared_ptr<const PeerLink> Find(NodeId node) {
    MutexLock lock(mutex_);
    const auto found = links_.find(node);
    return found == links_.end() ? nullptr : found->second;
  }

  void Set(const std::vector<broker::Peer>& peers) {
    std::map<NodeId, std::shared_ptr<const PeerLink>> next, before;
    std::vector<std::shared_ptr<const PeerLink>> opened;
    for (const broker::Peer& peer : peers) {
      std::shared_ptr<const PeerLink> link = Find(peer.id);
      if (link == nullptr || link->peer != peer) opened.push_back(link = Make(peer));
      next[peer.id] = std::move(link);
    }
    {
      MutexLock lock(mutex_);
      if (stopped_) return;
      before.swap(links_);
      links_ = next;
    }
    for (const auto& [id, link] : before) {
      const auto kept = next.find(id);
      if (kept == next.end() || kept->second != link) link->Close();
    }
    for (const auto& link : opened) link->Open();
  }

  void Call(PeerCall::Request request, broker::PeerDone done) {
    auto& connection = call_connections_[request.address];
    if (connection == nullptr) connection = OpenConnection(request.address, options_.credentials);
    const std::shared_ptr<grpc::Channel> chosen = connection;
    // Calls that are under way hold on to theirs.
    if (call_connections_.size() > kCallConnectionsMax) call_connections_.clear();
    PeerCall::Begin(chosen, std::move(request), std::move(done), sink_, *live_);
  }

  void Refuse(NodeId to, const broker::ForwardRequest& request) {
    const Status why(Reason::kNoLeader, "node " + std::to_string(to.value()) + " is not a member; nothing was sent");
    sink_.Post([to, id = request.id, why](broker::PeerSink& sink) { sink.OnForwardAnswer(to, {.id = id, .status = why}); });
  }

  void Stop() {
    const auto cut = [this] { sink_.Cut(); };
    if (!RunOn(sink_.executor(), cut)) cut();
    std::map<NodeId, std::shared_ptr<const PeerLink>> links;
    {
      MutexLock lock(mutex_);
      stopped_ = true;
      links.swap(links_);
    }
    for (const auto& [id, link] : links) link->Close();
    live_->Abort(Status(Reason::kShuttingDown, "this node stops"));
    live_->WaitUntilEmpty();
  }

 private:
  std::shared_ptr<const PeerLink> Make(const broker::Peer& peer) {
    auto context = std::shared_ptr<LinkContext>(new LinkContext{.peer = peer,
                                                                .limits = options_.limits,
                                                                .credentials = options_.credentials,
                                                                .identity = options_.identity,
                                                                .sink = sink_,
                                                                .live = live_,
                                                                .log = {peer, kRaftChannels, options_.limits.log_interval}});
    return std::make_shared<const PeerLink>(context, random_);
  }

  const PeerNetworkOptions options_;
  Random random_;  // executor
  SinkPost sink_;
  const std::shared_ptr<LiveStreams> live_;
  std::map<std::string, std::shared_ptr<grpc::Channel>, std::less<>> call_connections_;  // executor

  Mutex mutex_;
  bool stopped_ FLOTILLA_GUARDED_BY(mutex_) = false;
  std::map<NodeId, std::shared_ptr<const PeerLink>> links_ FLOTILLA_GUARDED_BY(mutex_);
};

GrpcPeerNetwork::GrpcPeerNetwork(PeerNetworkOptions options, raft::Executor& executor, broker::PeerSink& sink)
    : links_(std::make_unique<Links>(std::move(options), executor, sink)) {}

GrpcPeerNetwork::~GrpcPeerNetwork() { Stop(); }

void GrpcPeerNetwork::Stop() { links_->Stop(); }

void GrpcPeerNetwork::Send(raft::Channel channel, raft::PeerMessage message) {
  if (const auto link = links_->Find(message.to)) link->Of(channel).Send(std::move(message));
}

void GrpcPeerNetwork::SetPeers(const std::vector<broker::Peer>& peers) { links_->Set(peers); }

void GrpcPeerNetwork::Call(const std::string& address, std::string_view method, std::string request, Duration timeout,
                           broker::PeerDone done) {
  links_->Call({.address = address, .method = std::string(method), .bytes = std::move(request), .timeout = timeout}, std::move(done));
}

void GrpcPeerNetwork::Forward(NodeId to, broker::ForwardRequest request) {
  if (const auto link = links_->Find(to)) return link->forwards->Forward(std::move(request));
  if (std::holds_alternative<broker::ForwardCancel>(request.operation)) return;
  links_->Refuse(to, request);
}

}  // namespace flotilla::rpc
