#include "server/broker/member.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "server/broker/describe.h"
#include "server/broker/group_view.h"
#include "server/broker/limits.h"
#include "server/metadata/config_schema.h"
#include "server/metadata/replay.h"

namespace flotilla::broker {
namespace {

// Leaders that should be elsewhere are looked for four times a second.
constexpr raft::Tick kBalanceTicks = 5;
// A leadership of the metadata that could not be handed over is tried again after 5 s: meanwhile nothing is decided.
constexpr raft::Tick kLeaveMetadataTicks = 100;
// What is still led a second after it was handed over, by a node that stops, is handed over once more.
constexpr raft::Tick kHandOverAgainTicks = 20;
// Streams look at their clocks twice a second.
constexpr raft::Tick kStreamTicks = 10;
// A metadata replica that could not be made is tried again once a second.
constexpr raft::Tick kOpenAgainTicks = 20;
// And so is the question whether the metadata is up to date, after a start.
constexpr raft::Tick kConfirmAgainTicks = 10;

raft::HostOptions HostOptionsOf(const BrokerOptions& options, const internal::v1::NodeState& state) {
  raft::HostOptions host;
  host.node = NodeId{state.node_id()};
  host.boot = state.boot();
  host.core = options.core;
  host.recovery_exempt = {metadata::kMetadataGroup};
  host.keep_entries_for_followers = options.keep_entries_for_followers;
  return host;
}

raft::Configuration ConfigurationOf(const internal::v1::BootstrapRequest& founding) {
  raft::Configuration configuration;
  for (const internal::v1::FoundingMember& member : founding.members()) {
    auto& list = member.voter() ? configuration.voters : configuration.learners;
    list.push_back({.node = NodeId{member.node_id()}, .incarnation = 0});
  }
  configuration.Normalize();
  return configuration;
}

// Its replica of the metadata: the store knows it once it was made, and it may have gone on alone since.
ReplicaId MetadataReplicaOf(const internal::v1::NodeState& state, const storage::LogReader& logs) {
  const Result<storage::GroupIdentity> stored = logs.Identity(metadata::kMetadataGroup);
  return stored.ok() ? stored->self : ReplicaId{.node = NodeId{state.node_id()}, .incarnation = state.metadata_incarnation()};
}

}  // namespace

Member::Member(const BrokerOptions& options, const BrokerSurroundings& around, const internal::v1::NodeState& state, Callbacks callbacks,
               Random random)
    : options_(options),
      around_(around),
      state_(state),
      callbacks_(std::move(callbacks)),
      self_(state.node_id()),
      time_(around.clock, options.tick),
      random_(random),
      host_(HostOptionsOf(options, state), around.executor, around.readers, around.store, around.network, random_.Fork()),
      machine_(options.description.features, options.metadata_snapshot_bytes),
      metadata_log_(host_),
      controller_({.self = MetadataReplicaOf(state, around.store), .liveness = {}}, metadata_log_, machine_, around.clock, random_.Fork()),
      waits_(around.executor, time_),
      mover_(Context()),
      replicas_({.host = host_,
                 .store = around.store,
                 .executor = around.executor,
                 .readers = around.readers,
                 .time = time_,
                 .leaders = leaders_},
                self_, options.partition),
      sizes_(host_, replicas_, around.store, time_),
      dispatcher_({.self = self_,
                   .executor = around.executor,
                   .time = time_,
                   .replicas = replicas_,
                   .leaders = leaders_,
                   .network = around.network}),
      reads_({.executor = around.executor,
              .time = time_,
              .metadata = machine_,
              .leaders = leaders_,
              .dispatcher = dispatcher_,
              .waits = waits_}),
      board_({.self = self_,
              .executor = around.executor,
              .time = time_,
              .metadata = machine_,
              .leaders = leaders_,
              .waits = waits_,
              .network = around.network,
              .host = host_}),
      decisions_(around.executor, controller_),
      fetches_({.executor = around.executor, .time = time_, .metadata = machine_, .reads = reads_}, fetch_totals_),
      descriptions_(Context()),
      topic_calls_(Context(), decisions_),
      partition_calls_(Context(), decisions_, descriptions_),
      cluster_calls_(Context(), decisions_, descriptions_, [this] { return Warnings(); }),
      node_calls_(Context(), decisions_, descriptions_),
      move_calls_(Context(), decisions_, descriptions_),
      recovery_calls_(Context(), decisions_),
      consume_calls_(Context(),
                     [this](const std::string& id, int64_t total) {
                       const auto found = subscriptions_.find(id);
                       return found == subscriptions_.end() ? std::nullopt : std::optional(found->second->Grant(total));
                     }),
      producer_calls_(Context(), decisions_),
      membership_calls_(Context(), decisions_, sizes_,
                        {.identity = callbacks_.identity,
                         .disk_space = [this] { return disk_.space(); },
                         .warnings = [this] { return Warnings(); },
                         .unfit_to_lead = [this] { return !disk_.fitness().fit(); },
                         .on_unknown = callbacks_.on_unknown}),
      services_{&topic_calls_, &partition_calls_, &cluster_calls_, &consume_calls_, &producer_calls_, &membership_calls_},
      disk_(options.disk, around.store, around.clock, options.disk_space),
      balancer_(self_, {}),
      followed_(machine_.image()) {
  machine_.AddListener(*this);
  leaders_.AddListener(waits_);
  leaders_.AddListener(*this);
  replicas_.AddListener(dispatcher_);
  replicas_.AddListener(membership_calls_);
  SetPeers();
}

Member::~Member() { host_.CloseGroup(metadata::kMetadataGroup); }

MemberContext Member::Context() {
  return {.self = self_,
          .election_ticks = options_.core.election_ticks,
          .executor = around_.executor,
          .time = time_,
          .host = host_,
          .metadata = machine_,
          .controller = controller_,
          .leaders = leaders_,
          .replicas = replicas_,
          .dispatcher = dispatcher_,
          .reads = reads_,
          .network = around_.network,
          .board = board_,
          .sizes = sizes_,
          .mover = mover_};
}

Status Member::Open(bool campaign) {
  const GroupId group = metadata::kMetadataGroup;
  if (around_.store.Bounds(group).ok()) {
    FLOTILLA_RETURN_IF_ERROR(host_.OpenGroup(group, machine_));
    const raft::RaftCore* core = host_.Find(group);
    // Nobody else could lead.
    if (core->configuration().voters == std::vector{core->self()}) host_.Campaign(group);
    return {};
  }
  return host_.CreateGroup({.group = group,
                            .identity = {.self = {self_, state_.metadata_incarnation()}, .label = "metadata"},
                            // One that joins is told by the leader who is in it.
                            .configuration = state_.has_founding() ? ConfigurationOf(state_.founding()) : raft::Configuration{},
                            .campaign = campaign},
                           machine_, *this);
}

void Member::OnGroup(GroupId group, const Status& status) {
  // A disk that is full now may have room later.
  if (status.reason() == Reason::kDiskFull) {
    open_again_ = host_.now() + kOpenAgainTicks;
  } else if (!status.ok()) {
    callbacks_.on_halt(status);
  }
  LOG_IF(ERROR, !status.ok()) << "metadata_not_opened group=" << group << " reason=\"" << status << '"';
}

// --- Calls

uint64_t Member::Fetch(uint64_t ticket, const v1::FetchRequest& request, const Caller& caller, FetchDone done) {
  for (const v1::FetchPartition& wanted : request.partitions()) {
    const Refusal missing = RefusalOf(FindPartition(wanted.topic(), wanted.partition(), image()).status());
    if (missing != Refusal::kTopicNotFound && missing != Refusal::kPartitionNotFound) continue;
    // It may have been made through another node a moment ago.
    syncing_.insert(ticket);
    board_.SyncMetadata([this, ticket, request, caller, done = std::move(done)](const Status& synced) {
      if (syncing_.erase(ticket) != 0) fetches_.Begin(ticket, request, caller, done, synced);
    });
    return ticket;
  }
  fetches_.Begin(ticket, request, caller, std::move(done));
  return ticket;
}

void Member::Cancel(uint64_t ticket) {
  board_.Cancel(ticket);
  syncing_.erase(ticket);
  fetches_.Cancel(ticket);
}

std::unique_ptr<ProduceSession> Member::OpenProduce(ProduceSink& sink) {
  return std::make_unique<ProduceSessionImpl>(
      AppendLane::Surroundings{.time = time_, .metadata = machine_, .leaders = leaders_, .dispatcher = dispatcher_, .waits = waits_},
      produce_totals_, sink);
}

std::unique_ptr<EventStream> Member::Subscribe(const v1::SubscribeRequest& request, const Caller& caller, SubscribeSink& sink) {
  const std::string id = SubscriptionId(self_, state_.boot(), next_subscription_++);
  auto subscription = std::make_unique<Subscription>(
      Subscription::Surroundings{.executor = around_.executor,
                                 .time = time_,
                                 .metadata = machine_,
                                 .leaders = leaders_,
                                 .reads = reads_,
                                 .totals = fetch_totals_,
                                 .buffers = stream_buffers_,
                                 .options = options_.streams},
      id, request, caller, sink, [this, id] { subscriptions_.erase(id); },
      [this](std::function<void(const Status&)> then) { board_.SyncMetadata(std::move(then)); });
  subscriptions_.emplace(id, subscription.get());
  if (stopping_) subscription->End(Status(Reason::kShuttingDown, "this node is about to stop; ask another one"));
  return subscription;
}

std::unique_ptr<EventStream> Member::Watch(const v1::WatchMetadataRequest& request, WatchSink& sink) {
  const uint64_t number = next_watch_++;
  auto watch = std::make_unique<MetadataWatch>(MetadataWatch::Surroundings{.time = time_,
                                                                           .metadata = machine_,
                                                                           .leaders = leaders_,
                                                                           .controller = [this] { return controller(); },
                                                                           .options = options_.streams},
                                               request, sink, [this, number] { watches_.erase(number); });
  watches_.emplace(number, watch.get());
  if (stopping_) watch->End(Status(Reason::kShuttingDown, "this node is about to stop; ask another one"));
  return watch;
}

std::unique_ptr<ForwardSession> Member::OpenForward(ForwardSink& sink) {
  return std::make_unique<ForwardSessionImpl>(
      ForwardSessionImpl::Surroundings{
          .self = self_, .time = time_, .metadata = machine_, .leaders = leaders_, .replicas = replicas_, .dispatcher = dispatcher_},
      sink);
}

// --- The metadata

void Member::OnImage(const metadata::Shared<metadata::Image>& /*before*/, const metadata::Shared<metadata::Image>& /*after*/) {
  if (std::exchange(follow_posted_, true)) return;
  around_.executor.Post([this] { FollowImage(); });
}

void Member::FollowImage() {
  follow_posted_ = false;
  const metadata::Shared<metadata::Image> before = std::exchange(followed_, machine_.image());
  if (!followed_->cluster) return;
  SetPeers();
  const auto rate = static_cast<uint64_t>(metadata::IntegerOf(metadata::EffectiveSetting(*followed_, "move_rate_bytes")));
  host_.SetRecoveryRate(std::max<uint64_t>(1, rate * static_cast<uint64_t>(time_.tick().count()) / 1'000'000'000));
  if (!replicas_.begun()) {
    replicas_.Begin(followed_);
  } else {
    replicas_.Follow(followed_);
  }
  LookForSelf();
  for (const metadata::PartitionChanged& change : metadata::Between(*before, *followed_).partitions) {
    if (change.after == nullptr) leaders_.Forget(change.before->group);
  }
  board_.OnMetadata();
  for (CallService* service : services_) service->OnMetadata();
  // Ends and new partitions are told; streams may end meanwhile, but do not die here.
  for (const auto& [id, subscription] : subscriptions_) subscription->OnMetadata();
  for (const auto& [number, watch] : watches_) watch->OnMetadata();
}

// A node that was removed is told so by the metadata, if it still learns, or when it registers (ClusterLife).
void Member::LookForSelf() {
  if (!followed_->WasRemoved(self_)) return;
  callbacks_.on_halt(
      metadata::CheckIdentity({.cluster = followed_->cluster->id, .node = self_, .uuid = options_.description.uuid}, *followed_));
}

// Once: whatever this node did before it was restarted, it did with an image that the leader of the metadata knows.
void Member::Confirm() {
  if (!replicas_.begun() || replicas_.confirmed() || confirming_ || confirm_at_ > host_.now()) return;
  confirming_ = true;
  board_.SyncMetadata([this](const Status& synced) {
    confirming_ = false;
    confirm_at_ = host_.now() + kConfirmAgainTicks;
    if (!synced.ok()) return;
    FollowImage();
    replicas_.Confirm();
    board_.Confirm();
  });
}

void Member::SetPeers() {
  std::map<NodeId, Peer> peers;
  const auto add = [&](NodeId id, const Uuid& uuid, const std::string& address) {
    if (id != self_) peers[id] = {.id = id, .uuid = uuid, .address = address};
  };
  const auto add_all = [&](const google::protobuf::RepeatedPtrField<internal::v1::FoundingMember>& members) {
    for (const internal::v1::FoundingMember& member : members) {
      if (image().WasRemoved(NodeId{member.node_id()})) continue;
      add(NodeId{member.node_id()}, Uuid::FromBytes(member.node_uuid()).value_or(Uuid()), member.peer_address());
    }
  };
  // Until the metadata is here: who founded the cluster, or who was in it when this node joined. The metadata knows better, and the
  // answer to the last registration knows better than an image that is older: nodes may have moved.
  add_all(state_.founding().members());
  add_all(state_.metadata_members());
  machine_.image()->nodes.ForEach(
      [&](NodeId id, const metadata::Shared<metadata::Node>& node) { add(id, node->description.uuid, node->description.peer_address); });
  if (LogIndex{met_.metadata_version()} > machine_.image()->version) add_all(met_.metadata_members());
  // An address belongs to the node that took it last: its predecessor is gone.
  std::map<std::string, NodeId> owners;
  for (const auto& [id, peer] : peers) owners[peer.address] = id;
  std::vector<Peer> list;
  for (const auto& [id, peer] : peers) {
    if (owners.at(peer.address) == id) list.push_back(peer);
  }
  if (list == peers_) return;
  peers_ = list;
  around_.network.SetPeers(peers_);
}

void Member::Meet(const internal::v1::JoinResponse& registered) {
  met_ = registered;
  SetPeers();
}

bool Member::Knows(NodeId node) const {
  return node == self_ || image().WasRemoved(node) ||
         std::any_of(peers_.begin(), peers_.end(), [node](const Peer& peer) { return peer.id == node; });
}

void Member::OnLeadership(const raft::StateMachine::Leadership& leadership) {
  const bool known = leadership.leader.valid() && (leadership.role != raft::Role::kLeader || leadership.surely);
  around_.executor.Post([this, known, leader = Leader{.node = known ? leadership.leader.node : NodeId{}, .epoch = leadership.term}] {
    leaders_.Learn(metadata::kMetadataGroup, leader);
    if (!known) leaders_.Lost(metadata::kMetadataGroup, leader.epoch);
  });
}

void Member::OnHalt(const Status& reason) {
  around_.executor.Post([this, reason] { callbacks_.on_halt(reason); });
}

void Member::OnLeader(GroupId group, const Leader& /*leader*/) {
  if (group == metadata::kMetadataGroup) confirm_at_ = host_.now();
  for (CallService* service : services_) service->OnLeader(group);
  for (const auto& [number, watch] : watches_) watch->OnLeader(group);
}

// --- Time

void Member::Tick() {
  host_.Tick();
  time_.Advance(host_.now());
  if (open_again_ <= host_.now()) {
    open_again_ = raft::kNever;
    if (const Status opened = Open(false); !opened.ok()) callbacks_.on_halt(opened);
  }
  controller_.Tick(host_.now());
  disk_.Tick();
  Confirm();
  replicas_.Tick();
  mover_.Tick();
  sizes_.Tick();
  waits_.Tick();
  dispatcher_.Tick();
  fetches_.Tick();
  board_.Tick();
  // How long does work wait that is posted now?
  const MonotonicTime posted = around_.clock.Now();
  around_.executor.Post([this, posted] { dispatcher_.stage_times().queue.Add(around_.clock.Now() - posted); });
  for (CallService* service : services_) service->Tick();
  if (host_.now() % kStreamTicks == 0) {
    for (const auto& [id, subscription] : subscriptions_) subscription->Tick();
    for (const auto& [number, watch] : watches_) watch->Tick();
  }
  if (host_.now() % kBalanceTicks == 0 && !stopping_) Balance();
  if (host_.now() % kHandOverAgainTicks == 0 && stopping_) HandOver();
}

// Hands over what others should lead, and are ready to.
void Member::Balance() {
  const metadata::Node* node = image().FindNode(self_);
  const bool unfit = !disk_.fitness().fit();
  const bool stays = !unfit && (node == nullptr || node->mode == metadata::NodeMode::kActive);
  ShowReluctance(unfit);
  std::vector<metadata::LedGroup> led;
  replicas_.ForEachOpen([&](GroupId group, const partition::Partition&) {
    const raft::RaftCore* core = host_.Find(group);
    if (core == nullptr || core->role() != raft::Role::kLeader) return;
    const metadata::Partition* partition = image().FindPartition(group);
    if (partition == nullptr || (stays && partition->preferred_leader == self_)) return;
    led.push_back({.group = group, .caught_up = VotersNear(*core)});
  });
  std::sort(led.begin(), led.end(), [](const auto& a, const auto& b) { return a.group < b.group; });
  for (const metadata::LeaderTransfer& transfer : balancer_.Next(image(), led, {.now = host_.now(), .unfit = unfit})) {
    const Status begun = host_.TransferLeadership(transfer.group, transfer.to);
    LOG(INFO) << "leader_goes group=" << transfer.group << " to=" << transfer.to << " status=" << begun;
  }
  if (!stays) LeaveMetadata();
}

// Its replicas let others be elected first. Again and again while it lasts: some are opened meanwhile.
void Member::ShowReluctance(bool reluctant) {
  if (!std::exchange(reluctant_, reluctant) && !reluctant) return;
  const uint32_t priority = reluctant ? raft::kPriorityReluctant : raft::kPriorityNormal;
  replicas_.ForEachOpen([&](GroupId group, const partition::Partition&) { host_.SetPriority(group, priority); });
  host_.SetPriority(metadata::kMetadataGroup, priority);
}

std::vector<std::string> Member::Warnings() const {
  std::vector<std::string> warnings = options_.warnings;
  for (std::string& warning : disk_.fitness().Warnings()) warnings.push_back(std::move(warning));
  return warnings;
}

// Others that vote, answer, and have, or are about to have, everything; the nearest first.
std::vector<ReplicaId> Member::VotersNear(const raft::RaftCore& core) const {
  std::vector<ReplicaId> near;
  std::vector<raft::ReplicaStatus> replicas = core.status().replicas;
  std::stable_sort(replicas.begin(), replicas.end(), [](const auto& a, const auto& b) { return a.lag < b.lag; });
  for (const raft::ReplicaStatus& replica : replicas) {
    const bool answers = replica.last_active + options_.core.election_ticks > host_.now();
    const bool has_it = replica.state == raft::ProgressState::kReplicate && replica.lag <= flotilla::limits::kPromotionLagEntriesMax;
    if (replica.voter && answers && has_it) near.push_back(replica.id);
  }
  return near;
}

// Of those, the ones on nodes that take leaderships.
std::vector<ReplicaId> Member::HeirsOf(const raft::RaftCore& core) const {
  std::vector<ReplicaId> heirs = VotersNear(core);
  std::erase_if(heirs, [this](const ReplicaId& heir) {
    const metadata::Node* node = image().FindNode(heir.node);
    return node == nullptr || !node->takes_leaders();
  });
  return heirs;
}

// A node that leads nothing else does not lead the metadata either, if another one can.
void Member::LeaveMetadata() {
  const raft::RaftCore* core = host_.Find(metadata::kMetadataGroup);
  if (core == nullptr || !core->leads_surely() || leave_metadata_at_ > host_.now()) return;
  const std::vector<ReplicaId> heirs = HeirsOf(*core);
  if (heirs.empty()) return;
  leave_metadata_at_ = host_.now() + kLeaveMetadataTicks;
  // Another one each time: who does not take it may not be able to.
  const ReplicaId heir = heirs[leave_metadata_at_ / kLeaveMetadataTicks % heirs.size()];
  const Status begun = host_.TransferLeadership(metadata::kMetadataGroup, heir);
  LOG(INFO) << "metadata_leader_goes to=" << heir << " status=" << begun;
}

// --- The end

void Member::BeginShutdown() {
  if (std::exchange(stopping_, true)) return;
  membership_calls_.SetStopping();
  const Status stopping(Reason::kShuttingDown, "this node is about to stop; ask another one");
  for (const auto& [id, subscription] : subscriptions_) subscription->End(stopping);
  for (const auto& [number, watch] : watches_) watch->End(stopping);
  HandOver();
}

void Member::HandOver() {
  const auto hand_over = [this](GroupId group) {
    const raft::RaftCore* core = host_.Find(group);
    if (core == nullptr || core->role() != raft::Role::kLeader) return;
    host_.SetPriority(group, raft::kPriorityNever);
    const std::vector<ReplicaId> heirs = HeirsOf(*core);
    const ReplicaId heir = heirs.empty() ? kNoReplica : heirs[handed_over_ % heirs.size()];
    const Status begun = host_.TransferLeadership(group, heir);
    VLOG(1) << "handing_over group=" << group << " status=" << begun;
  };
  replicas_.ForEachOpen([&](GroupId group, const partition::Partition&) { hand_over(group); });
  hand_over(metadata::kMetadataGroup);
  ++handed_over_;
}

bool Member::leads_nothing() const {
  const auto leads_others = [this](GroupId group) {
    const raft::RaftCore* core = host_.Find(group);
    return core != nullptr && core->role() == raft::Role::kLeader && core->configuration().voters.size() > 1;
  };
  bool leads = leads_others(metadata::kMetadataGroup);
  replicas_.ForEachOpen([&](GroupId group, const partition::Partition&) { leads |= leads_others(group); });
  return !leads;
}

// --- Views

Backlog Member::backlog() const {
  Backlog backlog{.calls = board_.size(),
                  .metadata_syncs = board_.syncs(),
                  .decisions = decisions_.size(),
                  .leader_waits = waits_.size(),
                  .fetches = fetches_.size(),
                  .reads = reads_.size(),
                  .attempts = dispatcher_.size()};
  replicas_.ForEachOpen([&](GroupId, const partition::Partition& partition) {
    backlog.appends += partition.waiting_appends();
    backlog.parked += partition.waiting_fetches();
  });
  return backlog;
}

MemberCounters Member::counters() const {
  MemberCounters counters{.host = host_.counters(),
                          .replicas = replicas_.counters(),
                          .produce = produce_totals_,
                          .fetch = fetch_totals_,
                          .dispatch = dispatcher_.counters(),
                          .backlog = backlog(),
                          .subscriptions = subscriptions_.size(),
                          .subscription_bytes = stream_buffers_.bytes(),
                          .calls = board_.size(),
                          .metadata_version = image().version,
                          .controller = leaders_.Of(metadata::kMetadataGroup),
                          .under_replicated = CountUnderReplicated(),
                          .disk_slow = disk_.fitness().slow(),
                          .disk_full = disk_.fitness().full(),
                          .stages = dispatcher_.stage_times()};
  image().groups.ForEach([&](GroupId group, const metadata::PartitionKey&) {
    if (leaders_.Of(group).node.value() == 0) ++counters.leaderless;
  });
  return counters;
}

uint64_t Member::CountUnderReplicated() const {
  uint64_t count = 0;
  replicas_.ForEachOpen([&](GroupId group, const partition::Partition&) {
    const raft::RaftCore* core = host_.Find(group);
    const PartitionPlace place = PlaceOf(group, image());
    if (core == nullptr || core->role() != raft::Role::kLeader || place.partition == nullptr) return;
    if (UnderReplicated(core->status(), host_.now(), WantedReplicas(place))) ++count;
  });
  return count;
}

std::string Member::Describe() const {
  const ReplicaCounters replicas = replicas_.counters();
  std::string text = "joined as node " + std::to_string(self_.value());
  if (!image().cluster) return text + ", waiting for the metadata";
  text += ", " + std::to_string(replicas.replicas - std::min(replicas.replicas, replicas.not_open)) + "/" +
          std::to_string(replicas.replicas) + " replicas open, leads " + std::to_string(replicas.leading);
  if (controller().value() == 0) text += ", no metadata leader";
  return text;
}

}  // namespace flotilla::broker
