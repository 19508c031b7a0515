#include "server/broker/cluster_life.h"

#include <glog/logging.h>

#include <algorithm>

#include "server/broker/describe.h"
#include "server/broker/limits.h"
#include "server/broker/membership_calls.h"
#include "server/errors/refusal.h"
#include "server/metadata/membership.h"

namespace flotilla::broker {
namespace {

constexpr std::string_view kHandshake = "/flotilla.internal.v1.PeerService/Handshake";
constexpr std::string_view kBootstrap = "/flotilla.internal.v1.MembershipService/Bootstrap";
constexpr std::string_view kJoin = "/flotilla.internal.v1.MembershipService/Join";

std::string UuidText(const std::string& bytes) {
  const std::optional<Uuid> uuid = Uuid::FromBytes(bytes);
  return uuid ? uuid->ToString() : "none";
}

Status AlreadyIn(const std::string& who, const std::string& cluster_bytes) {
  return Refuse(Refusal::kAlreadyInitialized,
                who + " belongs to cluster " + UuidText(cluster_bytes) + " already; a cluster is initialised once")
      .With("cluster_id", UuidText(cluster_bytes))
      .With("address", who);
}

// The same refusal, which says who gave it.
Status Blame(const std::string& who, const Status& status) {
  const std::string message = who + " does not take part: " + std::string(status.message());
  const Refusal refusal = RefusalOf(status);
  Status blamed = refusal == Refusal::kNone ? Status(status.reason(), message) : Refuse(refusal, message);
  for (const auto& [key, value] : status.details()) blamed = blamed.With(key, value);
  return blamed;
}

}  // namespace

internal::v1::BootstrapRequest EncodePlan(const metadata::Founding& plan, const std::string& cluster_name) {
  internal::v1::BootstrapRequest encoded;
  encoded.set_cluster_id(std::string(plan.cluster.bytes()));
  encoded.set_cluster_name(cluster_name);
  encoded.set_feature_level(plan.feature_level);
  for (const metadata::NodeDescription& founder : plan.founders) {
    internal::v1::FoundingMember& member = *encoded.add_members();
    const NodeId id = plan.IdOf(founder.uuid);
    member.set_node_id(id.value());
    member.set_node_uuid(std::string(founder.uuid.bytes()));
    member.set_peer_address(founder.peer_address);
    member.set_node_name(founder.name);
    member.set_client_address(founder.client_address);
    member.set_rack(founder.rack);
    member.set_software_version(founder.software_version);
    member.set_feature_level_min(founder.features.min);
    member.set_feature_level_max(founder.features.max);
    member.set_voter(plan.configuration.IsVoter({.node = id, .incarnation = 0}));
  }
  return encoded;
}

Result<metadata::Founding> DecodePlan(const internal::v1::BootstrapRequest& plan) {
  const std::optional<Uuid> cluster = Uuid::FromBytes(plan.cluster_id());
  if (!cluster || cluster->nil() || plan.members().empty()) {
    return Status(Reason::kCorruptMessage, "a founding plan without a cluster id or without members");
  }
  metadata::Founding founding{.cluster = *cluster, .feature_level = plan.feature_level(), .founders = {}, .configuration = {}};
  for (const internal::v1::FoundingMember& member : plan.members()) {
    const std::optional<Uuid> uuid = Uuid::FromBytes(member.node_uuid());
    if (!uuid || member.node_id() != founding.founders.size() + 1) {
      return Status(Reason::kCorruptMessage, "a founding plan whose members are not numbered from 1, or have no UUIDs");
    }
    metadata::NodeDescription founder;
    founder.uuid = *uuid;
    founder.name = member.node_name();
    founder.client_address = member.client_address();
    founder.peer_address = member.peer_address();
    founder.rack = member.rack();
    founder.software_version = member.software_version();
    founder.features = {.min = member.feature_level_min(), .max = member.feature_level_max()};
    founding.founders.push_back(std::move(founder));
    auto& list = member.voter() ? founding.configuration.voters : founding.configuration.learners;
    list.push_back({.node = NodeId{member.node_id()}, .incarnation = 0});
  }
  founding.configuration.Normalize();
  if (founding.configuration.voters.empty()) return Status(Reason::kCorruptMessage, "a founding plan in which nobody votes");
  return founding;
}

ClusterLife::ClusterLife(const BrokerOptions& options, const BrokerSurroundings& around, Callbacks callbacks, Random random)
    : options_(options), around_(around), callbacks_(std::move(callbacks)), random_(random) {}

Status ClusterLife::Start() {
  Result<internal::v1::NodeState> loaded = around_.file.Load();
  if (!loaded.ok()) return loaded.status();
  state_ = *std::move(loaded);
  state_.set_boot(state_.boot() + 1);
  FLOTILLA_RETURN_IF_ERROR(around_.file.Save(state_));
  if (member() && HasMoved()) {
    AskOldAddress();
    return {};
  }
  if (member()) {
    FLOTILLA_RETURN_IF_ERROR(Remember(state_));
    callbacks_.become_member(false);
    return {};
  }
  if (!options_.bootstrap_single) return {};
  const std::vector<metadata::FounderAnswer> myself = {{.description = options_.description, .cluster = {}}};
  const Result<metadata::Founding> plan = metadata::PlanFounding(Uuid::Random(random_), myself);
  if (!plan.ok()) return plan.status();
  return Found(EncodePlan(*plan, options_.cluster_name), true);
}

// --- At another address than before

bool ClusterLife::HasMoved() const { return !state_.peer_address().empty() && state_.peer_address() != options_.description.peer_address; }

void ClusterLife::AskOldAddress() {
  asks_ = true;
  LOG(WARNING) << "moved from=" << state_.peer_address() << " to=" << options_.description.peer_address
               << " asks=\"whether it runs there still\"";
  internal::v1::HandshakeRequest hello;
  *hello.mutable_caller() = callbacks_.identity();
  hello.mutable_caller()->clear_node_id();  // it claims nothing yet
  around_.network.Call(state_.peer_address(), kHandshake, hello.SerializeAsString(), limits::kPeerCallTimeout,
                       [this, address = state_.peer_address()](const Result<std::string>& answer) { OnOldAddress(address, answer); });
}

void ClusterLife::OnOldAddress(const std::string& address, const Result<std::string>& answer) {
  asks_ = false;
  internal::v1::HandshakeResponse response;
  const bool itself =
      answer.ok() && response.ParseFromString(*answer) && response.callee().node_uuid() == options_.description.uuid.bytes();
  if (itself) {
    metadata::NodeDescription original = options_.description;
    original.peer_address = address;
    return callbacks_.stop(metadata::CopiedDirectory(original, NodeId{state_.node_id()}, options_.description.peer_address));
  }
  if (Status saved = Remember(state_); !saved.ok()) return callbacks_.stop(saved);
  callbacks_.become_member(false);
}

// Written down before it is acted on, with the address where it is.
Status ClusterLife::Remember(internal::v1::NodeState state) {
  if (state.node_id() != 0) state.set_peer_address(options_.description.peer_address);
  if (state.SerializeAsString() == state_.SerializeAsString()) return {};
  FLOTILLA_RETURN_IF_ERROR(around_.file.Save(state));
  state_ = std::move(state);
  return {};
}

std::string ClusterLife::Describe() const {
  if (asks_) return "at another address than before: asks whether this node runs at " + state_.peer_address() + " still";
  if (birth_) return "founding a cluster";
  return last_problem_.empty() ? "waiting for cluster init" : "waiting for cluster init; " + last_problem_;
}

std::vector<std::string> ClusterLife::OtherSeeds() const {
  std::vector<std::string> seeds;
  for (const std::string& seed : options_.seeds) {
    const bool again = std::find(seeds.begin(), seeds.end(), seed) != seeds.end();
    if (seed != options_.description.peer_address && !again) seeds.push_back(seed);
  }
  return seeds;
}

// --- A cluster is born

void ClusterLife::InitCluster(const v1::InitClusterRequest& request, InitDone done) {
  if (asks_) return done(Status(Reason::kNoLeader, Describe() + "; ask again in some seconds"));
  if (member()) {
    const metadata::Shared<metadata::Image> image = callbacks_.image();
    // A birth that is not over: whoever asks again waits for it, too.
    if (!image->cluster && state_.has_founding() && !request.validate_only()) return born_.push_back(std::move(done));
    if (!request.if_needed()) return done(AlreadyIn(options_.description.peer_address, state_.cluster_id()));
    v1::InitClusterResponse response;
    response.set_cluster_id(UuidText(state_.cluster_id()));
    response.set_already_initialized(true);
    image->nodes.ForEach(
        [&response](NodeId, const metadata::Shared<metadata::Node>& node) { *response.add_nodes() = DescribeNode(*node); });
    return done(std::move(response));
  }
  if (birth_) {
    return done(Status(Reason::kNoLeader, "this node is founding a cluster at this moment; ask again in a second"));
  }
  if (const Duration left = promised_until_ - around_.clock.Now(); left > Duration::zero()) {
    return done(Status(Reason::kNoLeader, "another node is founding a cluster with this one; ask again in " +
                                              std::to_string(left / std::chrono::seconds(1) + 1) + " seconds"));
  }
  birth_.emplace();
  birth_->validate_only = request.validate_only();
  birth_->done = std::move(done);
  birth_->patience = around_.clock.Now() + limits::kSeedPatience;
  AskSeeds();
}

void ClusterLife::AskSeeds() {
  const std::vector<std::string> seeds = OtherSeeds();
  birth_->waiting = seeds.size();
  if (seeds.empty()) return Plan();
  for (const std::string& seed : seeds) AskSeed(seed);
}

void ClusterLife::AskSeed(const std::string& seed) {
  internal::v1::HandshakeRequest hello;
  *hello.mutable_caller() = callbacks_.identity();
  around_.network.Call(seed, kHandshake, hello.SerializeAsString(), limits::kPeerCallTimeout,
                       [this, seed](const Result<std::string>& answer) { OnSeed(seed, answer); });
}

void ClusterLife::OnSeed(const std::string& seed, const Result<std::string>& answer) {
  if (!birth_) return;
  internal::v1::HandshakeResponse response;
  const bool unreached = answer.status().reason() == Reason::kNoLeader && RefusalOf(answer.status()) == Refusal::kNone;
  if (unreached && around_.clock.Now() < birth_->patience) return birth_->unreached.push_back(seed);
  if (!answer.ok()) {
    const bool answered = answer.status().reason() != Reason::kNoLeader && answer.status().reason() != Reason::kOutcomeUnknown;
    birth_->refusal = answered ? Blame("seed " + seed, answer.status())
                               : Status(Reason::kNoLeader, "seed " + seed + " does not answer (" + std::string(answer.status().message()) +
                                                               "); start all nodes first, or correct cluster.seeds")
                                     .With("address", seed);
  } else if (!response.ParseFromString(*answer)) {
    birth_->refusal = Status(Reason::kNoLeader, "seed " + seed + " answers, but not as a node of this program does").With("address", seed);
  } else {
    birth_->answers.emplace(seed, response.callee());
  }
  if (--birth_->waiting == 0) Plan();
}

void ClusterLife::Plan() {
  if (!birth_->refusal.ok()) return EndBirth(birth_->refusal);
  // Ids are given in the order of the seeds, which is the same on all nodes.
  std::vector<metadata::FounderAnswer> founders;
  bool among_seeds = false;
  for (const std::string& seed : options_.seeds) {
    const auto answer = birth_->answers.find(seed);
    const bool own_address = seed == options_.description.peer_address;
    if (!own_address && answer == birth_->answers.end()) continue;
    if (own_address || (*answer->second).node_uuid() == options_.description.uuid.bytes()) {
      if (!std::exchange(among_seeds, true)) founders.push_back({.description = options_.description, .cluster = {}});
      continue;
    }
    const internal::v1::NodeIdentity& identity = *answer->second;
    if (!identity.cluster_id().empty()) return EndBirth(AlreadyIn(seed, identity.cluster_id()));
    Result<metadata::NodeDescription> description = DescriptionOf(identity);
    if (!description.ok()) return EndBirth(description.status());
    const bool twice =
        std::any_of(founders.begin(), founders.end(), [&](const auto& founder) { return founder.description.uuid == description->uuid; });
    if (!twice) founders.push_back({.description = *std::move(description), .cluster = {}});
  }
  if (!among_seeds) founders.insert(founders.begin(), {.description = options_.description, .cluster = {}});
  if (!cluster_to_found_) cluster_to_found_ = Uuid::Random(random_);
  Result<metadata::Founding> plan = metadata::PlanFounding(*cluster_to_found_, founders);
  if (!plan.ok()) return EndBirth(plan.status());
  birth_->plan = *std::move(plan);
  // A question binds nobody: the others are not asked for a promise.
  if (birth_->validate_only) return AnswerBirth();
  TellFounders();
}

void ClusterLife::TellFounders() {
  internal::v1::BootstrapRequest plan = EncodePlan(*birth_->plan, options_.cluster_name);
  plan.set_validate_only(true);
  std::vector<std::string> addresses;
  for (const metadata::NodeDescription& founder : birth_->plan->founders) {
    if (founder.uuid != options_.description.uuid) addresses.push_back(founder.peer_address);
  }
  birth_->waiting = addresses.size();
  if (addresses.empty()) return AnswerBirth();
  for (const std::string& address : addresses) {
    around_.network.Call(address, kBootstrap, plan.SerializeAsString(), limits::kPeerCallTimeout,
                         [this, address](const Result<std::string>& answer) { OnTold(address, answer); });
  }
}

void ClusterLife::OnTold(const std::string& address, const Result<std::string>& answer) {
  if (!birth_) return;
  if (!answer.ok()) {
    birth_->refusal = Blame("node " + address, answer.status());
  }
  if (--birth_->waiting > 0) return;
  if (!birth_->refusal.ok()) return EndBirth(birth_->refusal);
  AnswerBirth();
}

// All founders gave their word, or need not.
void ClusterLife::AnswerBirth() {
  if (birth_->validate_only) {
    v1::InitClusterResponse response;
    const InitDone done = std::move(birth_->done);
    birth_.reset();
    return done(std::move(response));
  }
  const internal::v1::BootstrapRequest plan = EncodePlan(*birth_->plan, options_.cluster_name);
  born_.push_back(std::move(birth_->done));
  birth_.reset();
  if (Status status = Found(plan, true); !status.ok()) {
    for (const InitDone& done : std::exchange(born_, {})) done(status);
  }
}

// By value: it often is the birth's own.
void ClusterLife::EndBirth(Status status) {
  const InitDone done = std::move(birth_->done);
  birth_.reset();
  done(status);
}

// From now on this node is a founder of that cluster, whatever happens.
Status ClusterLife::Found(const internal::v1::BootstrapRequest& plan, bool mine) {
  internal::v1::NodeState state = state_;
  state.set_cluster_id(plan.cluster_id());
  *state.mutable_founding() = plan;
  for (const internal::v1::FoundingMember& member : plan.members()) {
    if (member.node_uuid() == options_.description.uuid.bytes()) state.set_node_id(member.node_id());
  }
  FLOTILLA_RETURN_IF_ERROR(Remember(std::move(state)));
  LOG(INFO) << "cluster_founded cluster=" << UuidText(plan.cluster_id()) << " node=" << state_.node_id()
            << " founders=" << plan.members_size();
  next_at_ = {};
  callbacks_.become_member(mine);
  return {};
}

Status ClusterLife::CheckPlan(const internal::v1::BootstrapRequest& plan) const {
  if (plan.cluster_name() != options_.cluster_name) {
    return Refuse(Refusal::kClusterMismatch, "this node's cluster.name is " + Quoted(options_.cluster_name) + ", the founder's is " +
                                                 Quoted(plan.cluster_name()) + "; make them the same")
        .With("ours", options_.cluster_name)
        .With("theirs", plan.cluster_name());
  }
  const Result<metadata::Founding> founding = DecodePlan(plan);
  if (!founding.ok()) return founding.status();
  if (founding->IdOf(options_.description.uuid).value() == 0) {
    return Refuse(Refusal::kNodeMismatch, "the founding plan has another node at " + options_.description.peer_address +
                                              "; was its disk wiped meanwhile? ask for the cluster again")
        .With("ours", options_.description.uuid.ToString());
  }
  return {};
}

Result<internal::v1::BootstrapResponse> ClusterLife::Bootstrap(const internal::v1::BootstrapRequest& request) {
  internal::v1::BootstrapResponse response;
  if (member()) {
    if (state_.cluster_id() != request.cluster_id()) return AlreadyIn(options_.description.peer_address, state_.cluster_id());
    *response.mutable_node() = callbacks_.identity();
    return response;
  }
  FLOTILLA_RETURN_IF_ERROR(CheckPlan(request));
  // Of two who found at the same time the smaller id wins, so that they do not keep each other waiting. The word that is taken back was
  // one of several that the other needs; with all of them it has a cluster, and repeats its plan.
  const bool promised = promised_until_ > around_.clock.Now() && promised_to_ < request.cluster_id();
  if (promised || birth_) {
    return Status(Reason::kNoLeader,
                  options_.description.peer_address + " is founding another cluster at this moment; ask again in some seconds");
  }
  if (request.validate_only()) {
    promised_to_ = request.cluster_id();
    promised_until_ = around_.clock.Now() + limits::kFoundingPromise;
  } else {
    FLOTILLA_RETURN_IF_ERROR(Found(request, false));
  }
  *response.mutable_node() = callbacks_.identity();
  return response;
}

// --- Time

void ClusterLife::Tick() {
  const metadata::Shared<metadata::Image> image = callbacks_.image();
  const bool known = image != nullptr && image->cluster.has_value();
  if (known && !born_.empty()) {
    v1::InitClusterResponse response;
    response.set_cluster_id(UuidText(state_.cluster_id()));
    image->nodes.ForEach(
        [&response](NodeId, const metadata::Shared<metadata::Node>& node) { *response.add_nodes() = DescribeNode(*node); });
    for (const InitDone& done : std::exchange(born_, {})) done(response);
  }
  if (birth_) {
    for (const std::string& seed : std::exchange(birth_->unreached, {})) AskSeed(seed);
  }
  if (asks_ || next_at_ > around_.clock.Now()) return;
  next_at_ = around_.clock.Now() + limits::kJoinInterval;
  if (member() && state_.has_founding() && !known) RepeatPlan();
  if (Registers() && !joining_) Join();
}

bool ClusterLife::IsDescribedOtherwise(const metadata::Image& image) const {
  const metadata::Node* self = image.FindNode(NodeId{state_.node_id()});
  const Result<metadata::NodeDescription> now = DescriptionOf(callbacks_.identity());  // what others can know
  return self != nullptr && now.ok() && !(self->description == *now);
}

// Founders are registered by the plan; later starts, and everybody else, say who they are. And so does a member that hears of nobody, or
// finds another description of itself: what it said before it was restarted, or upgraded, may arrive after what it says now.
bool ClusterLife::Registers() {
  if (!member()) return !birth_;
  const metadata::Shared<metadata::Image> image = callbacks_.image();
  const bool known = image != nullptr && image->cluster.has_value();
  const MonotonicTime now = around_.clock.Now();
  if (heard_at_ == MonotonicTime{} || (known && callbacks_.controller().value() != 0)) heard_at_ = now;
  return (known && (!registered_ || IsDescribedOtherwise(*image))) || now - heard_at_ >= limits::kLonelyAfter;
}

void ClusterLife::RepeatPlan() {
  for (const internal::v1::FoundingMember& member : state_.founding().members()) {
    if (member.node_id() == state_.node_id()) continue;
    around_.network.Call(member.peer_address(), kBootstrap, state_.founding().SerializeAsString(), limits::kPeerCallTimeout,
                         [address = member.peer_address()](const Result<std::string>& answer) {
                           LOG_IF_EVERY_N(WARNING, !answer.ok(), 10)
                               << "founder_not_told address=" << address << " reason=\"" << answer.status() << '"';
                         });
  }
}

void ClusterLife::Join() {
  std::vector<std::string> addresses;
  const metadata::Shared<metadata::Image> image = callbacks_.image();
  if (image != nullptr && image->cluster) {
    // It knows its cluster: any node that lives will do, itself to begin with.
    addresses = {options_.description.peer_address};
    for (const metadata::Node* node : image->LivingNodes()) {
      if (node->id.value() != state_.node_id()) addresses.push_back(node->description.peer_address);
    }
    // Or none of them does any more.
    for (const std::string& seed : OtherSeeds()) {
      if (std::find(addresses.begin(), addresses.end(), seed) == addresses.end()) addresses.push_back(seed);
    }
  } else {
    addresses = OtherSeeds();
    for (const internal::v1::FoundingMember& member : state_.metadata_members()) addresses.push_back(member.peer_address());
  }
  if (addresses.empty()) return;
  internal::v1::JoinRequest request;
  *request.mutable_node() = callbacks_.identity();
  joining_ = true;
  around_.network.Call(addresses[next_seed_++ % addresses.size()], kJoin, request.SerializeAsString(), limits::kPeerCallTimeout,
                       [this](const Result<std::string>& answer) { OnJoined(answer); });
}

void ClusterLife::Refused(const Status& status) {
  if (RefusalOf(status) == Refusal::kNodeRemoved && member()) return callbacks_.stop(status);
  if (metadata::IsCopy(status) && member()) {
    const MonotonicTime now = around_.clock.Now();
    if (copy_since_ == MonotonicTime{}) copy_since_ = now;
    if (now - copy_since_ >= limits::kCopyStopsAfter) return callbacks_.stop(status);
  }
  // Seeds that are not up or in no cluster either are what one waits for.
  const bool waits =
      status.reason() == Reason::kNoLeader || status.reason() == Reason::kOutcomeUnknown || RefusalOf(status) == Refusal::kNotInitialized;
  last_problem_ = waits ? "" : status.ToString();
  LOG_IF_EVERY_N(WARNING, !waits, 10) << "join_refused reason=\"" << status << '"';
}

void ClusterLife::OnJoined(const Result<std::string>& answer) {
  joining_ = false;
  if (!answer.ok()) {
    return Refused(answer.status());
  }
  internal::v1::JoinResponse response;
  if (!response.ParseFromString(*answer)) return;
  last_problem_.clear();
  copy_since_ = {};
  registered_ = true;
  if (member()) callbacks_.met(response);
  if (member() || birth_) return;
  internal::v1::NodeState state = state_;
  state.set_cluster_id(response.cluster_id());
  state.set_node_id(response.node_id());
  state.set_metadata_incarnation(response.metadata_incarnation());
  *state.mutable_metadata_members() = response.metadata_members();
  if (Status saved = Remember(std::move(state)); !saved.ok()) {
    LOG(ERROR) << "join_not_saved reason=\"" << saved << '"';
    return;
  }
  LOG(INFO) << "joined cluster=" << UuidText(state_.cluster_id()) << " node=" << state_.node_id();
  callbacks_.become_member(false);
}

}  // namespace flotilla::broker
