#include "tests/sim/shrink.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace flotilla::sim {
namespace {

// Parts of a kind stand together, so that a group is one client's doing, or one fault.
std::vector<std::string> ByKind(std::vector<std::string> parts) {
  const auto key = [](const std::string& part) {
    const size_t dot = part.rfind('.');
    uint64_t number = 0;
    std::from_chars(part.data() + dot + 1, part.data() + part.size(), number);
    return std::pair(part.substr(0, dot), number);
  };
  std::sort(parts.begin(), parts.end(), [&](const std::string& a, const std::string& b) { return key(a) < key(b); });
  parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
  return parts;
}

class Shrinker {
 public:
  Shrinker(const std::function<Attempt(const Excerpt&)>& run, const ShrinkLimits& limits, Shrunk* best)
      : run_(run), limits_(limits), best_(*best), rule_(RuleOf(best->attempt.failure)) {}

  void ShortenHurt() {
    for (const int eighths : {1, 2, 4, 6}) {
      Excerpt shorter = best_.excerpt;
      // Tenths of a second, so that it can be written down.
      shorter.hurt_for = best_.attempt.hurt_for * eighths / 8 / (kSecond / 10) * (kSecond / 10);
      if (*shorter.hurt_for < best_.attempt.hurt_for && Try(shorter)) return;
    }
  }

  // True: some could go.
  bool LeaveOut() {
    bool any = false;
    std::vector<std::string> parts = ByKind(best_.attempt.parts);
    for (size_t size = (parts.size() + 1) / 2; size > 0 && MayGoOn(); size = size == 1 ? 0 : (size + 1) / 2) {
      for (size_t at = 0; at < parts.size() && MayGoOn();) {
        const size_t end = std::min(at + size, parts.size());
        Excerpt fewer = best_.excerpt;
        fewer.only.emplace(parts.begin(), parts.begin() + static_cast<ptrdiff_t>(at));
        fewer.only->insert(parts.begin() + static_cast<ptrdiff_t>(end), parts.end());
        if (!Try(fewer)) {
          at = end;
          continue;
        }
        any = true;
        // What did not come to pass is gone, too.
        parts = ByKind(best_.attempt.parts);
        at = std::min(at, parts.size());
      }
    }
    return any;
  }

  bool MayGoOn() const { return best_.runs < limits_.runs_max && limits_.may_go_on(); }

 private:
  bool Try(const Excerpt& excerpt) {
    if (!MayGoOn()) return false;
    ++best_.runs;
    Attempt attempt = run_(excerpt);
    if (attempt.failure.empty() || RuleOf(attempt.failure) != rule_) return false;
    best_.excerpt = excerpt;
    best_.excerpt.only.emplace(attempt.parts.begin(), attempt.parts.end());
    best_.attempt = std::move(attempt);
    return true;
  }

  const std::function<Attempt(const Excerpt&)>& run_;
  const ShrinkLimits& limits_;
  Shrunk& best_;
  const std::string rule_;
};

}  // namespace

std::string RuleOf(const std::string& failure) { return failure.substr(0, failure.find(": ")); }

std::optional<Shrunk> Shrink(const std::function<Attempt(const Excerpt&)>& run, const ShrinkLimits& limits) {
  Shrunk best;
  best.attempt = run(best.excerpt);
  best.runs = 1;
  if (best.attempt.failure.empty()) return std::nullopt;
  best.parts_before = best.attempt.parts.size();
  best.hurt_before = best.attempt.hurt_for;
  Shrinker shrinker(run, limits, &best);
  do {
    shrinker.ShortenHurt();
  } while (shrinker.LeaveOut() && shrinker.MayGoOn());
  return best;
}

}  // namespace flotilla::sim
