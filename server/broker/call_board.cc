#include "server/broker/call_board.h"

#include <glog/logging.h>

#include <algorithm>
#include <vector>

#include "server/broker/limits.h"
#include "server/errors/error_codec.h"

namespace flotilla::broker {
namespace {

constexpr std::string_view kForwardCall = "/flotilla.internal.v1.ForwardService/ForwardCall";

// Nothing was done, and another attempt may find who can.
bool FindsNoLeader(const Status& status) {
  if (RefusalOf(status) != Refusal::kNone) return false;
  switch (status.reason()) {
    case Reason::kNotLeader:
    case Reason::kNoLeader:
    case Reason::kTransferring:
    case Reason::kShuttingDown: return true;
    default: return false;
  }
}

// A newer image may have it.
bool IsMissing(const Status& status) {
  const Refusal refusal = RefusalOf(status);
  return refusal == Refusal::kTopicNotFound || refusal == Refusal::kPartitionNotFound || refusal == Refusal::kNodeNotFound;
}

}  // namespace

Status MissingOrUnsure(const Status& missing, const Status& synced) {
  if (synced.ok() || !IsMissing(missing)) return missing;
  return Status(Reason::kNoLeader, "this node does not know it, and cannot ask the leader of the metadata whether it exists by now (" +
                                       std::string(synced.message()) + "); ask again shortly");
}

// What a look at the metadata is told by a replica that takes no part any more. Others know what this node does not.
Status NotThroughHere(const Status& status) {
  switch (status.reason()) {
    case Reason::kDataLoss:
    case Reason::kReplicaFaulted:
    case Reason::kStorageFailed:
      return Status(Reason::kShuttingDown,
                    "the metadata on this node has stopped, and the node with it; ask another one: " + std::string(status.message()));
    default: return status;
  }
}

// One linearizable look at the metadata: a read of group 0 that is released when this replica has applied enough.
class CallBoard::Sync final : public raft::ReadSink {
 public:
  Sync(CallBoard& board, uint64_t number, std::function<void(const Status&)> then)
      : board_(board), number_(number), then_(std::move(then)) {}

  // raft::ReadSink: inside of the group, so the rest is posted.
  void OnRead(uint64_t, const Status& status, LogIndex) override { Done(status); }
  void Done(const Status& why) {
    board_.around_.executor.Post([&board = board_, number = number_, status = NotThroughHere(why)] {
      const auto found = board.syncs_.find(number);
      if (found == board.syncs_.end()) return;
      const std::unique_ptr<Sync> sync = std::move(found->second);
      board.syncs_.erase(found);
      sync->then_(status);
    });
  }

