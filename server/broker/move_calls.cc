#include "server/broker/move_calls.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "server/broker/describe.h"
#include "server/broker/limits.h"
#include "server/broker/move_view.h"
#include "server/broker/paging.h"
#include "server/broker/preview.h"

namespace flotilla::broker {
namespace {

// Moves whose speed is remembered: more than run at once unless somebody asks for them one by one.
constexpr size_t kPacesKept = 1000;
constexpr size_t kPlannedShownMax = 1000;

bool Touches(const metadata::Partition& partition, NodeId node) {
  const std::vector<ReplicaId> arriving = Arriving(partition);
  const std::vector<NodeId> left = NodesLeft(partition);
  return std::find(left.begin(), left.end(), node) != left.end() ||
         std::any_of(arriving.begin(), arriving.end(), [node](const ReplicaId& replica) { return replica.node == node; });
}

Status NoSuchNode(int32_t node_id) {
  return Refuse(Refusal::kNodeNotFound, "node " + std::to_string(node_id) + " is not in the cluster")
      .With("node_id", std::to_string(node_id));
}

}  // namespace

MoveCalls::MoveCalls(const MemberContext& member, Decisions& decisions, GroupDescriptions& descriptions)
    : member_(member), decisions_(decisions), descriptions_(descriptions), moves_(kPacesKept), balancings_(1) {
  CallBoard& board = member_.board;
  constexpr auto kPlace = Place::kMetadataLeader;
  board.Register<v1::MovePartitionRequest>("/flotilla.v1.AdminService/MovePartition",
                                           {.place = kPlace, .serve = [this](uint64_t id, const auto& r) { Move(id, r); }});
  board.Register<v1::RebuildReplicaRequest>("/flotilla.v1.AdminService/RebuildReplica",
                                            {.place = kPlace, .serve = [this](uint64_t id, const auto& r) { Rebuild(id, r); }});
  board.Register<v1::CancelMoveRequest>("/flotilla.v1.AdminService/CancelMove",
                                        {.place = kPlace, .serve = [this](uint64_t id, const auto& r) { Cancel(id, r); }});
  board.Register<v1::ListMovesRequest>("/flotilla.v1.AdminService/ListMoves",
                                       {.place = kPlace, .serve = [this](uint64_t id, const auto& r) { List(id, r); }, .repeatable = true});
  // Not repeatable: the second time it is under way.
  board.Register<v1::StartBalanceRequest>("/flotilla.v1.ClusterService/StartBalance",
                                          {.place = kPlace, .serve = [this](uint64_t id, const auto& r) { StartBalance(id, r); }});
  board.Register<v1::GetBalanceRequest>(
      "/flotilla.v1.ClusterService/GetBalance",
      {.place = kPlace, .serve = [this](uint64_t id, const auto&) { GetBalance(id); }, .repeatable = true});
  board.Register<v1::CancelBalanceRequest>(
      "/flotilla.v1.ClusterService/CancelBalance",
      {.place = kPlace, .serve = [this](uint64_t id, const auto&) { CancelBalance(id); }, .repeatable = true});
}

// --- One by one

void MoveCalls::Move(uint64_t id, const v1::MovePartitionRequest& request) {
  if (request.from_node_id() <= 0) return member_.board.Fail(id, NoSuchNode(request.from_node_id()));
  if (request.to_node_id() < 0) return member_.board.Fail(id, NoSuchNode(request.to_node_id()));
  Decide<v1::MovePartitionResponse>(id, request,
                                    metadata::MoveReplica{.topic = {},
                                                          .from = NodeId{static_cast<uint64_t>(request.from_node_id())},
                                                          .to = NodeId{static_cast<uint64_t>(request.to_node_id())}});
}

void MoveCalls::Rebuild(uint64_t id, const v1::RebuildReplicaRequest& request) {
  if (request.node_id() <= 0) return member_.board.Fail(id, NoSuchNode(request.node_id()));
  Decide<v1::RebuildReplicaResponse>(id, request,
                                     metadata::RebuildReplica{.topic = {}, .node = NodeId{static_cast<uint64_t>(request.node_id())}});
}

void MoveCalls::Cancel(uint64_t id, const v1::CancelMoveRequest& request) {
  Decide<v1::CancelMoveResponse>(id, request, metadata::CancelMove{.topic = {}});
}

template <typename Response, typename Request, typename Change>
void MoveCalls::Decide(uint64_t id, const Request& request, Change change) {
  if (!request.has_partition()) {
    return member_.board.Fail(id, Status(Reason::kInvalidArgument, "no partition is named; set partition").With("field", "partition"));
  }
  const Result<metadata::TopicSelector> selector = SelectorOf(request.partition().topic());
  if (!selector.ok()) return member_.board.Fail(id, selector.status());
  change.topic = *selector;
  change.partition = request.partition().partition();
  change.tag = {.request_id = request.request_id(), .validate_only = request.validate_only()};
  if (request.validate_only()) {
    const Result<metadata::Shared<metadata::Image>> after = ImageAfter(change, member_.image(), member_.time.clock().WallMillis());
    return after.ok() ? AnswerMove<Response>(id, request.partition(), *after, {}) : member_.board.Fail(id, after.status());
  }
  decisions_.Submit(change, [this, id, ref = request.partition()](const metadata::Answer& answer) {
    if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
    AnswerMove<Response>(id, ref, member_.metadata.image(), answer.version);
  });
}

template <typename Response>
void MoveCalls::AnswerMove(uint64_t id, const v1::PartitionRef& ref, const metadata::Shared<metadata::Image>& image, LogIndex version) {
  const Result<GroupId> group = FindGroup(ref, *image);
  if (!group.ok()) return member_.board.Fail(id, group.status());
  descriptions_.Ask({*group}, [this, id, group = *group, image, version](const GroupDescriptions::Found& found) {
    Response response;
    *response.mutable_move() = Describe(PlaceOf(group, *image), found);
    response.set_metadata_version(static_cast<int64_t>(version.value()));
    member_.board.Answer(id, response, version);
  });
}

v1::Move MoveCalls::Describe(const PartitionPlace& place, const GroupDescriptions::Found& found) {
  const GroupId group = place.partition->group;
  const auto at = found.find(group);
  v1::Move move = DescribeMove(*place.topic, *place.partition, at == found.end() ? nullptr : &at->second);
  if (at == found.end()) return move;
  const Paces::Key key{.what = group.value(), .since = static_cast<int64_t>(place.partition->placement_epoch)};
  // By entries: how many bytes there are is not always known.
  move.set_remaining_ms(moves_.Look(key, CopyOf(*place.partition, at->second).entries_left, member_.time.clock().Now()).remaining_ms);
  return move;
}

void MoveCalls::List(uint64_t id, const v1::ListMovesRequest& request) {
  const Result<Page> page = PageOf(request.page_size(), request.page_token());
  if (!page.ok()) return member_.board.Fail(id, page.status());
  const NodeId node{static_cast<uint64_t>(std::max(request.node_id(), 0))};
  if (request.node_id() != 0 && member_.image().FindNode(node) == nullptr) return member_.board.Fail(id, NoSuchNode(request.node_id()));
  std::map<std::string, GroupId> rows;
  member_.image().moving.ForEach([&](GroupId group, metadata::MoveCause) {
    const PartitionPlace place = PlaceOf(group, member_.image());
    if (node.value() != 0 && !Touches(*place.partition, node)) return;
    const std::string name = SortKeyOf(*place.topic, place.partition->number);
    if (name > page->after) rows.emplace(name, group);
  });
  v1::ListMovesResponse start;
  if (rows.size() > page->size) {
    rows.erase(std::next(rows.begin(), static_cast<ptrdiff_t>(page->size)), rows.end());
    start.set_next_page_token(TokenAfter(rows.rbegin()->first));
  }
  std::vector<GroupId> groups;
  for (const auto& [name, group] : rows) groups.push_back(group);
  descriptions_.Ask(groups, [this, id, groups, response = std::move(start)](const GroupDescriptions::Found& found) mutable {
    for (const GroupId group : groups) {
      const PartitionPlace place = PlaceOf(group, member_.image());
      if (place.partition != nullptr && place.partition->movement) *response.add_moves() = Describe(place, found);
    }
    member_.board.Answer(id, response);
  });
}

// --- Many at once

std::vector<GroupId> MoveCalls::Balancing() const {
  std::vector<GroupId> groups;
  member_.image().moving.ForEach([&groups](GroupId group, metadata::MoveCause cause) {
    if (cause == metadata::MoveCause::kBalance) groups.push_back(group);
  });
  return groups;
}

void MoveCalls::StartBalance(uint64_t id, const v1::StartBalanceRequest& request) {
  const metadata::MovePlan plan = PlanBalance(member_.image(), member_.controller.sizes(), {});
  v1::StartBalanceResponse response;
  response.set_move_count(static_cast<int32_t>(plan.moves.size()));
  response.set_leader_change_count(static_cast<int32_t>(plan.leaders.size()));
  int64_t bytes = 0;
  for (const metadata::PlannedMove& planned : plan.moves) {
    bytes += static_cast<int64_t>(planned.bytes);
    if (static_cast<size_t>(response.moves_size()) == kPlannedShownMax) continue;
    v1::PlannedMove& out = *response.add_moves();
    *out.mutable_partition() = RefOf(PlaceOf(planned.group, member_.image()));
    out.set_from_node_id(static_cast<int32_t>(planned.from.value()));
    out.set_to_node_id(static_cast<int32_t>(planned.to.value()));
    out.set_bytes(static_cast<int64_t>(planned.bytes));
  }
  response.set_bytes_total(bytes);
  const bool even = plan.moves.empty() && plan.leaders.empty();
  const metadata::StartBalance start{.planned_moves = plan.moves.size(), .validate_only = request.validate_only() || even};
  decisions_.Submit(start, [this, id, response, only_checked = start.validate_only](const metadata::Answer& answer) mutable {
    if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
    if (only_checked) return member_.board.Answer(id, response);
    response.set_metadata_version(static_cast<int64_t>(answer.version.value()));
    member_.board.Answer(id, response, answer.version);
  });
}

void MoveCalls::GetBalance(uint64_t id) {
  descriptions_.Ask(Balancing(), [this, id](const GroupDescriptions::Found& found) {
    const metadata::Image& image = member_.image();
    const metadata::MovePlanOptions options;
    v1::GetBalanceResponse response;
    response.set_active(image.balancing.has_value());
    uint64_t bytes = 0;
    int32_t running = 0;
    for (const GroupId group : Balancing()) {
      ++running;
      const auto at = found.find(group);
      if (at != found.end()) bytes += CopyOf(*PlaceOf(group, image).partition, at->second).bytes_left;
    }
    response.set_moves_running(running);
    if (image.balancing) {
      response.set_start_time_ms(image.balancing->since_ms);
      response.set_moves_planned(static_cast<int32_t>(image.balancing->planned_moves));
      const metadata::MovePlan plan = PlanBalance(image, member_.controller.sizes(), options);
      response.set_moves_waiting(static_cast<int32_t>(plan.moves.size()));
      for (const metadata::PlannedMove& planned : plan.moves) bytes += planned.bytes;
    }
    response.set_bytes_left(static_cast<int64_t>(bytes));
    // A move is work beyond its bytes, as it is for the plan.
    const uint64_t left = bytes + static_cast<uint64_t>(running + response.moves_waiting()) * options.replica_cost_bytes;
    const Pace pace = balancings_.Look({.what = 0, .since = response.start_time_ms()}, left, member_.time.clock().Now());
    response.set_percent(left == 0 ? 100 : static_cast<int32_t>(99 * (pace.most - left) / pace.most));
    response.set_remaining_ms(pace.remaining_ms);
    member_.board.Answer(id, response);
  });
}

void MoveCalls::CancelBalance(uint64_t id) {
  const auto running = static_cast<int32_t>(Balancing().size());
  decisions_.Submit(metadata::CancelBalance{}, [this, id, running](const metadata::Answer& answer) {
    if (!answer.status.ok()) return member_.board.Fail(id, answer.status);
    v1::CancelBalanceResponse response;
    if (answer.outcome.repeated) return member_.board.Answer(id, response);
    response.set_moves_cancelled(running);
    response.set_metadata_version(static_cast<int64_t>(answer.version.value()));
    member_.board.Answer(id, response, answer.version);
  });
}

}  // namespace flotilla::broker
