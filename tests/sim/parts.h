// What a run is made of, by name: "kill.3" is the third time that a process is killed, "producer.2" the second producer, "hurt" how long
// the cluster is hurt. A run may leave parts out. What is left happens as before, as far as it does not follow from what is gone: so a run
// that fails can be made smaller (shrink.h).
//
//   Excerpt excerpt = *Excerpt::Parse("kill.3 producer.2 hurt=12.5");
//   Parts parts(excerpt);
//   if (parts.Take("kill", 3)) ...
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/event_queue.h"

namespace flotilla::sim {

// Which parts of a run are run.
struct Excerpt {
  std::optional<std::set<std::string, std::less<>>> only;  // absent: all
  std::optional<Time> hurt_for;                            // absent: as the seed says

  bool all() const { return !only && !hurt_for; }
  // Names, and "hurt=SECONDS"; with spaces between them. Nothing: that is no excerpt.
  static std::optional<Excerpt> Parse(std::string_view text);
  std::string ToString() const;
};

class Parts {
 public:
  explicit Parts(Excerpt excerpt = {}) : excerpt_(std::move(excerpt)) {}
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  // Whether the `number`-th of its kind is part of the run. Each is asked for once.
  bool Take(std::string_view kind, uint64_t number);
  // How long the cluster is hurt, of what the seed says.
  Time HurtFor(Time drawn) const { return excerpt_.hurt_for ? std::min(*excerpt_.hurt_for, drawn) : drawn; }
  // All that were part of it, in the order of their coming.
  const std::vector<std::string>& taken() const { return taken_; }

 private:
  const Excerpt excerpt_;
  std::vector<std::string> taken_;
};

}  // namespace flotilla::sim
