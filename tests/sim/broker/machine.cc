#include "tests/sim/broker/machine.h"

#include <glog/logging.h>

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "raft/core/configuration.h"
#include "raft/core/survivor.h"
#include "server/errors/refusal.h"
#include "server/metadata/metadata_machine.h"

namespace flotilla::sim::broker {
namespace {

constexpr Time kExitAfterFailureMax = 500 * kMillisecond;
constexpr Time kStopsAfterFailureMax = 5 * kSecond;
constexpr Time kStopGrace = 3 * kSecond;
constexpr Time kLookAtStop = 10 * kMillisecond;
constexpr uint64_t kDiskBytes = uint64_t{1} << 41;
// As the daemon's ticker: an executor that is behind gets no more to do.
constexpr uint64_t kTicksBehindMax = 10;

}  // namespace

Machine::Machine(Place place, const Environment& environment, MachineOwner& owner, PeerDirectory& directory, Random random)
    : Computer(place, environment.events, environment.trace,
               {.sync_min = environment.swarm.sync_min, .sync_spread = environment.swarm.sync_spread}, environment.swarm.store, random),
      environment_(environment),
      owner_(owner),
      directory_(directory),
      clock_(environment.events),
      file_(*this),
      uuid_(Uuid::Random(this->random())) {}

Machine::~Machine() { Silence(); }

Status Machine::RememberedFile::Save(const internal::v1::NodeState& saved) {
  if (!machine.DiesHere("crash before the node's file is written")) state = saved;
  return {};
}

uint64_t Machine::Keep(std::unique_ptr<Session> session) {
  const uint64_t id = next_session_++;
  program_->sessions.emplace(id, std::move(session));
  return id;
}

Session* Machine::Find(uint64_t session) const {
  if (!up()) return nullptr;
  const auto found = program_->sessions.find(session);
  return found == program_->sessions.end() ? nullptr : found->second.get();
}

void Machine::Drop(uint64_t session) {
  if (!up()) return;
  const auto found = program_->sessions.find(session);
  if (found == program_->sessions.end()) return;
  const std::unique_ptr<Session> gone = std::move(found->second);
  program_->sessions.erase(found);
}

flotilla::broker::BrokerOptions Machine::Options() {
  const Swarm& swarm = environment_.swarm;
  flotilla::broker::BrokerOptions options;
  options.description.uuid = uuid_;
  options.description.name = "machine-" + std::to_string(place().value());
  options.description.client_address = client_address();
  options.description.peer_address = peer_address();
  options.description.software_version = "simulated";
  options.description.features = program_->features;
  options.cluster_name = "simulated";
  for (uint32_t i = 1; i <= swarm.founders; ++i) options.seeds.push_back("machine-" + std::to_string(i) + ":9651");
  options.tick = std::chrono::microseconds(swarm.tick);
  options.core = swarm.core;
  options.partition = swarm.partition;
  options.metadata_snapshot_bytes = swarm.metadata_snapshot_bytes;
  options.keep_entries_for_followers = swarm.keep_entries_for_followers;
  options.streams = swarm.streams;
  options.disk = swarm.disk;
  options.disk_space = [this] { return flotilla::broker::DiskSpace{.total_bytes = kDiskBytes, .free_bytes = disk().free_bytes()}; };
  return options;
}

void Machine::Boot() {
  BeginLife();
  program_ = std::make_unique<Program>();
  program_->features = installed_;
  program_->network = std::make_unique<SimPeerNetwork>(*this, directory_, program_->sink, random().Fork());
  program_->broker = std::make_unique<flotilla::broker::Broker>(Options(),
                                                                flotilla::broker::BrokerSurroundings{.executor = executor(),
                                                                                                     .readers = readers(),
                                                                                                     .store = hooked_store(),
                                                                                                     .file = file_,
                                                                                                     .network = *program_->network,
                                                                                                     .clock = clock_},
                                                                random().Fork());
  program_->sink.sink = program_->broker.get();
  Post([this] { StartBroker(); });
  const Time first_tick = static_cast<Time>(random().Below(static_cast<uint64_t>(environment_.swarm.tick)));
  environment_.events.After(first_tick, [this, life = life()] { Tick(life); });
}

void Machine::StartBroker() {
  const Status started = program_->broker->Start();
  program_->started = true;
  if (!started.ok() && !dead() && sound() && store().health().ok() && !IsTooOld(started)) {
    environment_.verdict.Violated("a node starts", "machine ", place(), " does not: ", started);
  }
}

void Machine::Install(metadata::FeatureRange features) {
  environment_.trace.Story(place(), "gets the program that knows feature levels ", features.min, " to ", features.max);
  environment_.trace.Mark(Event::kFault, place(), 79, features.max);
  installed_ = features;
}

bool Machine::IsTooOld(const Status& halted) {
  const std::optional<std::string> text = metadata::UnknownFeatureLevelIn(halted);
  const auto level = text ? static_cast<uint32_t>(std::stoul(*text)) : 0;
  if (level == 0 || program_->features.Contains(level)) return false;
  too_old_for_ = std::max(too_old_for_, level);
  return true;
}

void Machine::StopOrderly() {
  if (!serving() || program_->stopping) return;
  program_->stopping = true;
  environment_.trace.Story(place(), "is stopped");
  Post([this] { program_->broker->BeginShutdown(); });
  LookAfterStop(life(), environment_.events.now() + kStopGrace);
}

void Machine::LookAfterStop(uint64_t life, Time deadline) {
  if (!IsLife(life)) return;
  if (program_->broker->ReadyToStop()) {
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
  CHECK(down());
  disk().Wipe();
  file_.state.Clear();
  damaged_ = crippled_ = false;
  uuid_ = Uuid::Random(random());
  removed_ = false;
  environment_.trace.Mark(Event::kFault, place(), 77);
  environment_.trace.Story(place(), "its disk is lost; it comes back as another node");
}

bool Machine::RecoverMetadata() {
  CHECK(down());
  class Written final : public storage::WriteSink {
   public:
    void OnWritten(std::span<const storage::WriteDone> done) override { status = done.front().status; }
    std::optional<Status> status;
  };
  // As the command does it.
  const Result<std::unique_ptr<storage::MemoryStore>> store = storage::MemoryStore::Open(disk(), {.reserve_bytes = 0});
  CHECK(store.ok()) << store.status();
  const Result<storage::GroupState> group = (*store)->Load(metadata::kMetadataGroup);
  CHECK(group.ok()) << group.status();
  const Bytes& encoded = group->configurations.empty() ? group->snapshot.configuration : group->configurations.back().payload;
  const Result<raft::Configuration> members = raft::DecodeConfiguration(encoded.view());
  CHECK(members.ok()) << members.status();
  const ReplicaId self = group->identity.self;
  if (!members->joint() && members->voters == std::vector{self}) return true;
  Written written;
  const Status taken = (*store)->Submit(raft::SurvivorTask(*group, {.node = self.node, .incarnation = self.incarnation + 1}), written);
  if (taken.ok()) (*store)->SyncOnce();
  if (!written.status || !written.status->ok()) {
    environment_.trace.Story(place(), "cannot go on as the only voter of the metadata: its disk fails");
    return false;
  }
  environment_.trace.Mark(Event::kFault, place(), 80, group->bounds.last_index().value());
  environment_.trace.Story(place(), "goes on as the only voter of the metadata, with what it has up to term ", group->bounds.end.last.term,
                           ", index ", group->bounds.last_index());
  return true;
}

bool Machine::FlipBit(GroupId group, uint64_t chance) {
  const storage::GroupImage* image = disk().Find(group);
  if (image == nullptr) return false;
  if (!image->chunks.empty() && chance % 4 == 0) {
    const auto [snapshot, number] = image->chunks.begin()->first;
    if (!disk().FlipChunkBit(group, snapshot, number, chance / 4)) return false;
    environment_.trace.Story(place(), "a bit of chunk ", number, " of snapshot ", snapshot, " of group ", group, " flips on its disk");
  } else {
    if (image->entries.empty()) return false;
    const LogIndex index = image->state.bounds.first_index() + chance / 4 % image->entries.size();
    if (!disk().FlipBit(group, index, chance >> 32)) return false;
    environment_.trace.Story(place(), "a bit of entry ", index, " of group ", group, " flips on its disk");
  }
  environment_.trace.Mark(Event::kFault, place(), 78, group.value());
  environment_.tally.Add("bit flipped");
  damaged_ = true;
  crippled_ |= group == metadata::kMetadataGroup;
  return true;
}

void Machine::Calm() {
  Computer::Calm();
  clock_.SetRate(1);
}

bool Machine::DiesHere(const char* where) {
  const bool lived = up();
  const bool dies = Computer::DiesHere(where);
  if (lived && dies) environment_.tally.Add(where);
  return dies;
}

bool Machine::OnSubmit(const storage::WriteTask& task) {
  if (DiesHere("crash before a write is queued")) return false;
  if (store().health().ok()) owner_.OnSubmit(*this, task);
  return true;
}

// A node whose storage has failed does not go on as if nothing were.
void Machine::LookAfterFailure(uint64_t life, Time since) {
  environment_.events.After(kStopsAfterFailureMax, [this, life, since] {
    if (!IsLife(life)) return;
    if (awake_since() > since) return LookAfterFailure(life, environment_.events.now());
    environment_.verdict.Violated("a node whose storage failed stops", "machine ", place(), " runs ", kStopsAfterFailureMax / kSecond,
                                  " s after a sync that failed");
  });
}

void Machine::OnEventOver() {
  if (!dead()) owner_.OnEventOver(*this);
}

void Machine::OnDown(bool /*by_power*/) {
  owner_.OnDown(*this);
  program_->sessions.clear();
  program_.reset();
}

void Machine::Tick(uint64_t life) {
  if (!IsLife(life)) return;
  const Time next = std::max<Time>(1, static_cast<Time>(static_cast<double>(environment_.swarm.tick) / clock_.rate()));
  environment_.events.After(next, [this, life] { Tick(life); });
  if (program_->ticks_waiting >= kTicksBehindMax) return;
  ++program_->ticks_waiting;
  Post([this] {
    --program_->ticks_waiting;
    program_->broker->Tick();
    LookAfter();
  });
}

// The daemon ends a process whose broker has to stop.
void Machine::LookAfter() {
  if (dead() || program_->leaving) return;
  const Status halted = program_->broker->state().halted;
  if (halted.ok()) return;
  program_->leaving = true;
  environment_.tally.Add("process ends by itself");
  environment_.trace.Story(place(), "has to stop: ", halted);
  if (RefusalOf(halted) == Refusal::kNodeRemoved) {
    removed_ = true;
    owner_.OnRemoved(*this);
    environment_.events.After(0, [this, life = life()] {
      if (IsLife(life)) Kill("its node was removed");
    });
    return;
  }
  if (IsTooOld(halted)) {
    environment_.tally.Add("node that is too old stops");
    environment_.events.After(0, [this, life = life()] {
      if (IsLife(life)) Kill("it is too old for the cluster");
    });
    return;
  }
  if (!sound()) environment_.tally.Add("damaged node stops");
  if (sound() && store().health().ok()) {
    environment_.verdict.Violated("a node with a sound disk goes on", "machine ", place(), " stops: ", halted);
  }
  const Time exit = static_cast<Time>(random().Below(kExitAfterFailureMax));
  environment_.events.After(exit, [this, life = life()] {
    if (IsLife(life)) PowerCut(static_cast<uint32_t>(random().Below(3) * 50), "its storage failed");
  });
}

}  // namespace flotilla::sim::broker
