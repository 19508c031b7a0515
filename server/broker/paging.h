// Lists in pages: after which name the page begins, and how many entries it has.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/status.h"

namespace flotilla::broker {

struct Page {
  std::string after;  // entries with larger names; empty: from the beginning
  size_t size = 0;
};
// INVALID_ARGUMENT: a size outside of 0 to 1,000, or a token that no answer contained.
Result<Page> PageOf(int32_t page_size, std::string_view token);
// The token of the page behind `last`.
std::string TokenAfter(std::string_view last);

}  // namespace flotilla::broker
