#include "tests/sim/broker/machine.h"

#include <glog/logging.h>

#include <algorithm>
#include <string_view>

namespace flotilla::sim::broker {
namespace {

constexpr Time kTurn = 20 * kMicrosecond;  // how long work waits for the thread
constexpr Time kExitAfterFailureMax = 500 * kMillisecond;
constexpr Time kStopGrace = 3 * kSecond;
constexpr Time kLookAtStop = 10 * kMillisecond;
// As the daemon's ticker: an executor that is behind gets no more to do.
constexpr uint64_t kTicksBehindMax = 10;

}  // namespace

// The store as the broker sees it: the real one, but for a process that has died nothing reaches the disk.
class Machine::HookedStore final : public storage::LogStore {
 public:
  HookedStore(Machine& machine, storage::MemoryStore& store) : machine_(machine), store_(store) {}

  Status Submit(storage::WriteTask task, storage::WriteSink& sink) override {
    if (machine_.DiesHere("crash before a write is queued")) return {};
    Status submitted = store_.Submit(std::move(task), sink);
    if (submitted.ok()) machine_.Submitted();
    return submitted;
  }
  std::vector<GroupId> Groups() const override { return store_.Groups(); }
  Result<storage::GroupState> Load(GroupId group) const override { return store_.Load(group); }
  Result<storage::LogBounds> Bounds(GroupId group) const override { return store_.Bounds(group); }
  Result<uint64_t> ApproximateBytes(GroupId group) const override { return store_.ApproximateBytes(group); }
  Result<std::vector<storage::Entry>> Read(GroupId group, LogIndex first, LogIndex last, storage::ReadLimits limits) const override {
    return store_.Read(group, first, last, limits);
  }
  std::optional<std::vector<storage::Entry>> ReadCached(GroupId group, LogIndex first, LogIndex last,
                                                        storage::ReadLimits limits) const override {
    return store_.ReadCached(group, first, last, limits);
  }
  Result<storage::EntryHeader> FindOffset(GroupId group, Offset offset) const override { return store_.FindOffset(group, offset); }
  Result<std::optional<storage::EntryHeader>> FindTimestamp(GroupId group, int64_t timestamp_ms) const override {
    return store_.FindTimestamp(group, timestamp_ms);
  }
  Result<std::optional<Bytes>> GetState(GroupId group, std::string_view key) const override { return store_.GetState(group, key); }
  Result<std::vector<StateRow>> ScanState(GroupId group, std::string_view prefix, std::string_view after, size_t bytes_max) const override {
    return store_.ScanState(group, prefix, after, bytes_max);
  }
  Result<Bytes> ReadSnapshotChunk(GroupId group, uint64_t id, uint32_t number) const override {
    return store_.ReadSnapshotChunk(group, id, number);
  }
  storage::StoreCounters Counters() const override { return store_.Counters(); }
  Status health() const override { return store_.health(); }

