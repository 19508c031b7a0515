#include "tests/sim/computer.h"

#include <glog/logging.h>

#include <utility>

namespace flotilla::sim {
namespace {

constexpr Time kTurn = 20 * kMicrosecond;        // how long work waits for the thread
constexpr Time kGatherMax = 100 * kMicrosecond;  // how long a disk waits for more to write

}  // namespace

// --- SimExecutor

void SimExecutor::Post(std::function<void()> work) {
  work_.push_back(std::move(work));
  Wake();
}

void SimExecutor::Wake() {
  if (scheduled_ || work_.empty()) return;
  scheduled_ = true;
  const Time wait = static_cast<Time>(random_.Below(static_cast<uint64_t>(delay_) + 1));
  const Time start = std::max(computer_.events_.now() + wait, computer_.paused_until_);
  // The executor goes with its process; the event stays.
  computer_.events_.At(start, [this, &computer = computer_, life = computer_.life_] {
    if (!computer.IsLife(life)) return;
    scheduled_ = false;
    if (computer.paused()) return Wake();
    RunOne();
  });
}

void SimExecutor::RunOne() {
  const std::function<void()> work = std::move(work_.front());
  work_.pop_front();
  Wake();
  computer_.trace_.Mark(Event::kRun, computer_.place_, work_.size());
  computer_.RunEvent(work);
}

// --- Life

void Computer::BeginLife() {
  CHECK(down());
  ++life_;
  trace_.Mark(Event::kBoot, place_, life_);
  trace_.Story(place_, "boots, life ", life_);
  sync_scheduled_ = false;
  death_ = {.effects = 0};
  paused_until_ = 0;
  Process& process = process_.emplace();
  storage::MemoryStoreOptions store_options = store_options_;
  store_options.now = [this] { return MonotonicTime(std::chrono::microseconds(events_.now())); };
  auto store = storage::MemoryStore::Open(disk_, store_options);
  CHECK(store.ok()) << store.status();
  process.store = std::move(*store);
  process.hooked = std::make_unique<HookedStore>(*process.store, static_cast<SubmitHook&>(*this));
  process.executor = std::make_unique<SimExecutor>(*this, kTurn, random_.Fork());
  process.readers = std::make_unique<SimExecutor>(*this, 10 * kTurn * static_cast<Time>(disk_slowness_), random_.Fork());
}

void Computer::Kill(const char* why) {
  if (down()) return;
  death_.power = false;
  process_->dead = true;
  Bury(why);
}

void Computer::PowerCut(uint32_t survive_percent, const char* why) {
  if (down()) return;
  death_ = {.effects = 0, .power = true, .survive_percent = survive_percent};
  process_->dead = true;
  Bury(why);
}

void Computer::Calm() {
  disk_slowness_ = 1;
  death_ = {.effects = 0};
  paused_until_ = std::min(paused_until_, events_.now());
}

bool Computer::DiesHere(std::string_view where) {
  if (down() || process_->dead) return true;
  if (death_.effects == 0 || --death_.effects != 0) return false;
  trace_.Story(place_, where);
  process_->dead = true;
  if (!in_event_) {
    events_.After(0, [this, life = life_] {
      if (!down() && life_ == life) Bury("died between two effects");
    });
  }
  return true;
}

void Computer::RunEvent(const std::function<void()>& work) {
  in_event_ = true;
  work();
  in_event_ = false;
  OnEventOver();
  if (process_->dead) Bury("died between two effects");
}

void Computer::Bury(const char* why) {
  const bool power = death_.power;
  trace_.Mark(Event::kDown, place_, power ? 1 : 0);
  trace_.Story(place_, power ? "loses power: " : "process ends: ", why);
  OnDown(power);
  process_.reset();
  if (power) {
    // At least a byte of what was written is gone, unless all of it stays.
    const size_t bytes = disk_.unsynced_bytes();
    disk_.PowerCut(death_.survive_percent >= 100 ? bytes : bytes * death_.survive_percent / 100);
  }
  death_ = {.effects = 0};
}

// --- The disk's pace

void Computer::Submitted() {
  if (sync_scheduled_) return;
  sync_scheduled_ = true;
  const Time gather = static_cast<Time>(random_.Below(kGatherMax));
  events_.After(gather, [this, life = life_] {
    if (IsLife(life)) PaceDisk();
  });
}

void Computer::PaceDisk() {
  if (!process_->store->BeginSync()) {
    sync_scheduled_ = false;
    return;
  }
  const Time sync = pace_.sync_min + static_cast<Time>(random_.Below(static_cast<uint64_t>(pace_.sync_spread) + 1));
  trace_.Mark(Event::kSync, place_, disk_.unsynced_bytes());
  events_.After(sync * static_cast<Time>(disk_slowness_), [this, life = life_] {
    if (!IsLife(life)) return;
    process_->store->CompleteSync();
    OnSynced();
    if (process_->store->health().ok()) return PaceDisk();
    trace_.Story(place_, "storage failed: ", process_->store->health());
    OnStorageFailed();
  });
}

}  // namespace flotilla::sim
