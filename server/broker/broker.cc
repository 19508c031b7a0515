#include "server/broker/broker.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "server/broker/limits.h"
#include "server/errors/error_codec.h"
#include "server/errors/refusal.h"
#include "server/metadata/membership.h"
#include "server/metadata/records.h"

namespace flotilla::broker {
namespace {

constexpr std::string_view kInitCluster = "/flotilla.v1.ClusterService/InitCluster";
constexpr std::string_view kGetServerInfo = "/flotilla.v1.ClusterService/GetServerInfo";
constexpr std::string_view kGetHealth = "/flotilla.v1.ClusterService/GetHealth";
constexpr std::string_view kBootstrap = "/flotilla.internal.v1.MembershipService/Bootstrap";
constexpr std::string_view kForwardCall = "/flotilla.internal.v1.ForwardService/ForwardCall";
constexpr std::string_view kPublicPackage = "/flotilla.v1.";
constexpr std::string_view kPeerPackage = "/flotilla.internal.v1.";

// Twice a second.
constexpr uint64_t kViewTicks = 10;

bool StartsWith(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

// After a start, or when it has just joined.
Status NoMetadataYet() {
  return Status(Reason::kNoLeader, "this node belongs to a cluster, but has not heard from the metadata leader yet; try again shortly");
}

Status NotInitialized() {
  return Refuse(Refusal::kNotInitialized, "this node is in no cluster yet; run `flotilla cluster init` once, on any node");
}
// It has moved, or is a copy, which it finds out.
Status NotYetHere() {
  return Status(Reason::kNoLeader,
                "this node was started at another address than before, and asks whether it runs at the old one still; try again shortly");
}
Status ShuttingDown() { return Status(Reason::kShuttingDown, "this node is about to stop; ask another one"); }

std::string Range(uint32_t min, uint32_t max) { return std::to_string(min) + "-" + std::to_string(max); }

// An event stream that ended before it began.
class NoStream final : public EventStream {
 public:
  void Ready() override {}
};
class NoSession final : public ProduceSession {
 public:
  NoSession(ProduceSink& sink, Status status) : sink_(sink), status_(std::move(status)) {}
  void Submit(ProduceCommand command, const Caller&, uint64_t token) override {
    v1::ProduceResponse response;
    for (size_t i = 0; i < command.items.size(); ++i) *response.add_results()->mutable_error() = ToError(status_);
    sink_.OnProduced(token, std::move(response));
  }

 private:
  ProduceSink& sink_;
  const Status status_;
};
class NoForward final : public ForwardSession {
 public:
  explicit NoForward(ForwardSink& sink) : sink_(sink) {}
  void Submit(ForwardRequest request) override {
    if (std::holds_alternative<ForwardCancel>(request.operation)) return;
    sink_.OnForwardDone({.id = request.id, .status = NotInitialized(), .leader = {}, .leader_epoch = {}, .result = {}});
  }

 private:
  ForwardSink& sink_;
};

}  // namespace

Broker::Broker(BrokerOptions options, const BrokerSurroundings& around, Random random)
    : options_(std::move(options)),
      around_(around),
      random_(random),
      life_(options_, around_,
            {.become_member = [this](bool campaign) { BecomeMember(campaign); },
             .identity = [this] { return Identity(); },
             .image = [this]() -> metadata::Shared<metadata::Image> {
               if (member_ == nullptr) return nullptr;
               return member_->feed().Current();
             },
             .controller = [this] { return member_ == nullptr ? NodeId{} : member_->controller(); },
             .met =
                 [this](const internal::v1::JoinResponse& registered) {
                   if (member_ != nullptr) member_->Meet(registered);
                   const MutexLock lock(mutex_);
                   met_ = registered;
                 },
             .stop = [this](const Status& status) { Halt(status); }},
            random_.Fork()) {}

Broker::~Broker() = default;

Status Broker::Start() {
  FLOTILLA_RETURN_IF_ERROR(life_.Start());
  UpdateViews();
  return halted_;
}

void Broker::BecomeMember(bool campaign) {
  CHECK(member_ == nullptr);
  ShowIdentity();  // peers are greeted with it as soon as there are any
  member_ = std::make_unique<Member>(options_, around_, life_.state(),
                                     Member::Callbacks{.identity = [this] { return Identity(); },
                                                       .on_unknown =
                                                           [this](const Status& status) {
                                                             // The answer to a report may rest on what is not
                                                             // committed yet, that to a registration does not.
                                                             LOG_EVERY_N(WARNING, 10)
                                                                 << "not_known_to_the_cluster reason=\"" << status << '"';
                                                             life_.Rejoin();
                                                           },
                                                       .on_halt = [this](const Status& status) { Halt(status); }},
                                     random_.Fork());
  if (Status opened = member_->Open(campaign); !opened.ok()) {
    LOG(ERROR) << "metadata_not_opened reason=\"" << opened << '"';
    halted_ = opened;
  }
  UpdateViews();
}

void Broker::Halt(const Status& why) {
  if (!halted_.ok()) return;
  LOG(ERROR) << "node_has_to_stop reason=\"" << why << '"';
  halted_ = why;
}

// --- Time

void Broker::Tick() {
  if (member_ != nullptr) {
    member_->Tick();
    ProposeFounding();
  }
  life_.Tick();
  if (Status health = around_.store.health(); !health.ok() && halted_.ok()) halted_ = health;
  // Counting costs by replica; news that somebody waits for is shown at once.
  const bool known = member_ != nullptr && member_->image().cluster.has_value();
  const bool news = known != shown_known_ || !halted_.ok();
  if (news || ++ticks_ % kViewTicks == 0) UpdateViews();
}

// Whoever leads the metadata of a newborn cluster writes the plan down; twice does no harm.
void Broker::ProposeFounding() {
  if (founding_proposed_ || !member_->leads_metadata() || member_->image().cluster || !life_.state().has_founding()) return;
  const Result<metadata::Founding> plan = DecodePlan(life_.state().founding());
  if (!plan.ok()) {
    halted_ = plan.status();
    return;
  }
  founding_proposed_ = true;
  member_->decisions().Submit(*plan, [this](const metadata::Answer& answer) {
    founding_proposed_ = false;
    LOG(INFO) << "founding_recorded status=" << answer.status;
  });
}

void Broker::UpdateViews() {
  BrokerState view;
  view.member = member_ != nullptr;
  view.metadata_known = member_ != nullptr && member_->image().cluster.has_value();
  view.stopping = stopping_;
  view.status = member_ != nullptr ? member_->Describe() : life_.Describe();
  view.halted = halted_;
  shown_known_ = view.metadata_known;
  std::optional<MemberCounters> counters;
  if (member_ != nullptr) counters = member_->counters();
  ShowIdentity();
  const MutexLock lock(mutex_);
  shown_member_ = member_.get();
  shown_controller_ = member_ != nullptr ? member_->controller() : NodeId{};
  view_ = std::move(view);
  counters_ = counters;
}

void Broker::ShowIdentity() {
  const MutexLock lock(mutex_);
  shown_state_.set_boot(life_.state().boot());
  shown_state_.set_cluster_id(life_.state().cluster_id());
  shown_state_.set_node_id(life_.state().node_id());
}

void Broker::BeginShutdown() {
  stopping_ = true;
  if (member_ != nullptr) member_->BeginShutdown();
  UpdateViews();
}

bool Broker::ReadyToStop() const { return member_ == nullptr || (member_->leads_nothing() && member_->counters().calls == 0); }

BrokerState Broker::state() const {
  const MutexLock lock(mutex_);
  return view_;
}

std::optional<MemberCounters> Broker::counters() const {
  const MutexLock lock(mutex_);
  return counters_;
}

// --- Clients

metadata::Shared<metadata::Image> Broker::metadata() const {
  const MutexLock lock(mutex_);
  return shown_member_ == nullptr ? nullptr : shown_member_->feed().Current();
}

Status Broker::Available() const {
  if (stopping_) return ShuttingDown();
  if (life_.asks()) return NotYetHere();
  if (member_ == nullptr) return NotInitialized();
  if (!member_->image().cluster) return NoMetadataYet();
  return {};
}

void Broker::SyncMetadata(const Caller& /*caller*/, std::function<void(const Status&)> done) {
  if (Status status = Available(); !status.ok()) return done(status);
  member_->board().SyncMetadata(std::move(done));
}

uint64_t Broker::Call(std::string_view method, const std::string& request, const Caller& caller, CallDone done) {
  const uint64_t ticket = next_ticket_++;
  if (!StartsWith(method, kPublicPackage)) {
    done(Refuse(Refusal::kUnsupported, "method " + Quoted(method) + " is not for clients"));
  } else if (ServeAlone(ticket, method, request, done)) {
    return ticket;
  } else if (Status status = Available(); !status.ok()) {
    done(status);
  } else {
    member_->board().Begin(ticket, method, request, caller, std::move(done));
  }
  return ticket;
}

bool Broker::ServeAlone(uint64_t ticket, std::string_view method, const std::string& request, const CallDone& done) {
  if (method == kGetServerInfo) {
    done(ServerInfo().SerializeAsString());
    return true;
  }
  if (method == kGetHealth && (member_ == nullptr || !member_->image().cluster)) {
    done(HealthAlone().SerializeAsString());
    return true;
  }
  if (method != kInitCluster) return false;
  v1::InitClusterRequest init;
  if (!init.ParseFromString(request)) {
    done(Status(Reason::kCorruptMessage, "the request of InitCluster does not decode"));
    return true;
  }
  founding_calls_.insert(ticket);
  life_.InitCluster(init, [this, ticket, done](Result<v1::InitClusterResponse> response) {
    if (founding_calls_.erase(ticket) == 0) return;  // it was cancelled
    done(response.ok() ? Result<std::string>(response->SerializeAsString()) : Result<std::string>(response.status()));
  });
  return true;
}

uint64_t Broker::Fetch(const v1::FetchRequest& request, const Caller& caller, FetchDone done) {
  const uint64_t ticket = next_ticket_++;
  if (Status status = Available(); !status.ok()) {
    done(status);
    return ticket;
  }
  return member_->Fetch(ticket, request, caller, std::move(done));
}

void Broker::Cancel(uint64_t ticket) {
  founding_calls_.erase(ticket);
  if (member_ != nullptr) member_->Cancel(ticket);
}

std::unique_ptr<ProduceSession> Broker::OpenProduce(ProduceSink& sink) {
  if (Status status = Available(); !status.ok()) return std::make_unique<NoSession>(sink, status);
  return member_->OpenProduce(sink);
}

std::unique_ptr<EventStream> Broker::Subscribe(const v1::SubscribeRequest& request, const Caller& caller, SubscribeSink& sink) {
  if (Status status = Available(); !status.ok()) {
    sink.OnEnd(status);
    return std::make_unique<NoStream>();
  }
  return member_->Subscribe(request, caller, sink);
}

std::unique_ptr<EventStream> Broker::WatchMetadata(const v1::WatchMetadataRequest& request, const Caller& /*caller*/, WatchSink& sink) {
  if (Status status = Available(); !status.ok()) {
    sink.OnEnd(status);
    return std::make_unique<NoStream>();
  }
  return member_->Watch(request, sink);
}

v1::GetServerInfoResponse Broker::ServerInfo() const {
  v1::GetServerInfoResponse info;
  const internal::v1::NodeIdentity identity = Identity();
  info.set_software_version(options_.description.software_version);
  info.set_node_id(static_cast<int32_t>(identity.node_id()));
  info.set_node_uuid(options_.description.uuid.ToString());
  if (const std::optional<Uuid> cluster = Uuid::FromBytes(identity.cluster_id())) info.set_cluster_id(cluster->ToString());
  info.set_cluster_name(options_.cluster_name);
  info.set_status(state().status);
  info.set_time_ms(around_.clock.WallMillis());
  if (member_ != nullptr) {
    info.set_metadata_version(static_cast<int64_t>(member_->image().version.value()));
    info.set_feature_level(static_cast<int32_t>(member_->image().feature_level()));
  }
  v1::ServerLimits& out = *info.mutable_limits();
  out.set_request_bytes_max(static_cast<int32_t>(flotilla::limits::kEntryPayloadBytesMax));
  out.set_record_bytes_max(static_cast<int32_t>(partition::limits::kRecordBytesDefault));
  out.set_batch_records_max(static_cast<int32_t>(flotilla::limits::kEntryRecordsMax));
  out.set_request_items_max(static_cast<int32_t>(limits::kRequestItemsMax));
  out.set_response_bytes_default(static_cast<int32_t>(limits::kFetchBytesDefault));
  out.set_producer_batches_remembered(static_cast<int32_t>(partition::limits::kRunsPerProducerMax));
  out.set_producer_idle_ms(partition::limits::kProducerIdleMillisMax);
  for (const v1::Codec codec : {v1::CODEC_NONE, v1::CODEC_LZ4, v1::CODEC_ZSTD}) info.add_codecs(codec);
  return info;
}

v1::GetHealthResponse Broker::HealthAlone() const {
  v1::GetHealthResponse health;
  health.set_status(v1::HEALTH_STATUS_FAILED);
  v1::HealthProblem& problem = *health.add_problems();
  problem.set_severity(v1::HEALTH_STATUS_FAILED);
  problem.set_kind("NOT_INITIALIZED");
  problem.set_message(state().status + "; run `flotilla cluster init` once, on any node");
  return health;
}

// --- Peers

internal::v1::NodeIdentity Broker::Identity() const {
  internal::v1::NodeIdentity identity = IdentityOf(options_.description);
  identity.set_cluster_name(options_.cluster_name);
  const MutexLock lock(mutex_);
  identity.set_cluster_id(shown_state_.cluster_id());
  identity.set_node_id(shown_state_.node_id());
  identity.set_boot(shown_state_.boot());
  return identity;
}

// A node that was away learns by registering where the others have moved.
std::string Broker::AddressOf(const metadata::Node& node, LogIndex version) const {
  const MutexLock lock(mutex_);
  if (LogIndex{met_.metadata_version()} > version) {
    for (const internal::v1::FoundingMember& member : met_.metadata_members()) {
      if (NodeId{member.node_id()} == node.id) return member.peer_address();
    }
  }
  return node.description.peer_address;
}

Result<internal::v1::HandshakeResponse> Broker::Greet(const internal::v1::HandshakeRequest& request) const {
  internal::v1::HandshakeResponse response;
  internal::v1::NodeIdentity& own = *response.mutable_callee();
  own = Identity();
  const internal::v1::NodeIdentity& caller = request.caller();
  const auto uuid_text = [](const std::string& bytes) { return Uuid::FromBytes(bytes).value_or(Uuid()).ToString(); };
  if (caller.cluster_name() != own.cluster_name()) {
    return Refuse(Refusal::kClusterMismatch, "this node's cluster.name is " + Quoted(own.cluster_name()) + ", the caller's (" +
                                                 caller.peer_address() + ") is " + Quoted(caller.cluster_name()))
        .With("ours", own.cluster_name())
        .With("theirs", caller.cluster_name());
  }
  if (!caller.cluster_id().empty() && !own.cluster_id().empty() && caller.cluster_id() != own.cluster_id()) {
    return Refuse(Refusal::kClusterMismatch, "this node belongs to cluster " + uuid_text(own.cluster_id()) + ", the caller (" +
                                                 caller.peer_address() + ") to cluster " + uuid_text(caller.cluster_id()))
        .With("ours", uuid_text(own.cluster_id()))
        .With("theirs", uuid_text(caller.cluster_id()));
  }
  if (!request.expected_node_uuid().empty() && request.expected_node_uuid() != own.node_uuid()) {
    return Refuse(Refusal::kNodeMismatch, "the caller expected node " + std::to_string(request.expected_node_id()) + " with UUID " +
                                              uuid_text(request.expected_node_uuid()) + " at " + own.peer_address() + "; here is " +
                                              uuid_text(own.node_uuid()))
        .With("ours", uuid_text(own.node_uuid()))
        .With("theirs", uuid_text(request.expected_node_uuid()));
  }
  const metadata::Shared<metadata::Image> image = metadata();
  if (image != nullptr && caller.node_id() != 0) {
    if (image->cluster && image->WasRemoved(NodeId{caller.node_id()})) {
      return metadata::CheckIdentity({.cluster = image->cluster->id, .node = NodeId{caller.node_id()}, .uuid = {}}, *image);
    }
    const metadata::Node* known = image->FindNode(NodeId{caller.node_id()});
    if (known != nullptr && known->description.uuid.bytes() != caller.node_uuid()) {
      return Refuse(Refusal::kNodeMismatch, "node id " + std::to_string(caller.node_id()) + " belongs to UUID " +
                                                known->description.uuid.ToString() + "; the caller (" + caller.peer_address() + ") has " +
                                                uuid_text(caller.node_uuid()))
          .With("node_id", caller.node_id())
          .With("ours", known->description.uuid.ToString())
          .With("theirs", uuid_text(caller.node_uuid()));
    }
    // A copy would vote a second time. The only voter of the metadata has to be believed: nobody but itself can register it anew.
    if (known != nullptr && known->alive && metadata::MetadataVoterCount(image->NodesInUse()) > 1) {
      metadata::NodeDescription there = known->description;
      there.peer_address = AddressOf(*known, image->version);
      if (there.peer_address != caller.peer_address()) return metadata::CopiedDirectory(there, known->id, caller.peer_address());
    }
  }
  const uint32_t newest = std::min(own.protocol_version_max(), caller.protocol_version_max());
  if (newest < std::max(own.protocol_version_min(), caller.protocol_version_min())) {
    return Refuse(Refusal::kProtocolMismatch, "this node speaks versions " + Range(own.protocol_version_min(), own.protocol_version_max()) +
                                                  " of the peer protocol, the caller " +
                                                  Range(caller.protocol_version_min(), caller.protocol_version_max()))
        .With("ours", Range(own.protocol_version_min(), own.protocol_version_max()))
        .With("theirs", Range(caller.protocol_version_min(), caller.protocol_version_max()));
  }
  response.set_protocol_version(newest);
  const MutexLock lock(mutex_);
  response.set_controller_node_id(shown_controller_.value());
  return response;
}

void Broker::Receive(raft::PeerMessage message) {
  if (member_ == nullptr || !halted_.ok()) return;
  // It joined while this node was away, and may be the one whose word this node needs: who is it?
  if (!member_->Knows(message.from)) life_.Rejoin();
  member_->Receive(std::move(message));
}

void Broker::PeerCall(std::string_view method, const std::string& request, std::function<void(Result<std::string>)> done) {
  if (method == kBootstrap) {
    internal::v1::BootstrapRequest bootstrap;
    if (!bootstrap.ParseFromString(request)) return done(Status(Reason::kCorruptMessage, "the request of Bootstrap does not decode"));
    const Result<internal::v1::BootstrapResponse> response = life_.Bootstrap(bootstrap);
    return done(response.ok() ? Result<std::string>(response->SerializeAsString()) : Result<std::string>(response.status()));
  }
  if (member_ == nullptr) return done(NotInitialized());
  if (method == kForwardCall) return member_->board().BeginForwarded(request, std::move(done));
  if (!StartsWith(method, kPeerPackage)) return done(Refuse(Refusal::kUnsupported, "method " + Quoted(method) + " is not for peers"));
  const Caller peer{.principal = "", .address = "peer", .deadline = around_.clock.Now() + limits::kPeerCallTimeout};
  member_->board().Begin(next_ticket_++, method, request, peer, std::move(done));
}

std::unique_ptr<ForwardSession> Broker::OpenForward(ForwardSink& sink) {
  if (member_ == nullptr) return std::make_unique<NoForward>(sink);
  return member_->OpenForward(sink);
}

void Broker::OnForwardAnswer(NodeId from, ForwardAnswer answer) {
  if (member_ != nullptr) member_->OnForwardAnswer(from, std::move(answer));
}
void Broker::OnForwardBroken(NodeId to) {
  if (member_ != nullptr) member_->OnForwardBroken(to);
}
void Broker::OnUnreachable(NodeId node) {
  if (member_ != nullptr) member_->OnUnreachable(node);
}

}  // namespace flotilla::broker
