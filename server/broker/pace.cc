#include "server/broker/pace.h"

#include <algorithm>

namespace flotilla::broker {
namespace {

// Over less than this a speed says nothing: a learner gets its log in pieces.
constexpr Duration kMeasureMin = std::chrono::seconds(1);
// What takes longer than this at the present speed does not move.
constexpr double kRemainingSecondsMax = 365.0 * 24 * 3600;

}  // namespace

Pace Paces::Look(const Key& key, uint64_t left, MonotonicTime now) {
  const auto [at, fresh] = seen_.try_emplace(key, Seen{.most = left, .left = left, .at = now, .looked_at = now});
  Seen& seen = at->second;
  seen.looked_at = now;
  seen.most = std::max(seen.most, left);
  if (now - seen.at >= kMeasureMin) {
    const double seconds = std::chrono::duration<double>(now - seen.at).count();
    const double gone = left < seen.left ? static_cast<double>(seen.left - left) : 0;
    // Half of what was before: steady enough to be read, quick enough to be true.
    seen.per_second = seen.per_second < 0 ? gone / seconds : (seen.per_second + gone / seconds) / 2;
    seen.left = left;
    seen.at = now;
  }
  Pace pace{.remaining_ms = -1, .most = seen.most};
  if (left == 0) {
    pace.remaining_ms = 0;
  } else if (seen.per_second > 0 && static_cast<double>(left) / seen.per_second < kRemainingSecondsMax) {
    pace.remaining_ms = static_cast<int64_t>(static_cast<double>(left) / seen.per_second * 1e3);
  }
  if (fresh) MakeRoom();
  return pace;
}

void Paces::MakeRoom() {
  if (seen_.size() <= kept_max_) return;
  seen_.erase(
      std::min_element(seen_.begin(), seen_.end(), [](const auto& a, const auto& b) { return a.second.looked_at < b.second.looked_at; }));
}

}  // namespace flotilla::broker
