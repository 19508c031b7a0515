#include "server/broker/log_sizes.h"

#include <algorithm>

namespace flotilla::broker {
namespace {

// Every log is asked for its size once in so long: 10 s of 50 ms; all of them within the first half of it.
constexpr raft::Tick kRoundTicks = 200;
// A log that grew by less than this, and by less than an eighth, is not told anew: nobody would plan otherwise.
constexpr uint64_t kWorthTellingBytes = 1 << 20;

bool WorthTelling(uint64_t told, uint64_t bytes) {
  const uint64_t difference = std::max(told, bytes) - std::min(told, bytes);
  return difference >= kWorthTellingBytes || 8 * difference > told;
}

}  // namespace

void LogSizes::Tick() {
  if (time_.now() >= next_round_) BeginRound();
  for (size_t i = 0; i < per_tick_ && !to_ask_.empty(); ++i) {
    const GroupId group = to_ask_.back();
    to_ask_.pop_back();
    if (const Result<uint64_t> bytes = store_.ApproximateBytes(group); bytes.ok()) sizes_[group].bytes = *bytes;
  }
}

void LogSizes::BeginRound() {
  next_round_ = time_.now() + kRoundTicks;
  to_ask_.clear();
  replicas_.ForEachOpen([this](GroupId group, const partition::Partition&) {
    const raft::RaftCore* core = host_.Find(group);
    if (core != nullptr && core->role() == raft::Role::kLeader) to_ask_.push_back(group);
  });
  std::sort(to_ask_.begin(), to_ask_.end(), std::greater<>());
  std::map<GroupId, Size> before = std::exchange(sizes_, {});
  for (const GroupId group : to_ask_) {
    if (const auto known = before.find(group); known != before.end()) sizes_.insert(*known);
  }
  per_tick_ = to_ask_.size() / (kRoundTicks / 2) + 1;
}

uint64_t LogSizes::Of(GroupId group) const {
  const auto found = sizes_.find(group);
  return found == sizes_.end() ? 0 : found->second.bytes;
}

std::vector<std::pair<GroupId, uint64_t>> LogSizes::TakeChanged(bool full) {
  std::vector<std::pair<GroupId, uint64_t>> changed;
  for (auto& [group, size] : sizes_) {
    if (!full && size.ever_told && !WorthTelling(size.told, size.bytes)) continue;
    size.told = size.bytes;
    size.ever_told = true;
    changed.emplace_back(group, size.bytes);
  }
  return changed;
}

}  // namespace flotilla::broker
