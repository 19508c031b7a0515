#include "tests/sim/tally.h"

#include <charconv>
#include <iomanip>

namespace flotilla::sim {

void Tally::Add(std::string_view name, uint64_t times) {
  const auto found = counts_.find(name);
  if (found != counts_.end()) {
    found->second += times;
  } else {
    counts_.emplace(std::string(name), times);
  }
}

uint64_t Tally::Of(std::string_view name) const {
  const auto found = counts_.find(name);
  return found == counts_.end() ? 0 : found->second;
}

void Tally::Merge(const Tally& other) {
  for (const auto& [name, count] : other.counts_) Add(name, count);
}

std::vector<std::string> Tally::Missing() const {
  std::vector<std::string> missing;
  for (const auto& [name, count] : counts_) {
    if (count == 0) missing.push_back(name);
  }
  return missing;
}

void Tally::Print(std::ostream& out) const {
  for (const auto& [name, count] : counts_) out << std::setw(14) << count << "  " << name << '\n';
}

std::string Tally::Encode() const {
  std::string text;
  for (const auto& [name, count] : counts_) text += name + '=' + std::to_string(count) + ';';
  return text;
}

bool Tally::Decode(std::string_view text) {
  counts_.clear();
  while (!text.empty()) {
    const size_t equals = text.find('=');
    const size_t end = text.find(';');
    if (equals == std::string_view::npos || end == std::string_view::npos || end < equals) return false;
    uint64_t count = 0;
    const std::string_view number = text.substr(equals + 1, end - equals - 1);
    if (std::from_chars(number.data(), number.data() + number.size(), count).ptr != number.data() + number.size()) return false;
    counts_[std::string(text.substr(0, equals))] = count;
    text.remove_prefix(end + 1);
  }
  return true;
}

}  // namespace flotilla::sim
