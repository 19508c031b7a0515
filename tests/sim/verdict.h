// Whether a run has kept all rules. The first broken rule is the one that counts: others follow from it.
#pragma once

#include <sstream>
#include <string>
#include <utility>

namespace flotilla::sim {

class Verdict {
 public:
  template <typename... Parts>
  void Violated(const char* rule, const Parts&... parts) {
    ++violations_;
    if (!first_.empty()) return;
    std::ostringstream out;
    out << rule << ": ";
    (out << ... << parts);
    first_ = std::move(out).str();
  }
  bool ok() const { return first_.empty(); }
  // "election safety: group 1 has two leaders in term 3: 1 and 2".
  const std::string& first() const { return first_; }
  int violations() const { return violations_; }

 private:
  std::string first_;
  int violations_ = 0;
};

}  // namespace flotilla::sim
