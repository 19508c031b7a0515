// Text into numbers with units, and back. Strict: what could be meant in two ways is refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/clock.h"
#include "storage/base/status.h"

namespace flotilla::config {

// All: INVALID_ARGUMENT says how to write it right, to follow "KEY is VALUE; ".

// "0", "42": decimal digits and nothing else. A leading zero is refused, because YAML 1.1 takes it for octal.
Result<uint64_t> ParseCount(std::string_view text);
// A whole number and a unit: B, KiB, MiB, GiB, TiB.
Result<uint64_t> ParseSize(std::string_view text);
// A whole number and a unit: us, ms, s, m, h, d. Not negative.
Result<Duration> ParseDuration(std::string_view text);
Result<bool> ParseBool(std::string_view text);

// In the largest unit that is exact: "8MiB", "1500ms". Parsing gives the same again.
std::string FormatSize(uint64_t bytes);
std::string FormatDuration(Duration duration);

}  // namespace flotilla::config
