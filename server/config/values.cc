#include "server/config/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <span>

namespace flotilla::config {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

// Both ascending.
constexpr std::array kSizeUnits = {Unit{"B", 1}, Unit{"KiB", uint64_t{1} << 10}, Unit{"MiB", uint64_t{1} << 20},
                                   Unit{"GiB", uint64_t{1} << 30}, Unit{"TiB", uint64_t{1} << 40}};
constexpr uint64_t kSecond = 1'000'000'000;
constexpr std::array kTimeUnits = {Unit{"us", 1'000},       Unit{"ms", 1'000'000},     Unit{"s", kSecond},
                                   Unit{"m", 60 * kSecond}, Unit{"h", 3600 * kSecond}, Unit{"d", 86'400 * kSecond}};

Status Refuse(std::string text) { return Status(Reason::kInvalidArgument, std::move(text)); }

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::string_view DigitsOf(std::string_view text) {
  const auto end = std::find_if_not(text.begin(), text.end(), IsDigit);
  return text.substr(0, static_cast<size_t>(end - text.begin()));
}

// `digits` is decimal digits only, at least one.
Result<uint64_t> ParseDigits(std::string_view digits, std::string_view rest) {
  if (digits.size() > 1 && digits.front() == '0') {
    const size_t first = std::min(digits.find_first_not_of('0'), digits.size() - 1);
    return Refuse("write it without leading zeros: " + std::string(digits.substr(first)) + std::string(rest));
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc()) return Refuse("that is more than 64 bits can hold");
  return value;
}

std::string Names(std::span<const Unit> units) {
  std::string names;
  for (size_t i = 0; i < units.size(); ++i) {
    if (i > 0) names += i + 1 == units.size() ? " or " : ", ";
    names += units[i].name;
  }
  return names;
}

// `what` is "a size", `largest` what the result must not exceed.
Result<uint64_t> ParseWithUnit(std::string_view text, std::span<const Unit> units, std::string_view what, std::string_view example,
                               uint64_t largest) {
  const std::string_view digits = DigitsOf(text);
  const std::string_view unit_name = text.substr(digits.size());
  const std::string how =
      std::string(what) + " is a whole number and one of the units " + Names(units) + ", such as " + std::string(example);
  if (digits.empty() || unit_name.empty()) return Refuse(how);
  const auto unit = std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == unit_name; });
  if (unit == units.end()) return Refuse(how);
  const Result<uint64_t> number = ParseDigits(digits, unit_name);
  if (!number.ok()) return number;
  if (*number > largest / unit->factor) return Refuse("that is more than 64 bits can hold");
  return *number * unit->factor;
}

std::string FormatWithUnit(uint64_t value, std::span<const Unit> units) {
  size_t best = 0;
  for (size_t i = 1; i < units.size(); ++i) {
    if (value != 0 && value % units[i].factor == 0) best = i;
  }
  return std::to_string(value / units[best].factor) + std::string(units[best].name);
}

}  // namespace

Result<uint64_t> ParseCount(std::string_view text) {
  const std::string_view digits = DigitsOf(text);
  if (digits.empty() || digits.size() != text.size()) return Refuse("use a whole number in decimal digits, such as 42");
  return ParseDigits(digits, "");
}

Result<uint64_t> ParseSize(std::string_view text) {
  return ParseWithUnit(text, kSizeUnits, "a size", "64MiB", std::numeric_limits<uint64_t>::max());
}

Result<Duration> ParseDuration(std::string_view text) {
  const Result<uint64_t> count = ParseWithUnit(text, kTimeUnits, "a duration", "500ms", std::numeric_limits<int64_t>::max());
  if (!count.ok()) return count.status();
  return Duration(static_cast<int64_t>(*count));
}

Result<bool> ParseBool(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return Refuse("use true or false");
}

std::string FormatSize(uint64_t bytes) { return FormatWithUnit(bytes, kSizeUnits); }

std::string FormatDuration(Duration duration) { return FormatWithUnit(static_cast<uint64_t>(duration.count()), kTimeUnits); }

}  // namespace flotilla::config
