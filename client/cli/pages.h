// All pages of a list as one answer.
#pragma once

#include <string>

#include "client/cli/session.h"

namespace flotilla::cli {

// `Request` has page_size and page_token, `Response` next_page_token.
template <typename Request, typename Response>
client::Error CallAllPages(Session& session, const std::string& method, Request request, Response* all) {
  request.set_page_size(1000);
  while (true) {
    Response page;
    if (client::Error error = session.Call(method, request, &page); !error.ok()) return error;
    all->MergeFrom(page);
    all->clear_next_page_token();
    if (page.next_page_token().empty()) return {};
    request.set_page_token(page.next_page_token());
  }
}

}  // namespace flotilla::cli
