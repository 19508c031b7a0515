// Whether bytes are UTF-8 as protobuf demands it of strings: one that is not makes the whole message
// unreadable in most languages.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace flotilla::partition {

// The Unicode Standard, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF.
inline bool IsUtf8(std::string_view text) {
  const auto* at = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* const end = at + text.size();
  const auto in = [](uint8_t byte, uint8_t low, uint8_t high) { return byte >= low && byte <= high; };
  while (at != end) {
    if (*at < 0x80) {
      ++at;
      continue;
    }
    const uint8_t lead = *at;
    int tail = 0;
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    if (in(lead, 0xC2, 0xDF)) {
      tail = 1;
    } else if (in(lead, 0xE0, 0xEF)) {
      tail = 2;
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
    } else if (in(lead, 0xF0, 0xF4)) {
      tail = 3;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    } else {
      return false;
    }
    if (end - at <= tail || !in(at[1], low, high)) return false;
    for (int i = 2; i <= tail; ++i) {
      if (!in(at[i], 0x80, 0xBF)) return false;
    }
    at += 1 + tail;
  }
  return true;
}

}  // namespace flotilla::partition
