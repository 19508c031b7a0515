// What is served: a request's line in, a page out. No sockets.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/http/metrics.h"
#include "server/http/readiness.h"

namespace flotilla::http {

struct Page {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::string allow = {};  // of a refused method: which ones there are
};

// The sources outlive it.
class Pages {
 public:
  Pages(std::vector<MetricSource*> metrics, std::vector<ReadinessSource*> readiness)
      : metrics_(std::move(metrics)), readiness_(std::move(readiness)) {}

  // `path` is without query. Any thread. HEAD gets what GET would get; its body is for the caller to leave out.
  Page Answer(std::string_view method, std::string_view path, bool verbose) const;

 private:
  Page Metrics() const;
  Page Readiness(bool verbose) const;

  const std::vector<MetricSource*> metrics_;
  const std::vector<ReadinessSource*> readiness_;
};

}  // namespace flotilla::http