 private:
  CallBoard& board_;
  const uint64_t number_;
  const std::function<void(const Status&)> then_;
};

CallBoard::CallBoard(const Surroundings& around) : around_(around) {}
CallBoard::~CallBoard() = default;

void CallBoard::SyncMetadata(std::function<void(const Status&)> then) {
  const uint64_t number = next_sync_++;
  Sync& sync = *syncs_.emplace(number, std::make_unique<Sync>(*this, number, std::move(then))).first->second;
  const Status asked = around_.host.ReadIndex(metadata::kMetadataGroup, number, sync);
  if (!asked.ok()) sync.Done(asked);
}

// --- Beginning

uint64_t CallBoard::NewCall(uint64_t ticket, const Method* method, const std::string& request, const Caller& caller, CallDone done) {
  const uint64_t id = next_id_++;
  Call& call = calls_[id];
  call.method = method;
  call.ticket = ticket;
  call.request = request;
  call.caller = caller;
  call.done = std::move(done);
  call.deadline = around_.time.At(caller.deadline);
  if (ticket != 0) by_ticket_[ticket] = id;
  return id;
}

void CallBoard::Begin(uint64_t ticket, std::string_view method, const std::string& request, const Caller& caller, CallDone done) {
  const auto found = methods_.find(method);
  if (found == methods_.end()) {
    return done(Refuse(Refusal::kUnsupported, "this broker has no method " + Quoted(method)));
  }
  Step(NewCall(ticket, &found->second, request, caller, std::move(done)));
}

void CallBoard::BeginForwarded(const std::string& bytes, CallDone done) {
  internal::v1::ForwardCallRequest request;
  if (!request.ParseFromString(bytes)) {
    return done(Status(Reason::kCorruptMessage, "not a ForwardCallRequest"));
  }
  if (request.context().target_node_id() != around_.self.value()) {
    return done(Refuse(Refusal::kNodeMismatch, "the call is meant for node " + std::to_string(request.context().target_node_id()) +
                                                   "; this is node " + std::to_string(around_.self.value())));
  }
  const auto found = methods_.find(request.method());
  if (found == methods_.end()) {
    return done(Refuse(Refusal::kUnsupported, "this broker has no method " + Quoted(request.method())));
  }
  const Caller caller{.principal = request.context().principal(),
                      .address = request.context().client_address(),
                      .deadline = around_.time.clock().Now() + std::chrono::milliseconds(request.context().timeout_ms())};
  const uint64_t id = NewCall(0, &found->second, request.request(), caller, std::move(done));
  calls_.at(id).forwarded = true;
  Step(id);
}

void CallBoard::Cancel(uint64_t ticket) {
  const auto at = by_ticket_.find(ticket);
  if (at == by_ticket_.end()) return;
  const auto call = calls_.find(at->second);
  if (call->second.wait != 0) around_.waits.Cancel(call->second.wait);
  calls_.erase(call);
  by_ticket_.erase(at);
}

// --- On its way

Result<GroupId> CallBoard::GroupFor(const Call& call) const {
  return call.method->place == Place::kGroupLeader ? call.method->group(call.request) : Result<GroupId>(metadata::kMetadataGroup);
}

void CallBoard::Step(uint64_t id) {
  Call& call = calls_.at(id);
  call.wait = 0;
  call.serving = false;
  if (call.method->place == Place::kHere) {
    return call.method->look == Look::kMonotonic && !confirmed_ ? AwaitConfirmation(id) : Serve(id);
  }
  const Result<GroupId> group = GroupFor(call);
  if (!group.ok()) {
    if (call.synced) return Finish(id, group.status());
    // Who passed it on has seen it; this node will, too.
    if (call.forwarded) return Finish(id, Status(Reason::kNoLeader, "this node does not know the partition (yet); try again shortly"));
    // It may have been made through another node a moment ago.
    return SyncMetadata([this, id](const Status& synced) {
      const auto found = calls_.find(id);
      if (found == calls_.end()) return;
      found->second.synced = synced.ok();
      if (synced.ok()) return Step(id);
      Refused(id, Status(Reason::kNoLeader, "nobody leads the metadata at the moment, which would know whether it exists"));
    });
  }
  const Leader leader = around_.leaders.Of(*group);
  if (leader.node == around_.self) return Serve(id);
  if (call.forwarded) {
    return Finish(id, Status(Reason::kNotLeader, "this node does not lead the group that serves the call")
                          .With("leader_node_id", leader.node.value())
                          .With("leader_epoch", leader.epoch.value()));
  }
  if (leader.node.value() == 0) return Refused(id, Status(Reason::kNoLeader, "no leader at the moment"));
  PassOn(id, leader);
}

void CallBoard::AwaitConfirmation(uint64_t id) {
  Call& call = calls_.at(id);
  if (call.deadline <= around_.time.now()) {
    return Finish(id, Status(Reason::kNoLeader,
                             "this node was started and has not heard the leader of the metadata yet, so that it does not know whether "
                             "what it knows is old; a majority of the metadata's nodes may be missing"));
  }
  call.wait = around_.waits.Wait(metadata::kMetadataGroup, call.deadline, id, *this);
}

void CallBoard::Confirm() {
  confirmed_ = true;
  std::vector<uint64_t> waiting;
  for (const auto& [id, call] : calls_) {
    if (call.method->look == Look::kMonotonic && call.wait != 0) waiting.push_back(id);
  }
  for (const uint64_t id : waiting) {
    const auto found = calls_.find(id);
    if (found == calls_.end()) continue;
    around_.waits.Cancel(found->second.wait);
    Step(id);
  }
}

void CallBoard::Serve(uint64_t id) {
  Call& call = calls_.at(id);
  call.serving = true;
  // Handlers may end the call before they return.
  const Method& method = *call.method;
  const std::string request = call.request;
  if (!method.serve(id, request)) {
    Finish(id, Status(Reason::kCorruptMessage, "the request of " + std::string(method.name) + " does not decode"));
  }
}

void CallBoard::PassOn(uint64_t id, const Leader& leader) {
  Call& call = calls_.at(id);
  const metadata::Node* node = around_.metadata.image()->FindNode(leader.node);
  if (node == nullptr) return Refused(id, Status(Reason::kNoLeader, "the leader is not known to this node yet"));
  if (call.caller.require_leader) {
    return Finish(id, Status(Reason::kNotLeader, "node " + std::to_string(leader.node.value()) + " at " + node->description.client_address +
                                                     " serves this call; ask there")
                          .With("leader_node_id", leader.node.value())
                          .With("leader_address", node->description.client_address)
                          .With("leader_epoch", leader.epoch.value()));
  }
  Duration left = std::max<Duration>(around_.time.Until(call.deadline), around_.time.tick());
  // A leader that is frozen answers nobody, and another may have taken its place: what does no harm twice is asked for again.
  if (call.method->repeatable(call.request)) left = std::min(left, limits::kRepeatAfter);
  internal::v1::ForwardCallRequest request;
  internal::v1::CallContext& context = *request.mutable_context();
  context.set_origin_node_id(around_.self.value());
  context.set_target_node_id(leader.node.value());
  context.set_principal(call.caller.principal);
  context.set_client_address(call.caller.address);
  context.set_timeout_ms(std::chrono::duration_cast<std::chrono::milliseconds>(left).count());
  request.set_method(std::string(call.method->name));
  request.set_request(call.request);
  around_.network.Call(node->description.peer_address, kForwardCall, request.SerializeAsString(), left,
                       [this, id](Result<std::string> answer) { OnPassedOn(id, answer); });
}

void CallBoard::OnPassedOn(uint64_t id, const Result<std::string>& answer) {
  if (!calls_.contains(id)) return;
  if (!answer.ok()) return Refused(id, answer.status());
  internal::v1::ForwardCallResponse response;
  if (!response.ParseFromString(*answer)) return Refused(id, Status(Reason::kOutcomeUnknown, "the leader's answer does not decode"));
  if (response.has_error()) return Refused(id, ToStatus(response.error()));
  Complete(id, std::move(*response.mutable_response()), LogIndex{response.metadata_version()});
}

// --- Ends

void CallBoard::Answer(uint64_t id, const google::protobuf::MessageLite& response, LogIndex version) {
  if (calls_.contains(id)) Complete(id, response.SerializeAsString(), version);
}

void CallBoard::Fail(uint64_t id, const Status& status) {
  if (calls_.contains(id)) Refused(id, status);
}

// Tries again when that may help and can do no harm.
void CallBoard::Refused(uint64_t id, const Status& status) {
  Call& call = calls_.at(id);
  if (call.method->look != Look::kNone && IsMissing(status)) {
    // It may have been made through another node a moment ago.
    return call.synced ? Finish(id, MissingOrUnsure(status, call.unsure)) : LookAgain(id);
  }
  const bool unknown = status.reason() == Reason::kOutcomeUnknown && RefusalOf(status) == Refusal::kNone;
  call.maybe_applied |= unknown;
  const bool again = FindsNoLeader(status) || (unknown && call.method->repeatable(call.request));
  const bool in_time = call.deadline > around_.time.now();
  if (again && in_time && !call.forwarded && call.method->place != Place::kHere) {
    const Result<GroupId> group = GroupFor(call);
    if (call.wait != 0) around_.waits.Cancel(call.wait);
    call.wait = around_.waits.Wait(group.ok() ? *group : kNoGroup, call.deadline, id, *this);
    return;
  }
  if (FindsNoLeader(status) && call.maybe_applied) {
    return Finish(id,
                  Status(Reason::kOutcomeUnknown,
                         "the leader was lost after it had the call; it may have been done: look, or send it again with its request_id"));
  }
  if (again && !call.forwarded) {
    return Finish(id, Status(Reason::kNoLeader, "nobody leads what serves this call; a majority of its nodes may be missing: " +
                                                    std::string(status.message())));
  }
  Finish(id, status);
}

void CallBoard::LookAgain(uint64_t id) {
  SyncMetadata([this, id](const Status& synced) {
    const auto found = calls_.find(id);
    if (found == calls_.end()) return;
    found->second.synced = true;
    found->second.unsure = synced;
    Serve(id);
  });
}

void CallBoard::OnLeaderAwaited(uint64_t id) {
  if (calls_.contains(id)) Step(id);
}

void CallBoard::Complete(uint64_t id, std::string response, LogIndex version) {
  Call& call = calls_.at(id);
  if (call.forwarded) {
    internal::v1::ForwardCallResponse wrapped;
    wrapped.set_response(std::move(response));
    wrapped.set_metadata_version(version.value());
    return Finish(id, wrapped.SerializeAsString());
  }
  if (version <= around_.metadata.image()->version) return Finish(id, std::move(response));
  call.response = std::move(response);
  call.version = version;
  call.version_by = std::min(call.deadline, around_.time.In(limits::kOwnImageWait));
}

void CallBoard::Finish(uint64_t id, Result<std::string> result) {
  const auto found = calls_.find(id);
  const Call call = std::move(found->second);
  calls_.erase(found);
  if (call.ticket != 0) by_ticket_.erase(call.ticket);
  if (call.wait != 0) around_.waits.Cancel(call.wait);
  if (!result.ok() && call.forwarded) {
    internal::v1::ForwardCallResponse wrapped;
    *wrapped.mutable_error() = ToError(result.status());
    return call.done(wrapped.SerializeAsString());
  }
  call.done(std::move(result));
}

void CallBoard::OnMetadata() {
  std::vector<uint64_t> ready;
  for (const auto& [id, call] : calls_) {
    if (call.version.value() != 0 && call.version <= around_.metadata.image()->version) ready.push_back(id);
  }
  FinishReady(ready);
}

// Whoever is told may have others told with it: those that waited for its call.
void CallBoard::FinishReady(const std::vector<uint64_t>& ready) {
  for (const uint64_t id : ready) {
    const auto found = calls_.find(id);
    if (found != calls_.end()) Finish(id, std::move(found->second.response));
  }
}

void CallBoard::Tick() {
  std::vector<uint64_t> ready;
  std::vector<uint64_t> late;
  for (const auto& [id, call] : calls_) {
    if (call.version_by <= around_.time.now()) {
      ready.push_back(id);
    } else if (call.deadline <= around_.time.now() && call.wait == 0) {
      late.push_back(id);
    }
  }
  FinishReady(ready);
  for (const uint64_t id : late) {
    if (!calls_.contains(id)) continue;
    Finish(id, Refuse(Refusal::kDeadlineExceeded,
                      "the call's deadline passed before there was an answer; what was on its way may still be done"));
  }
}

const Caller* CallBoard::CallerOf(uint64_t id) const {
  const auto found = calls_.find(id);
  return found == calls_.end() ? nullptr : &found->second.caller;
}

bool CallBoard::Forwarded(uint64_t id) const {
  const auto found = calls_.find(id);
  return found != calls_.end() && found->second.forwarded;
}

raft::Tick CallBoard::DeadlineOf(uint64_t id) const {
  const auto found = calls_.find(id);
  return found == calls_.end() ? 0 : found->second.deadline;
}

}  // namespace flotilla::broker
