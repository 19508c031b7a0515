// Unary calls by name: each is served where it belongs (here, or where a Raft group is led), passed on by one hop if that is
// another node, and tried again across elections until its deadline.
//
//   board.Register<v1::CreateTopicRequest>("/flotilla.v1.AdminService/CreateTopic", Place::kMetadataLeader, ...);
//   board.Begin(ticket, method, bytes, caller, done);
//   ... the handler, now or later: board.Answer(id, response, version); or board.Fail(id, status);
//
// What was passed on is never passed on again: the first node tries, the second serves or refuses. Executor only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "flotilla/internal/v1/forward.pb.h"
#include "server/broker/client_api.h"
#include "server/broker/leader_waits.h"
#include "server/broker/peer_network.h"
#include "server/errors/refusal.h"
#include "server/metadata/metadata_machine.h"

namespace flotilla::broker {

// Where a call is served.
enum class Place : uint8_t {
  kHere,
  kMetadataLeader,
  kGroupLeader,  // of the group that the request names
};

// Of a call that is served here: whether it tells of this node's image of the metadata, and of which one.
enum class Look : uint8_t {
  kNone,  // it does not, or its handler sees to it
  // Any, however old. A topic, partition or node that is missing there is looked for once more when the image is surely up to date.
  kCopy,
  // The same, but never of an older one than the node had before it was restarted: what a start found on the disk may be older
  // than what was told, so that the call waits then until the leader of the metadata was heard (Confirm).
  kMonotonic,
};

class CallBoard final : private LeaderWaitSink, public LeaderListener {
 public:
  struct Surroundings {
    NodeId self;
    raft::Executor& executor;
    const TickClock& time;
    const metadata::MetadataMachine& metadata;
    const LeaderTable& leaders;
    LeaderWaits& waits;
    PeerNetwork& network;
    raft::RaftHost& host;
  };
  explicit CallBoard(const Surroundings& around);
  ~CallBoard() override;

  template <typename Request>
  struct Handler {
    Place place = Place::kHere;
    std::function<void(uint64_t id, const Request& request)> serve;
    // Of kGroupLeader.
    std::function<Result<GroupId>(const Request& request)> group = {};
    // It does no harm to do it twice, whatever the request says.
    bool repeatable = false;
    // Of kHere.
    Look look = Look::kNone;
  };
  // Before the first call. `name` lives as long as the board.
  template <typename Request>
  void Register(std::string_view name, Handler<Request> handler);

  bool Knows(std::string_view method) const { return methods_.contains(method); }
  // `done` once, perhaps before this returns; tickets are the caller's.
  void Begin(uint64_t ticket, std::string_view method, const std::string& request, const Caller& caller, CallDone done);
  void Cancel(uint64_t ticket);
  // From another node: the serialized ForwardCallRequest; answers with a serialized ForwardCallResponse.
  void BeginForwarded(const std::string& request, CallDone done);

  // --- for handlers; ids of calls that are over are ignored
  const Caller* CallerOf(uint64_t id) const;
  raft::Tick DeadlineOf(uint64_t id) const;
  // It came from another node.
  bool Forwarded(uint64_t id) const;
  // `version`: of the metadata with what the call changed; the answer leaves when this node has it, too.
  void Answer(uint64_t id, const google::protobuf::MessageLite& response, LogIndex version = {});
  void Fail(uint64_t id, const Status& status);
  // Calls `then` when everything that was acknowledged before is in this node's image, or with the reason why not.
  void SyncMetadata(std::function<void(const Status&)> then);

  // Once: this node's image has everything that it ever told of.
  void Confirm();
  void OnMetadata();
  void Tick();
  void OnLeader(GroupId /*group*/, const Leader& /*leader*/) override {}
  size_t size() const { return calls_.size(); }
  size_t syncs() const { return syncs_.size(); }

 private:
  struct Method {
    std::string_view name;
    Place place = Place::kHere;
    // Parses and serves; CORRUPT_MESSAGE is answered by the board.
    std::function<bool(uint64_t id, const std::string& request)> serve;
    std::function<Result<GroupId>(const std::string& request)> group;
    std::function<bool(const std::string& request)> repeatable;
    Look look = Look::kNone;
  };
  struct Call {
    const Method* method = nullptr;
    uint64_t ticket = 0;
    std::string request;
    Caller caller;
    CallDone done;
    raft::Tick deadline = raft::kNever;
    bool forwarded = false;  // from another node
    bool synced = false;     // the image was brought up to date for it, or could not be
    Status unsure = {};      // why it could not be
    bool maybe_applied = false;
    bool serving = false;
    uint64_t wait = 0;
    // An answer that waits for the image.
    std::string response;
    LogIndex version;
    raft::Tick version_by = raft::kNever;
  };
  class Sync;

  uint64_t NewCall(uint64_t ticket, const Method* method, const std::string& request, const Caller& caller, CallDone done);
  void Step(uint64_t id);
  void AwaitConfirmation(uint64_t id);
  void Serve(uint64_t id);
  void LookAgain(uint64_t id);
  void PassOn(uint64_t id, const Leader& leader);
  void OnPassedOn(uint64_t id, const Result<std::string>& answer);
  void Refused(uint64_t id, const Status& status);
  void Complete(uint64_t id, std::string response, LogIndex version);
  // The call is there.
  void Finish(uint64_t id, Result<std::string> result);
  void FinishReady(const std::vector<uint64_t>& ready);
  Result<GroupId> GroupFor(const Call& call) const;
  void OnLeaderAwaited(uint64_t id) override;

  const Surroundings around_;
  std::map<std::string_view, Method> methods_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, Call> calls_;
  std::unordered_map<uint64_t, uint64_t> by_ticket_;
  std::map<uint64_t, std::unique_ptr<Sync>> syncs_;
  uint64_t next_sync_ = 1;
  bool confirmed_ = false;
};

template <typename Request>
void CallBoard::Register(std::string_view name, Handler<Request> handler) {
  Method method{.name = name, .place = handler.place, .serve = {}, .group = {}, .repeatable = {}, .look = handler.look};
  method.serve = [serve = std::move(handler.serve)](uint64_t id, const std::string& bytes) {
    Request request;
    if (!request.ParseFromString(bytes)) return false;
    serve(id, request);
    return true;
  };
  method.group = [group = std::move(handler.group)](const std::string& bytes) -> Result<GroupId> {
    Request request;
    if (!group || !request.ParseFromString(bytes)) return metadata::kMetadataGroup;
    return group(request);
  };
  method.repeatable = [always = handler.repeatable](const std::string& bytes) {
    if constexpr (requires(const Request& request) { request.request_id(); }) {
      Request request;
      if (!always && request.ParseFromString(bytes)) return !request.request_id().empty();
    }
    (void)bytes;
    return always;
  };
  methods_.emplace(name, std::move(method));
}

// What to say of something that this node's image does not have, after SyncMetadata ended with `synced`: `missing`, or NO_LEADER
// when nobody could tell how old the image is.
Status MissingOrUnsure(const Status& missing, const Status& synced);

}  // namespace flotilla::broker
