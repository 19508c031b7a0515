#include "client/cli/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>

namespace flotilla::cli {
namespace {

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// The number at the beginning, and the unit behind it.
struct Measure {
  double number = 0;
  std::string_view unit;
};
std::optional<Measure> ParseMeasure(std::string_view text) {
  Measure measure;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), measure.number);
  if (error != std::errc() || measure.number < 0) return std::nullopt;
  measure.unit = text.substr(static_cast<size_t>(end - text.data()));
  return measure;
}

}  // namespace

bool IsUtf8(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    size_t more = 0;
    uint32_t point = 0;
    if (lead < 0x80) {
      ++i;
      continue;
    }
    if (lead >> 5 == 6) more = 1, point = lead & 0x1f;
    else if (lead >> 4 == 14) more = 2, point = lead & 0x0f;
    else if (lead >> 3 == 30) more = 3, point = lead & 0x07;
    else return false;
    if (i + more >= bytes.size()) return false;
    for (size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(bytes[i + k]);
      if (next >> 6 != 2) return false;
      point = point << 6 | (next & 0x3f);
    }
    constexpr std::array<uint32_t, 4> kSmallest = {0, 0x80, 0x800, 0x10000};  // else it is longer than need be
    if (point < kSmallest[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
    i += more + 1;
  }
  return true;
}

std::string ToBase64(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? kBase64[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::optional<std::string> FromBase64(std::string_view text) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  uint32_t group = 0;
  unsigned bits = 0;
  for (const char c : text) {
    const size_t value = kBase64.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    group = group << 6 | static_cast<uint32_t>(value);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    out += static_cast<char>(group >> bits & 0xff);
  }
  return out;
}

std::string ByteText(int64_t bytes) {
  constexpr std::array<const char*, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) value /= 1024, ++unit;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f%s" : "%.1f%s", value, kUnits[unit]);
  return text;
}

std::string TimeText(int64_t unix_ms) {
  if (unix_ms <= 0) return "-";
  const std::time_t seconds = unix_ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  const size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + length, sizeof text - length, ".%03dZ", static_cast<int>(unix_ms % 1000));
  return text;
}

std::string SpanText(int64_t ms) {
  if (ms < 1000) return std::to_string(std::max<int64_t>(ms, 0)) + "ms";
  const int64_t seconds = ms / 1000;
  char text[64];
  if (seconds < 60) {
    std::snprintf(text, sizeof text, "%ds", static_cast<int>(seconds));
  } else if (seconds < 3600) {
    std::snprintf(text, sizeof text, "%dm%02ds", static_cast<int>(seconds / 60), static_cast<int>(seconds % 60));
  } else if (seconds < 24 * 3600) {
    std::snprintf(text, sizeof text, "%dh%02dm", static_cast<int>(seconds / 3600), static_cast<int>(seconds / 60 % 60));
  } else {
    std::snprintf(text, sizeof text, "%lldd%02dh", static_cast<long long>(seconds / 86400), static_cast<int>(seconds / 3600 % 24));
  }
  return text;
}

std::optional<Duration> ParseDuration(std::string_view text) {
  const auto measure = ParseMeasure(text);
  if (!measure) return std::nullopt;
  double seconds = 0;
  if (measure->unit == "s" || measure->unit.empty()) seconds = measure->number;
  else if (measure->unit == "ms") seconds = measure->number / 1e3;
  else if (measure->unit == "us") seconds = measure->number / 1e6;
  else if (measure->unit == "m") seconds = measure->number * 60;
  else if (measure->unit == "h") seconds = measure->number * 3600;
  else if (measure->unit == "d") seconds = measure->number * 86400;
  else return std::nullopt;
  constexpr double kYears = 100 * 365.0 * 86400;  // what fits into a Duration
  if (seconds > kYears) return std::nullopt;
  return Duration(static_cast<int64_t>(seconds * 1e9));
}

std::optional<int64_t> ParseBytes(std::string_view text) {
  const auto measure = ParseMeasure(text);
  if (!measure) return std::nullopt;
  double factor = 0;
  if (measure->unit.empty() || measure->unit == "B") factor = 1;
  else if (measure->unit == "KiB" || measure->unit == "K" || measure->unit == "k") factor = 1024;
  else if (measure->unit == "MiB" || measure->unit == "M") factor = 1024.0 * 1024;
  else if (measure->unit == "GiB" || measure->unit == "G") factor = 1024.0 * 1024 * 1024;
  else return std::nullopt;
  if (measure->number * factor > 9e18) return std::nullopt;
  return static_cast<int64_t>(measure->number * factor);
}

std::optional<int64_t> ParseTime(std::string_view text, int64_t now_ms) {
  if (text.starts_with('-')) {
    const auto ago = ParseDuration(text.substr(1));
    if (!ago) return std::nullopt;
    return now_ms - std::chrono::duration_cast<std::chrono::milliseconds>(*ago).count();
  }
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  std::tm parts{};
  const std::string owned(text);
  const char* rest = strptime(owned.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) {
    parts = {};
    rest = strptime(owned.c_str(), "%Y-%m-%d", &parts);
  }
  if (rest == nullptr) return std::nullopt;
  int64_t millis = 0;
  if (*rest == '.') {
    const char* digits = ++rest;
    for (; *rest >= '0' && *rest <= '9'; ++rest) {
      if (rest - digits < 3) millis = millis * 10 + (*rest - '0');
    }
    for (auto seen = rest - digits; seen < 3; ++seen) millis *= 10;
  }
  if (*rest == 'Z') ++rest;
  if (*rest != '\0') return std::nullopt;  // other zones are not guessed at
  return static_cast<int64_t>(timegm(&parts)) * 1000 + millis;
}

std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    switch (text[++i]) {
      case 'n': out += '\n'; break;
      case 't': out += '\t'; break;
      case 'r': out += '\r'; break;
      case '0': out += '\0'; break;
      case '\\': out += '\\'; break;
      case 'x': {
        unsigned byte = 0;
        const auto digits = text.substr(i + 1, 2);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
        if (error != std::errc() || end != digits.data() + 2) {
          out += "\\x";
          break;
        }
        out += static_cast<char>(byte);
        i += 2;
        break;
      }
      default: out += '\\'; out += text[i];
    }
  }
  return out;
}

}  // namespace flotilla::cli
