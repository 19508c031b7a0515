#include "server/broker/membership_calls.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "server/broker/limits.h"
#include "server/broker/log_sizes.h"
#include "server/metadata/limits.h"

namespace flotilla::broker {
namespace {

constexpr std::string_view kJoin = "/flotilla.internal.v1.MembershipService/Join";
constexpr std::string_view kReport = "/flotilla.internal.v1.MembershipService/Report";
constexpr std::string_view kSettleReplicas = "/flotilla.internal.v1.MembershipService/SettleReplicas";
// Sizes of logs are told so often: 10 s of 50 ms.
constexpr raft::Tick kSizesTicks = 200;
// Leaders that are not known are asked for so often: 3 s.
constexpr raft::Tick kLookTicks = 60;
// A burst of elections is told in one report.
constexpr raft::Tick kSoonTicks = 2;
constexpr size_t kLeadersPerAnswerMax = 2000;
// As many replicas as a node may have.
constexpr size_t kDamagedMax = flotilla::limits::kReplicasPerNodeMax;

// Two seconds are more than a report takes, and what records and the settings of topics can live with.
constexpr int64_t kClockSkewMillisMax = 2000;

// Of a node whose clock is not that of the metadata leader. Nothing rests on clocks but times of records, and what goes by them.
std::string ClockWarning(int64_t theirs_ms, int64_t ours_ms) {
  const int64_t ahead = theirs_ms - ours_ms;
  if (theirs_ms == 0 || std::abs(ahead) <= kClockSkewMillisMax) return {};
  return "CLOCK_SKEW: its clock is " + std::to_string(std::abs(ahead) / 1000) + " s " + (ahead > 0 ? "ahead of" : "behind") +
         " that of the metadata leader; set the clocks right (chrony, systemd-timesyncd), records get their times by them";
}

Uuid UuidOf(const std::string& bytes) { return Uuid::FromBytes(bytes).value_or(Uuid()); }

}  // namespace

internal::v1::NodeIdentity IdentityOf(const metadata::NodeDescription& description) {
  internal::v1::NodeIdentity identity;
  identity.set_node_uuid(std::string(description.uuid.bytes()));
  identity.set_node_name(description.name);
  identity.set_protocol_version_min(description.features.min);
  identity.set_protocol_version_max(description.features.max);
  identity.set_software_version(description.software_version);
  identity.set_client_address(description.client_address);
  identity.set_peer_address(description.peer_address);
  identity.set_rack(description.rack);
  return identity;
}

Result<metadata::NodeDescription> DescriptionOf(const internal::v1::NodeIdentity& identity) {
  const std::optional<Uuid> uuid = Uuid::FromBytes(identity.node_uuid());
  if (!uuid)
    return Status(Reason::kInvalidArgument, "node_uuid has " + std::to_string(identity.node_uuid().size()) + " bytes, not 16")
        .With("field", "node_uuid");
  metadata::NodeDescription description;
  description.uuid = *uuid;
  description.name = identity.node_name();
  description.client_address = identity.client_address();
  description.peer_address = identity.peer_address();
  description.rack = identity.rack();
  description.software_version = identity.software_version();
  description.features = {.min = identity.protocol_version_min(), .max = identity.protocol_version_max()};
  return description;
}

MembershipCalls::MembershipCalls(const MemberContext& member, Decisions& decisions, LogSizes& sizes, OwnReport own)
    : member_(member), decisions_(decisions), sizes_(sizes), own_(std::move(own)) {
  member_.board.Register<internal::v1::JoinRequest>(
      kJoin, {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { Join(id, r); }, .repeatable = true});
  member_.board.Register<internal::v1::ReportRequest>(kReport,
                                                      {.serve = [this](uint64_t id, const auto& r) { Report(id, r); }, .repeatable = true});
  member_.board.Register<internal::v1::SettleReplicasRequest>(
      kSettleReplicas,
      {.place = Place::kMetadataLeader, .serve = [this](uint64_t id, const auto& r) { Settle(id, r); }, .repeatable = true});
}

// --- At the metadata leader

void MembershipCalls::Join(uint64_t id, const internal::v1::JoinRequest& request) {
  const std::string ours = own_.identity().cluster_name();
  if (request.node().cluster_name() != ours) {
    return member_.board.Fail(
        id, Refuse(Refusal::kClusterMismatch, "this cluster's name is " + Quoted(ours) + ", the cluster.name of the node at " +
                                                  request.node().peer_address() + " is " + Quoted(request.node().cluster_name()) +
                                                  "; correct its cluster.name or its cluster.seeds")
                .With("ours", ours)
                .With("theirs", request.node().cluster_name()));
  }
  const Result<metadata::NodeDescription> description = DescriptionOf(request.node());
  if (!description.ok()) return member_.board.Fail(id, description.status());
  const metadata::RegisterNode node{
      .cluster = UuidOf(request.node().cluster_id()),
      .claimed = NodeId{request.node().node_id()},
      .description = *description,
      .by_itself = request.node().node_id() == member_.self.value() && request.node().peer_address() == own_.identity().peer_address()};
  decisions_.Submit(node, [this, id](const metadata::Answer& answer) {
    if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
    const metadata::Image& image = member_.image();
    internal::v1::JoinResponse response;
    response.set_cluster_id(std::string(image.cluster->id.bytes()));
    response.set_node_id(answer.outcome.node.value());
    response.set_metadata_version(answer.version.value());
    response.set_controller_node_id(member_.self.value());
    image.nodes.ForEach([&response](NodeId node_id, const metadata::Shared<metadata::Node>& member) {
      internal::v1::FoundingMember& out = *response.add_metadata_members();
      out.set_node_id(node_id.value());
      out.set_node_uuid(std::string(member->description.uuid.bytes()));
      out.set_peer_address(member->description.peer_address);
      out.set_client_address(member->description.client_address);
      out.set_node_name(member->description.name);
    });
    member_.board.Answer(id, response, answer.version);
  });
}

void MembershipCalls::Report(uint64_t id, const internal::v1::ReportRequest& request) {
  metadata::NodeReport report;
  const internal::v1::NodeIdentity& node = request.node();
  report.identity = {.cluster = UuidOf(node.cluster_id()),
                     .node = NodeId{node.node_id()},
                     .uuid = UuidOf(node.node_uuid()),
                     .peer_address = node.peer_address()};
  report.metadata_version = LogIndex{request.metadata_version()};
  report.disk_total_bytes = request.disk_total_bytes();
  report.disk_free_bytes = request.disk_free_bytes();
  report.replicas = request.replica_count();
  report.leaders = request.leader_count();
  for (const internal::v1::GroupSize& size : request.sizes()) report.sizes[GroupId{size.group()}] = size.log_bytes();
  report.unfit_to_lead = request.unfit_to_lead();
  report.warnings.assign(request.warnings().begin(), request.warnings().end());
  for (const internal::v1::DamagedReplica& damaged : request.damaged()) {
    report.damaged.push_back(
        {.group = GroupId{damaged.group()}, .replica = {.node = report.identity.node, .incarnation = damaged.incarnation()}});
  }
  if (const std::string warning = ClockWarning(request.time_ms(), member_.time.clock().WallMillis()); !warning.empty()) {
    report.warnings.push_back(warning);
  }
  if (Status status = member_.controller.Report(report); !status.ok()) return member_.board.Fail(id, status);
  // The node may have applied a change before we have, and counts as told what is answered with OK: it has to say it again.
  if (!TakeLeaders(request.leaders())) {
    return member_.board.Fail(
        id, Status(Reason::kNoLeader, "this node leads the metadata and has not applied all of what the report is about; report again"));
  }
  internal::v1::ReportResponse response;
  response.set_term(member_.leaders.Of(metadata::kMetadataGroup).epoch.value());
  response.set_metadata_version(member_.image().version.value());
  // A full report comes from a process, or to a leader, that knows nothing of what was told before.
  response.set_want_full(asked_to_repeat_.insert(report.identity.node).second && !request.full());
  uint64_t& answered = answered_[report.identity.node];
  if (request.full()) answered = 0;
  member_.leaders.ForEachSince(answered, [&](uint64_t sequence, GroupId group, const Leader& leader) {
    if (static_cast<size_t>(response.leaders_size()) == kLeadersPerAnswerMax) return false;
    answered = sequence;
    internal::v1::GroupLeader& out = *response.add_leaders();
    out.set_group(group.value());
    out.set_node_id(leader.node.value());
    out.set_term(leader.epoch.value());
    return true;
  });
  member_.board.Answer(id, response);
}

void MembershipCalls::Settle(uint64_t id, const internal::v1::SettleReplicasRequest& request) {
  metadata::SettleReplicas settled{.group = GroupId{request.group()}, .placement_epoch = request.placement_epoch(), .voters = {}};
  for (const internal::v1::SettledReplica& voter : request.voters()) {
    settled.voters.push_back({.node = NodeId{voter.node_id()}, .incarnation = voter.incarnation()});
  }
  decisions_.Submit(settled, [this, id](const metadata::Answer& answer) {
    if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
    internal::v1::SettleReplicasResponse response;
    if (!answer.outcome.repeated) response.set_metadata_version(answer.version.value());
    member_.board.Answer(id, response, answer.version);
  });
}

bool MembershipCalls::TakeLeaders(const google::protobuf::RepeatedPtrField<internal::v1::GroupLeader>& leaders) {
  bool all = true;
  for (const internal::v1::GroupLeader& leader : leaders) {
    const GroupId group{leader.group()};
    const Term epoch{leader.term()};
    // Who takes part in a group knows for itself; so does everybody of the metadata.
    if (group == metadata::kMetadataGroup || member_.replicas.HearsLeader(group)) continue;
    if (!member_.image().groups.Contains(group)) {
      all &= group < member_.image().next_group;  // deleted; else it is news to us
      continue;
    }
    member_.leaders.Learn(group, {.node = NodeId{leader.node_id()}, .epoch = epoch});
    if (leader.node_id() == 0) member_.leaders.Lost(group, epoch);
  }
  return all;
}

// --- This node's own report

void MembershipCalls::OnLeader(GroupId /*group*/) { report_at_ = std::min(report_at_, member_.time.now() + kSoonTicks); }

// Of groups that it does not hear of for itself, this node knows who leads as long as nobody's word was lost or overtaken.
void MembershipCalls::LookForLeaders() {
  if (look_at_ > member_.time.now()) return;
  look_at_ = member_.time.now() + kLookTicks;
  bool missing = false;
  member_.image().groups.ForEach([&](GroupId group, const metadata::PartitionKey&) {
    missing |= member_.leaders.Of(group).node.value() == 0 && !member_.replicas.HearsLeader(group);
  });
  if (!missing) return;
  ask_anew_ = true;
  asked_to_repeat_.clear();
}

void MembershipCalls::Tick() {
  LookForLeaders();
  if (report_at_ > member_.time.now() || reporting_) return;
  report_at_ = member_.time.In(limits::kReportInterval);
  SendReport();
}

internal::v1::ReportRequest MembershipCalls::MakeReport(bool full) {
  internal::v1::ReportRequest report;
  *report.mutable_node() = own_.identity();
  report.set_metadata_version(member_.image().version.value());
  const DiskSpace disk = own_.disk_space();
  report.set_disk_total_bytes(disk.total_bytes);
  report.set_disk_free_bytes(disk.free_bytes);
  report.set_time_ms(member_.time.clock().WallMillis());
  const ReplicaCounters replicas = member_.replicas.counters();
  report.set_replica_count(static_cast<uint32_t>(replicas.replicas));
  report.set_leader_count(static_cast<uint32_t>(replicas.leading));
  report.set_full(full);
  report.set_stopping(stopping_);
  report.set_unfit_to_lead(own_.unfit_to_lead());
  for (const std::string& warning : own_.warnings()) report.add_warnings(warning);
  for (const std::string& stopped : member_.replicas.Stopped()) report.add_warnings("REPLICA_STOPPED: " + stopped);
  for (const metadata::DamagedReplica& damaged : member_.replicas.Damaged()) {
    if (static_cast<size_t>(report.damaged_size()) == kDamagedMax) break;
    internal::v1::DamagedReplica& out = *report.add_damaged();
    out.set_group(damaged.group.value());
    out.set_incarnation(damaged.replica.incarnation);
  }
  return report;
}

void MembershipCalls::SendReport() {
  const Leader to = member_.leaders.Of(metadata::kMetadataGroup);
  const metadata::Node* node = member_.image().FindNode(to.node);
  if (node == nullptr) return;
  const bool full = !(to == told_) || std::exchange(ask_anew_, false);
  internal::v1::ReportRequest report = MakeReport(full);
  const uint64_t sequence = member_.leaders.sequence();
  member_.leaders.ForEachSince(full ? 0 : told_sequence_, [&](uint64_t, GroupId group, const Leader& leader) {
    // What is hearsay here is not told.
    if (group == metadata::kMetadataGroup || (!member_.replicas.HearsLeader(group) && leader.node != member_.self)) return true;
    internal::v1::GroupLeader& out = *report.add_leaders();
    out.set_group(group.value());
    out.set_node_id(leader.node.value());
    out.set_term(leader.epoch.value());
    return true;
  });
  if (full || sizes_at_ <= member_.time.now()) {
    sizes_at_ = member_.time.now() + kSizesTicks;
    for (const auto& [group, bytes] : sizes_.TakeChanged(full)) {
      internal::v1::GroupSize& size = *report.add_sizes();
      size.set_group(group.value());
      size.set_log_bytes(bytes);
    }
  }
  reporting_ = true;
  const auto done = [this, to, sequence](const Result<std::string>& answer) { OnReported(to, sequence, answer); };
  if (to.node == member_.self) {
    const Caller self{.principal = "", .address = "", .deadline = member_.time.clock().Now() + limits::kReportInterval};
    return member_.board.Begin(0, kReport, report.SerializeAsString(), self, done);
  }
  member_.network.Call(node->description.peer_address, kReport, report.SerializeAsString(), limits::kReportInterval, done);
}

void MembershipCalls::OnReported(const Leader& to, uint64_t sequence, const Result<std::string>& answer) {
  reporting_ = false;
  internal::v1::ReportResponse response;
  if (!answer.ok()) {
    // The leader counts what it answered as told: with the answer went news that it does not repeat. Begin anew.
    told_ = {};
    const Refusal refusal = RefusalOf(answer.status());
    if (refusal == Refusal::kNodeRemoved || refusal == Refusal::kNodeNotFound || refusal == Refusal::kNodeMismatch ||
        refusal == Refusal::kClusterMismatch) {
      own_.on_unknown(answer.status());
    }
    return;
  }
  if (!response.ParseFromString(*answer)) return;
  told_ = to;
  told_sequence_ = sequence;
  // What this node's metadata does not have yet it has to be told again.
  if (!TakeLeaders(response.leaders()) || response.want_full()) told_ = {};
}

}  // namespace flotilla::broker