 private:
  Machine& machine_;
  storage::MemoryStore& store_;
};

// --- MachineExecutor

void MachineExecutor::Post(std::function<void()> work) {
  work_.push_back(std::move(work));
  Wake();
}

void MachineExecutor::Wake() {
  if (scheduled_ || work_.empty()) return;
  scheduled_ = true;
  const Time wait = static_cast<Time>(random_.Below(static_cast<uint64_t>(delay_) + 1));
  const Time start = std::max(machine_.environment_.events.now() + wait, machine_.paused_until_);
  // The executor goes with its process; the event stays.
  machine_.environment_.events.At(start, [this, &machine = machine_, life = machine_.life_] {
    if (!machine.IsLife(life)) return;
    scheduled_ = false;
    if (machine.paused()) return Wake();
    RunOne();
  });
}

void MachineExecutor::RunOne() {
  const std::function<void()> work = std::move(work_.front());
  work_.pop_front();
  Wake();
  machine_.environment_.trace.Mark(Event::kRun, machine_.place_, work_.size());
  machine_.RunEvent(work);
}

// --- Machine

Machine::Machine(Place place, const Environment& environment, MachineOwner& owner, PeerDirectory& directory, Random random)
    : place_(place),
      environment_(environment),
      owner_(owner),
      directory_(directory),
      random_(random),
      clock_(environment.events),
      file_(*this),
      uuid_(Uuid::Random(random_)) {}

Machine::~Machine() {
  if (process_ != nullptr) process_->dead = true;
}

Status Machine::RememberedFile::Save(const internal::v1::NodeState& saved) {
  if (!machine.DiesHere("crash before the node's file is written")) state = saved;
  return {};
}

uint64_t Machine::Keep(std::unique_ptr<Session> session) {
  const uint64_t id = next_session_++;
  process_->sessions.emplace(id, std::move(session));
  return id;
}

Session* Machine::Find(uint64_t session) const {
  if (!up()) return nullptr;
  const auto found = process_->sessions.find(session);
  return found == process_->sessions.end() ? nullptr : found->second.get();
}

void Machine::Drop(uint64_t session) {
  if (!up()) return;
  const auto found = process_->sessions.find(session);
  if (found == process_->sessions.end()) return;
  const std::unique_ptr<Session> gone = std::move(found->second);
  process_->sessions.erase(found);
}

flotilla::broker::BrokerOptions Machine::Options() {
  const Swarm& swarm = environment_.swarm;
  flotilla::broker::BrokerOptions options;
  options.description.uuid = uuid_;
  options.description.name = "machine-" + std::to_string(place_.value());
  options.description.client_address = client_address();
  options.description.peer_address = peer_address();
  options.description.software_version = "simulated";
  options.description.features = metadata::kSupportedFeatures;
  options.cluster_name = "simulated";
  for (uint32_t i = 1; i <= swarm.machines; ++i) options.seeds.push_back("machine-" + std::to_string(i) + ":9651");
  options.tick = std::chrono::microseconds(swarm.tick);
  options.core = swarm.core;
  options.partition = swarm.partition;
  options.streams = swarm.streams;
  return options;
}

void Machine::Boot() {
  CHECK(process_ == nullptr);
  ++life_;
  environment_.trace.Mark(Event::kBoot, place_, life_);
  environment_.trace.Line(place_, "boots, life ", life_);
  process_ = std::make_unique<Process>();
  sync_scheduled_ = false;
  death_ = {.effects = 0};
  paused_until_ = 0;
  auto store = storage::MemoryStore::Open(disk_, environment_.swarm.store);
  CHECK(store.ok()) << store.status();
  process_->store = std::move(*store);
  process_->hooked = std::make_unique<HookedStore>(*this, *process_->store);
  process_->executor = std::make_unique<MachineExecutor>(*this, kTurn, random_.Fork());
  process_->readers = std::make_unique<MachineExecutor>(*this, 10 * kTurn * static_cast<Time>(disk_slowness_), random_.Fork());
  process_->network = std::make_unique<SimPeerNetwork>(*this, directory_, process_->sink, random_.Fork());
  process_->broker = std::make_unique<flotilla::broker::Broker>(Options(),
                                                                flotilla::broker::BrokerSurroundings{.executor = *process_->executor,
                                                                                                     .readers = *process_->readers,
                                                                                                     .store = *process_->hooked,
                                                                                                     .file = file_,
                                                                                                     .network = *process_->network,
                                                                                                     .clock = clock_},
                                                                random_.Fork());
  process_->sink.sink = process_->broker.get();
  process_->executor->Post([this] { StartBroker(); });
  const Time first_tick = static_cast<Time>(random_.Below(static_cast<uint64_t>(environment_.swarm.tick)));
  environment_.events.After(first_tick, [this, life = life_] { Tick(life); });
}

void Machine::StartBroker() {
  const Status started = process_->broker->Start();
  process_->started = true;
  if (!started.ok() && !process_->dead && process_->store->health().ok()) {
    environment_.verdict.Violated("a node starts", "machine ", place_, " does not: ", started);
  }
}

void Machine::Kill(const char* why) {
  if (process_ == nullptr) return;
  death_.power = false;
  process_->dead = true;
  Bury(why);
}

void Machine::PowerCut(uint32_t survive_percent, const char* why) {
  if (process_ == nullptr) return;
  death_ = {.effects = 0, .power = true, .survive_percent = survive_percent};
  process_->dead = true;
  Bury(why);
}

void Machine::StopOrderly() {
  if (!serving() || process_->stopping) return;
  process_->stopping = true;
  environment_.trace.Line(place_, "is stopped");
  process_->executor->Post([this] { process_->broker->BeginShutdown(); });
  LookAfterStop(life_, environment_.events.now() + kStopGrace);
}

void Machine::LookAfterStop(uint64_t life, Time deadline) {
  if (!IsLife(life)) return;
  if (process_->broker->ReadyToStop()) {
    environment_.tally.Add("orderly stop in time");
    return Kill("stopped");
  }
  if (environment_.events.now() >= deadline) {
    environment_.tally.Add("orderly stop cut short");
    return Kill("stopped after its grace");
  }
  environment_.events.After(kLookAtStop, [this, life, deadline] { LookAfterStop(life, deadline); });
}

void Machine::Wipe() {
  CHECK(process_ == nullptr);
  disk_.Wipe();
  file_.state.Clear();
  uuid_ = Uuid::Random(random_);
  environment_.trace.Mark(Event::kFault, place_, 77);
  environment_.trace.Line(place_, "its disk is lost; it comes back as another node");
}

void Machine::Calm() {
  clock_.SetRate(1);
  disk_slowness_ = 1;
  death_ = {.effects = 0};
  paused_until_ = std::min(paused_until_, environment_.events.now());
}

void Machine::Post(std::function<void()> work) {
  if (up()) process_->executor->Post(std::move(work));
}

bool Machine::DiesHere(const char* where) {
  if (process_ == nullptr || process_->dead) return true;
  if (death_.effects == 0 || --death_.effects != 0) return false;
  environment_.tally.Add(where);
  environment_.trace.Line(place_, where);
  process_->dead = true;
  if (!in_event_) {
    environment_.events.After(0, [this, life = life_] {
      if (process_ != nullptr && life_ == life) Bury("died between two effects");
    });
  }
  return true;
}

void Machine::RunEvent(const std::function<void()>& work) {
  in_event_ = true;
  work();
  in_event_ = false;
  if (process_->dead) return Bury("died between two effects");
  owner_.OnEventOver(*this);
}

void Machine::Bury(const char* why) {
  environment_.trace.Mark(Event::kDown, place_, death_.power ? 1 : 0);
  environment_.trace.Line(place_, death_.power ? "loses power: " : "process ends: ", why);
  owner_.OnDown(*this);
  process_->sessions.clear();
  process_->broker.reset();
  process_.reset();
  if (death_.power) {
    const size_t bytes = disk_.unsynced_bytes();
    disk_.PowerCut(death_.survive_percent >= 100 ? bytes : bytes * death_.survive_percent / 100);
  }
  death_ = {.effects = 0};
}

void Machine::Tick(uint64_t life) {
  if (!IsLife(life)) return;
  const Time next = std::max<Time>(1, static_cast<Time>(static_cast<double>(environment_.swarm.tick) / clock_.rate()));
  environment_.events.After(next, [this, life] { Tick(life); });
  if (process_->ticks_waiting >= kTicksBehindMax) return;
  ++process_->ticks_waiting;
  process_->executor->Post([this] {
    --process_->ticks_waiting;
    process_->broker->Tick();
    LookAfter();
  });
}

// The daemon ends a process whose broker has to stop.
void Machine::LookAfter() {
  if (process_->dead || process_->leaving) return;
  const Status halted = process_->broker->state().halted;
  if (halted.ok()) return;
  process_->leaving = true;
  environment_.tally.Add("process ends by itself");
  environment_.trace.Line(place_, "has to stop: ", halted);
  if (process_->store->health().ok()) {
    environment_.verdict.Violated("a node with a sound disk goes on", "machine ", place_, " stops: ", halted);
  }
  const Time exit = static_cast<Time>(random_.Below(kExitAfterFailureMax));
  environment_.events.After(exit, [this, life = life_] {
    if (IsLife(life)) PowerCut(static_cast<uint32_t>(random_.Below(3) * 50), "its storage failed");
  });
}

void Machine::Submitted() {
  if (sync_scheduled_) return;
  sync_scheduled_ = true;
  const Time gather = static_cast<Time>(random_.Below(100));
  environment_.events.After(gather, [this, life = life_] {
    if (IsLife(life)) PaceDisk();
  });
}

void Machine::PaceDisk() {
  if (!process_->store->BeginSync()) {
    sync_scheduled_ = false;
    return;
  }
  const Swarm& swarm = environment_.swarm;
  const Time sync = swarm.sync_min + static_cast<Time>(random_.Below(static_cast<uint64_t>(swarm.sync_spread) + 1));
  environment_.trace.Mark(Event::kSync, place_, disk_.unsynced_bytes());
  environment_.events.After(sync * static_cast<Time>(disk_slowness_), [this, life = life_] {
    if (!IsLife(life)) return;
    process_->store->CompleteSync();
    if (process_->store->health().ok()) return PaceDisk();
    environment_.trace.Line(place_, "storage failed: ", process_->store->health());
  });
}

}  // namespace flotilla::sim::broker
