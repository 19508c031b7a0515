#include "server/metadata/metadata_controller.h"

#include <algorithm>
#include <utility>

#include "server/metadata/recovery.h"
#include "server/metadata/replay.h"
#include "server/metadata/voters.h"

namespace flotilla::metadata {
namespace {

// The id of proposals whose answer nobody waits for.
constexpr uint64_t kNobody = 0;

struct DecideRequest {
  const Image& image;
  const Context& context;

  Result<Decision> operator()(const Founding& request) const { return DecideFounding(request, image, context); }
  Result<Decision> operator()(const RegisterNode& request) const { return DecideRegistration(request, image, context); }
  Result<Decision> operator()(const RaiseFeatureLevel& request) const { return DecideFeatureLevel(request, image); }
  Result<Decision> operator()(const CreateTopic& request) const { return DecideTopicCreation(request, image, context); }
  Result<Decision> operator()(const DeleteTopic& request) const { return DecideTopicDeletion(request, image, context); }
  Result<Decision> operator()(const AddPartitions& request) const { return DecideMorePartitions(request, image, context); }
  Result<Decision> operator()(const ChangeConfig& request) const { return DecideConfigChange(request, image, context); }
  Result<Decision> operator()(const PreferLeader& request) const { return DecideLeaderPreference(request, image, context); }
  Result<Decision> operator()(const InitProducer& request) const { return DecideProducer(request, image, context); }
  Result<Decision> operator()(const ReserveProducerIds& request) const { return DecideProducerIds(request, image); }
  Result<Decision> operator()(const ChangeNodeMode& request) const { return DecideNodeMode(request, image, context); }
  Result<Decision> operator()(const RemoveNode& request) const { return DecideNodeRemoval(request, image, context); }
  Result<Decision> operator()(const MoveReplica& request) const { return DecideMove(request, image, context); }
  Result<Decision> operator()(const RebuildReplica& request) const { return DecideRebuild(request, image, context); }
  Result<Decision> operator()(const CancelMove& request) const { return DecideMoveCancellation(request, image, context); }
  Result<Decision> operator()(const SettleReplicas& request) const { return DecideSettled(request, image); }
  Result<Decision> operator()(const ChooseSurvivor& request) const { return DecideSurvivor(request, image, context); }
  Result<Decision> operator()(const StartBalance& request) const { return DecideBalanceStart(request, image, context); }
  Result<Decision> operator()(const CancelBalance& request) const { return DecideBalanceCancellation(request, image, context); }
};

Batch BatchOn(const Image& image, std::vector<Record> records) {
  Batch batch;
  batch.set_feature_level(image.cluster ? image.feature_level() : kSupportedFeatures.min);
  batch.set_previous_version(image.version.value());
  for (Record& record : records) *batch.add_records() = std::move(record);
  return batch;
}

// The same image under the version that its batch got.
Shared<Image> AtVersion(const Image& image, LogIndex version) {
  auto copy = std::make_shared<Image>(image);
  copy->version = version;
  return copy;
}

// What a refused or lost batch means for those whose answers rested on it: they asked for nothing that could
// have been done.
Status NothingDone() {
  return Status(Reason::kNoLeader, "the metadata lost its leader before this could be told for certain; nothing was done, ask again");
}

}  // namespace

Result<Decision> Decide(const Request& request, const Image& image, const Context& context) {
  return std::visit(DecideRequest{image, context}, request);
}

MetadataController::MetadataController(const ControllerOptions& options, MetadataLog& log, MetadataMachine& machine, const Clock& clock,
                                       Random random)
    : options_(options), log_(log), machine_(machine), clock_(clock), random_(random), liveness_(options.liveness) {
  machine_.AddListener(*this);
}

// --- requests

void MetadataController::Submit(const Request& request, uint64_t token, AnswerSink& sink) {
  if (Status status = WhyNot(); !status.ok()) return sink.OnAnswer(token, {status, {}, {}});
  Result<Decision> decision = Decide(request, *leading_->image, DrawContext());
  Waiting waiting{.sink = &sink, .token = token, .answer = {}};
  if (!decision.ok()) {
    waiting.answer = {decision.status(), {}, {}};
    return AnswerWhenCertain(std::move(waiting));
  }
  if (std::holds_alternative<RegisterNode>(request)) liveness_.Heard(decision->outcome.node, now_);
  // Whoever waits for one of the few moves at a time need not wait for the next second, too: small partitions move within a moment.
  if (std::holds_alternative<SettleReplicas>(request)) leading_->plan_at = now_;
  waiting.answer = {Status(), decision->outcome, leading_->image->version};
  if (decision->records.empty()) return AnswerWhenCertain(std::move(waiting));
  if (Status status = Propose(std::move(decision->records), std::move(waiting)); !status.ok()) {
    sink.OnAnswer(token, {status, {}, {}});
  }
}

// What a replica says that takes no part any more. When it is the only one, why; else others take its place.
Status MetadataController::Stopped(const Status& why) const {
  const bool of_this_replica =
      why.reason() == Reason::kStorageFailed || why.reason() == Reason::kDataLoss || why.reason() == Reason::kReplicaFaulted;
  if (!of_this_replica || configuration_.voters.size() <= 1) return why;
  return Status(Reason::kNoLeader, "the metadata on this node has stopped, and another node takes over; nothing was done, ask again: " +
                                       std::string(why.message()));
}

Status MetadataController::WhyNot() const {
  if (!machine_.health().ok()) return Stopped(machine_.health());
  if (!leading_) {
    const NodeId leader = seen_.leader.node;
    if (leader == NodeId{} || leader == options_.self.node) {
      return Status(Reason::kNoLeader, "the metadata has no leader at the moment; nothing was done, ask again");
    }
    return Status(Reason::kNotLeader, "node " + std::to_string(leader.value()) + " leads the metadata, not node " +
                                          std::to_string(options_.self.node.value()) + "; nothing was done, ask there")
        .With("leader", leader.value());
  }
  if (PlanRecovery(*leading_->image, options_.self, 0)) {
    return Status(Reason::kNoLeader, "the metadata goes on after a recovery, and has not begun yet; nothing was done, ask again");
  }
  if (pending_.size() < options_.pending_max && confirming_.size() < options_.pending_max) return {};
  return Status(Reason::kOverloaded, std::to_string(std::max(pending_.size(), confirming_.size())) +
                                         " changes of the metadata wait for their turn, which is the limit; "
                                         "nothing was done, ask later")
      .With("limit", options_.pending_max);
}

Context MetadataController::DrawContext() {
  const Uuid fresh_id = Uuid::Random(random_);
  return {.now_ms = clock_.WallMillis(), .fresh_id = fresh_id, .seed = random_.Next()};
}

Status MetadataController::Propose(std::vector<Record> records, Waiting own) {
  const Batch batch = BatchOn(*leading_->image, std::move(records));
  // Tried before it is said: a batch that does not replay would halt every node.
  Result<Shared<Image>> after = ReplayBatch(leading_->image, batch, leading_->image->version + 1);
  if (!after.ok()) {
    LOG(ERROR) << "a decision about the metadata contradicts it: reason=\"" << after.status() << "\"";
    return Status(Reason::kInvalidArgument, "the broker made a decision that contradicts its metadata; nothing was done, this is a bug: " +
                                                std::string(after.status().message()));
  }
  // Nodes are asked what they know when they register; this one may run another version since.
  if (!machine_.supported().Contains((*after)->feature_level())) {
    const Status unknown = UnknownFeatureLevel((*after)->feature_level(), machine_.supported());
    return Refuse(Refusal::kProtocolMismatch, "node " + std::to_string(options_.self.node.value()) +
                                                  ", which leads the metadata, would stop: " + std::string(unknown.message()));
  }
  const uint64_t id = next_id_++;
  const Result<LogIndex> index = log_.Propose(leading_->term, EncodeBatch(batch), id, *this);
  if (!index.ok()) return Stopped(index.status());
  CHECK_GT(*index, leading_->image->version);
  leading_->image = AtVersion(**after, *index);
  own.answer.version = *index;
  pending_.emplace(id, Pending{.index = *index, .own = std::move(own), .others = {}});
  return {};
}

void MetadataController::AnswerWhenCertain(Waiting waiting) {
  if (!pending_.empty()) {
    pending_.rbegin()->second.others.push_back(std::move(waiting));
    return;
  }
  const uint64_t id = next_id_++;
  const Status status = log_.ConfirmLeadership(id, *this);
  if (!status.ok()) return waiting.sink->OnAnswer(waiting.token, {Stopped(status), {}, {}});
  confirming_.emplace(id, Confirming{leading_->term, std::move(waiting)});
}

void MetadataController::OnProposal(uint64_t id, const Status& outcome, const storage::EntryHeader& /*header*/) {
  const auto at = pending_.find(id);
  if (at == pending_.end()) return;  // of a change of members
  const Pending pending = std::move(at->second);
  pending_.erase(at);
  // Committed, but the machine halted before it: what became of it has to be seen elsewhere.
  const bool blind = outcome.ok() && !machine_.health().ok();
  const Status status = blind ? Status(Reason::kOutcomeUnknown, std::string(machine_.health().message())) : outcome;
  if (status.ok() && leading_ && pending_.empty()) {
    CHECK_EQ(leading_->image->version, machine_.image()->version);
    leading_->image = machine_.image();
  }
  if (pending.own.sink != nullptr) {
    pending.own.sink->OnAnswer(pending.own.token, status.ok() ? pending.own.answer : Answer{status, {}, {}});
  }
  for (const Waiting& waiting : pending.others) {
    waiting.sink->OnAnswer(waiting.token, status.ok() ? waiting.answer : Answer{NothingDone(), {}, {}});
  }
}

void MetadataController::OnRead(uint64_t id, const Status& status, LogIndex /*index*/) {
  const auto at = confirming_.find(id);
  CHECK(at != confirming_.end()) << id;
  const auto [term, waiting] = std::move(at->second);
  confirming_.erase(at);
  // A read that began on a leader is also released when another one leads by then: OK alone does not say who
  // we are.
  const bool led = leading_ && leading_->term == term;
  waiting.sink->OnAnswer(waiting.token, status.ok() && led ? waiting.answer : Answer{NothingDone(), {}, {}});
}

// --- leadership

void MetadataController::OnLeadership(const raft::StateMachine::Leadership& leadership) {
  seen_ = leadership;
  const bool leads = leadership.role == raft::Role::kLeader && leadership.surely;
  if (leading_ && (!leads || leading_->term != leadership.term)) {
    LOG(INFO) << "metadata leadership ended: node=" << options_.self.node << " term=" << leading_->term << " pending=" << pending_.size();
    leading_.reset();
  }
  if (!leads || leading_) return;
  LOG(INFO) << "metadata leadership began: node=" << options_.self.node << " term=" << leadership.term
            << " version=" << machine_.image()->version;
  leading_ = Leading{
      .term = leadership.term, .image = machine_.image(), .reports = {}, .sizes = {}, .learners = {}, .since = now_, .plan_at = now_};
  liveness_.Begin();
}

void MetadataController::OnHalt(const Status& /*reason*/) { leading_.reset(); }

void MetadataController::OnConfiguration(const raft::Configuration& configuration) { configuration_ = configuration; }

// --- nodes

Status MetadataController::Report(const NodeReport& report) {
  if (Status status = WhyNot(); !status.ok() && status.reason() != Reason::kOverloaded) return status;
  FLOTILLA_RETURN_IF_ERROR(CheckIdentity(report.identity, *leading_->image));
  liveness_.Heard(report.identity.node, now_);
  for (const auto& [group, bytes] : report.sizes) {
    if (leading_->image->groups.Contains(group)) leading_->sizes.insert_or_assign(group, bytes);
  }
  NodeReport& kept = leading_->reports[report.identity.node];
  kept = report;
  kept.sizes.clear();
  return {};
}

void MetadataController::Tick(raft::Tick now) {
  now_ = now;
  if (machine_.WantsSnapshot()) {
    if (Status status = log_.TakeSnapshot(); !status.ok()) {
      LOG_EVERY_N(WARNING, 1000) << "no snapshot of the metadata: reason=\"" << status << "\"";
    }
  }
  BeginRecovered();
  if (!WhyNot().ok()) return;
  liveness_.Heard(options_.self.node, now_);
  ConcludeLiveness();
  ConcludeFitness();
  if (now_ < leading_->plan_at) return;
  leading_->plan_at = now_ + options_.plan_ticks;
  ForgetWhatIsGone();
  ChangeMembers();
  MendMoves();
  RegrowSurvivors();
  MoveReplicas();
  RemoveNodes();
}

void MetadataController::BeginRecovered() {
  if (!leading_ || !machine_.health().ok()) return;
  std::optional<Record> record = PlanRecovery(*leading_->image, options_.self, clock_.WallMillis());
  if (!record) return;
  liveness_.Heard(options_.self.node, now_);
  std::vector<Record> records = liveness_.FailUnheard(*leading_->image, clock_.WallMillis());
  LOG(WARNING) << "metadata recovered: replica=" << options_.self << " version=" << leading_->image->version
               << " next_group=" << record->metadata_recovered().next_group_id() << " nodes_not_heard_of=" << records.size();
  // What is refused is tried again in the next tick.
  records.insert(records.begin(), *std::move(record));
  (void)Propose(std::move(records), Waiting{}).ok();
}

void MetadataController::ConcludeLiveness() {
  std::vector<Record> records = liveness_.Conclude(*leading_->image, now_, clock_.WallMillis());
  for (const Record& record : records) {
    const auto& change = record.node_liveness_changed();
    LOG(WARNING) << "node " << (change.liveness() == record::NODE_LIVENESS_ALIVE ? "returned" : "failed") << ": node=" << change.node_id();
  }
  // What is refused is concluded again in the next tick.
  if (!records.empty()) (void)Propose(std::move(records), Waiting{}).ok();
}

void MetadataController::ConcludeFitness() {
  std::vector<Record> records;
  for (const auto& [id, report] : leading_->reports) {
    const Node* node = leading_->image->FindNode(id);
    if (node == nullptr || node->unfit_to_lead == report.unfit_to_lead) continue;
    Record& record = records.emplace_back();
    record.mutable_node_fitness_changed()->set_node_id(id.value());
    record.mutable_node_fitness_changed()->set_unfit_to_lead(report.unfit_to_lead);
    record.mutable_node_fitness_changed()->set_changed_at_ms(clock_.WallMillis());
    LOG(WARNING) << "node " << (report.unfit_to_lead ? "unfit to lead" : "fit to lead again") << ": node=" << id;
  }
  // As above.
  if (!records.empty()) (void)Propose(std::move(records), Waiting{}).ok();
}

void MetadataController::ForgetWhatIsGone() {
  const Image& image = *leading_->image;
  std::erase_if(leading_->reports, [&](const auto& row) { return image.FindNode(row.first) == nullptr; });
  if (leading_->sizes.size() <= image.groups.size()) return;
  std::erase_if(leading_->sizes, [&](const auto& row) { return !image.groups.Contains(row.first); });
}

// --- what follows by itself: whatever is refused is planned again a second later

void MetadataController::ChangeMembers() {
  leading_->learners.Look(log_.Learners(), now_);
  const raft::MembershipChange change = PlanVoters(*machine_.image(), configuration_, leading_->learners.sight());
  if (change.empty()) return;
  const Status begun = log_.ChangeMembers(change, kNobody, *this);
  if (!begun.ok()) {
    LOG_EVERY_N(WARNING, 60) << "members of the metadata wait to change: reason=\"" << begun << '"';
    return;
  }
  LOG(INFO) << "members of the metadata change: learn=" << change.add_learners.size() << " promote=" << change.promote.size()
            << " demote=" << change.demote.size() << " remove=" << change.remove.size();
}

void MetadataController::MendMoves() {
  std::set<DamagedReplica> damaged;
  for (const auto& [node, report] : leading_->reports) damaged.insert(report.damaged.begin(), report.damaged.end());
  std::vector<Record> records = PlanMending(*leading_->image, damaged, {.now_ms = clock_.WallMillis(), .pause_ms = options_.mend_pause_ms});
  for (const Record& record : records) {
    const record::ReplicasRetargeted& target = record.replicas_retargeted();
    LOG(WARNING) << "move with a damaged replica: group=" << target.group_id() << " epoch=" << target.placement_epoch()
                 << " goes_on_as=" << record::MoveCause_Name(target.cause());
  }
  if (!records.empty()) (void)Propose(std::move(records), Waiting{}).ok();
}

void MetadataController::RegrowSurvivors() {
  if (leading_->image->survivals.empty()) return;
  for (Record& record : PlanRegrowth(*leading_->image, DrawContext())) {
    LOG(INFO) << "a partition that went on alone gets its replicas back: group=" << record.replicas_retargeted().group_id();
    if (!Propose({std::move(record)}, Waiting{}).ok()) return;
  }
}

void MetadataController::MoveReplicas() {
  MovePlanOptions options = options_.moves;
  options.now_ms = clock_.WallMillis();
  options.balances = now_ - leading_->since >= options_.sizes_ticks;
  const bool balancing = leading_->image->balancing.has_value();
  const MovePlan plan = PlanMoves(*leading_->image, leading_->sizes, options);
  for (const PlannedMove& move : plan.moves) {
    const Image& image = *leading_->image;
    const Partition& partition = *image.FindPartition(move.group);
    LOG(INFO) << "replica moves: group=" << move.group << " from=" << move.from << " to=" << move.to
              << " cause=" << record::MoveCause_Name(RecordOf(move.cause));
    Record target = RetargetOf(image, partition, NodesWith(partition, move.from, move.to), move.cause, options.now_ms);
    if (!Propose({std::move(target)}, Waiting{}).ok()) return;
  }
  std::vector<Record> preferences;
  for (const PlannedLeader& change : plan.leaders) {
    Record out;
    out.mutable_leader_preference_changed()->set_group_id(change.group.value());
    out.mutable_leader_preference_changed()->set_node_id(change.preferred.value());
    preferences.push_back(std::move(out));
  }
  if (!preferences.empty() && !Propose(std::move(preferences), Waiting{}).ok()) return;
  if (!balancing || !plan.even) return;
  LOG(INFO) << "the cluster is balanced";
  (void)Propose({BalanceOver(options.now_ms)}, Waiting{}).ok();
}

void MetadataController::RemoveNodes() {
  std::vector<NodeId> voters;
  for (const auto* half : {&configuration_.voters, &configuration_.outgoing}) {
    for (const ReplicaId& voter : *half) voters.push_back(voter.node);
  }
  std::vector<Record> due = RemovalsDue(*leading_->image, voters);
  for (const Record& record : due) LOG(WARNING) << "node removed: node=" << record.node_removed().node_id() << " reason=decommissioned";
  if (!due.empty()) (void)Propose(std::move(due), Waiting{}).ok();
}

std::map<NodeId, NodeReport> MetadataController::reports() const { return leading_ ? leading_->reports : std::map<NodeId, NodeReport>(); }

std::optional<raft::Tick> MetadataController::LastHeard(NodeId node) const { return leading_ ? liveness_.LastHeard(node) : std::nullopt; }

const GroupSizes& MetadataController::sizes() const {
  static const GroupSizes none;
  return leading_ ? leading_->sizes : none;
}

}  // namespace flotilla::metadata
