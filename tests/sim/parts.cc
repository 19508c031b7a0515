#include "tests/sim/parts.h"

#include <charconv>
#include <sstream>

namespace flotilla::sim {
namespace {

constexpr std::string_view kHurt = "hurt=";

bool IsPart(std::string_view word) {
  const size_t dot = word.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || dot + 1 == word.size()) return false;
  return word.substr(dot + 1).find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

std::optional<Excerpt> Excerpt::Parse(std::string_view text) {
  Excerpt excerpt;
  excerpt.only.emplace();
  std::istringstream in{std::string(text)};
  for (std::string word; in >> word;) {
    if (word.starts_with(kHurt)) {
      double seconds = 0;
      const char* end = word.data() + word.size();
      const auto parsed = std::from_chars(word.data() + kHurt.size(), end, seconds);
      if (parsed.ec != std::errc() || parsed.ptr != end || seconds < 0) return std::nullopt;
      excerpt.hurt_for = static_cast<Time>(seconds * static_cast<double>(kSecond));
    } else if (IsPart(word)) {
      excerpt.only->insert(word);
    } else {
      return std::nullopt;
    }
  }
  return excerpt;
}

std::string Excerpt::ToString() const {
  std::ostringstream out;
  if (hurt_for) out << kHurt << static_cast<double>(*hurt_for) / static_cast<double>(kSecond);
  if (only) {
    for (const std::string& part : *only) out << (out.tellp() == 0 ? "" : " ") << part;
  }
  return std::move(out).str();
}

bool Parts::Take(std::string_view kind, uint64_t number) {
  std::string name(kind);
  name += '.';
  name += std::to_string(number);
  if (excerpt_.only && !excerpt_.only->contains(name)) return false;
  taken_.push_back(std::move(name));
  return true;
}

}  // namespace flotilla::sim
