#include "server/broker/paging.h"

#include "server/broker/limits.h"
#include "server/errors/refusal.h"

namespace flotilla::broker {
namespace {

constexpr std::string_view kPrefix = "after:";

}  // namespace

Result<Page> PageOf(int32_t page_size, std::string_view token) {
  if (page_size < 0 || page_size > limits::kPageSizeMax) {
    return Status(Reason::kInvalidArgument, "page_size " + std::to_string(page_size) + "; use 1 to " +
                                                std::to_string(limits::kPageSizeMax) + ", or 0 for " +
                                                std::to_string(limits::kPageSizeDefault))
        .With("field", "page_size");
  }
  Page page{.after = {}, .size = static_cast<size_t>(page_size == 0 ? limits::kPageSizeDefault : page_size)};
  if (token.empty()) return page;
  if (token.size() <= kPrefix.size() || token.substr(0, kPrefix.size()) != kPrefix) {
    return Status(Reason::kInvalidArgument, "page_token " + Quoted(token) + " was in no answer; use next_page_token as it came")
        .With("field", "page_token");
  }
  page.after = token.substr(kPrefix.size());
  return page;
}

std::string TokenAfter(std::string_view last) { return std::string(kPrefix) + std::string(last); }

}  // namespace flotilla::broker
