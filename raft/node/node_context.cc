#include "raft/node/node_context.h"

#include <glog/logging.h>

#include <utility>

#include "raft/node/group.h"

namespace flotilla::raft {
namespace {

// The way back from the readers.
struct DeliverAnswer {
  HostRef host;
  ReadAnswer answer;

  void operator()() {
    if (const auto port = host.lock()) (*port)->OnRead(std::move(answer));
  }
};

// Runs on the readers, which the store outlives.
struct RunReadJob {
  HostRef host;
  Executor* executor;
  const storage::LogReader* store;
  ReadJob job;

  void operator()() {
    if (host.expired()) return;
    ReadAnswer answer{job, Read()};
    executor->Post(DeliverAnswer{host, std::move(answer)});
  }

  std::variant<Result<std::vector<storage::Entry>>, Result<Bytes>> Read() const {
    if (const auto* entries = std::get_if<EntriesWanted>(&job.wanted)) {
      return store->Read(job.group, entries->first, entries->last, {.bytes = entries->bytes_max});
    }
    const auto& chunk = std::get<ChunkWanted>(job.wanted);
    return store->ReadSnapshotChunk(job.group, chunk.snapshot, chunk.number);
  }
};

struct StartTurn {
  HostRef host;
  void operator()() {
    if (const auto port = host.lock()) (*port)->RunPostedTurn();
  }
};

}  // namespace

NodeContext::NodeContext(const HostOptions& host_options, Executor& host_executor, BlockingExecutor& host_readers,
                         storage::LogStore& log_store, Transport& transport, storage::WriteSink& write_sink, HostPort& port,
                         Random host_random)
    : options(host_options),
      executor(host_executor),
      readers(host_readers),
      store(log_store),
      sink(write_sink),
      random(host_random),
      wheel(now),
      outbox(options.node, transport),
      heartbeats(options.node, options.boot, options.core.election_ticks),
      snapshots(*this),
      self_(std::make_shared<HostPort* const>(&port)) {}

void NodeContext::Wake(Group& group) {
  if (group.awake || group.closed()) return;
  group.awake = true;
  awake_.push_back(&group);
  ScheduleTurn();
}

std::vector<Group*> NodeContext::TakeAwake() {
  std::vector<Group*> groups = std::exchange(awake_, std::exchange(spare_, {}));
  for (Group* group : groups) group->awake = false;
  return groups;
}

void NodeContext::GiveBack(std::vector<Group*> groups) {
  groups.clear();
  spare_ = std::move(groups);
}

void NodeContext::RetryWritesOf(Group& group) {
  if (group.blocked) return;
  group.blocked = true;
  blocked_.push_back(&group);
}

std::vector<Group*> NodeContext::TakeBlocked() {
  std::vector<Group*> groups = std::exchange(blocked_, {});
  for (Group* group : groups) group->blocked = false;
  return groups;
}

void NodeContext::Forget(const Group& group) {
  if (group.awake) std::erase(awake_, &group);
  if (group.blocked) std::erase(blocked_, &group);
}

void NodeContext::ScheduleTurn() {
  if (turn_posted_) return;
  turn_posted_ = true;
  executor.Post(StartTurn{self_});
}

void NodeContext::Read(ReadJob job) { readers.Post(RunReadJob{self_, &executor, &store, std::move(job)}); }

bool NodeContext::AdmitCampaign() {
  if (campaign_tick_ != now) {
    campaign_tick_ = now;
    campaigns_ = 0;
  }
  if (campaigns_ >= options.campaigns_per_tick_max) return false;
  ++campaigns_;
  return true;
}

void NodeContext::StorageFailed(const Status& why) {
  if (storage_failure.ok()) storage_failure = why;
  ScheduleTurn();
}

}  // namespace flotilla::raft
