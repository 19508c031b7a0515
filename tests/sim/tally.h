// How often each thing that a run can meet was really met, by name. What was expected and stays at zero is missing: a fault that
// never happens proves nothing.
//
//   Tally tally({"power cut", "topic created"});
//   tally.Add("power cut");
//   tally.Missing();      // {"topic created"}
#pragma once

#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace flotilla::sim {

class Tally {
 public:
  Tally() = default;
  explicit Tally(const std::vector<std::string>& expected) {
    for (const std::string& name : expected) counts_[name] = 0;
  }
  // Names are words and spaces.
  void Add(std::string_view name, uint64_t times = 1);
  uint64_t Of(std::string_view name) const;
  void Merge(const Tally& other);
  std::vector<std::string> Missing() const;
  void Print(std::ostream& out) const;

  // All counts in one line, for a pipe between processes.
  std::string Encode() const;
  // False: not what Encode makes.
  bool Decode(std::string_view text);

 private:
  std::map<std::string, uint64_t, std::less<>> counts_;
};

}  // namespace flotilla::sim
