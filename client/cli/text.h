// Bytes and numbers as people and JSON want them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/clock.h"

namespace flotilla::cli {

bool IsUtf8(std::string_view bytes);
std::string ToBase64(std::string_view bytes);
std::optional<std::string> FromBase64(std::string_view text);

// "1.5 MiB" without the space: "1.5MiB".
std::string ByteText(int64_t bytes);
// "2026-11-23T04:25:00.123Z".
std::string TimeText(int64_t unix_ms);
// How long, in two units at most: "3m20s", "2h05m", "450ms".
std::string SpanText(int64_t ms);
// "10s", "500ms", "2m", "1h"; a bare number is seconds.
std::optional<Duration> ParseDuration(std::string_view text);
// "64KiB", "1MiB", "4096".
std::optional<int64_t> ParseBytes(std::string_view text);
// Milliseconds since 1970 UTC from such a number, from "2026-11-23T04:25:00Z", or from "-10m" for so long ago.
std::optional<int64_t> ParseTime(std::string_view text, int64_t now_ms);
// \n, \t, \r, \0, \\ and \xHH become what they mean.
std::string Unescape(std::string_view text);

}  // namespace flotilla::cli
