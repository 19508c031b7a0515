// Whether the node should get work, as its parts see it.
#pragma once

#include <string>
#include <vector>

namespace flotilla::http {

struct ReadinessCheck {
  std::string name;  // "joined", "metadata_leader"
  bool ok = false;
  std::string reason;  // for people: why not ok, and what it waits for; may be empty when ok
};

class ReadinessSource {
 public:
  virtual ~ReadinessSource() = default;
  // All of them, good and bad, always the same names. Any thread, and several at once; quick.
  virtual std::vector<ReadinessCheck> Checks() = 0;
};

}  // namespace flotilla::http
