#include "server/http/pages.h"

#include <algorithm>

namespace flotilla::http {
namespace {

constexpr std::string_view kPaths =
    "/metrics          numbers, as Prometheus reads them\n"
    "/healthz          200 while the process lives\n"
    "/readyz           200 when the node can serve, else 503\n"
    "/readyz?verbose   the same, check by check\n";

std::string Line(const ReadinessCheck& check) { return check.name + ": " + (check.ok ? "ok" : "not ok: " + check.reason) + "\n"; }

}  // namespace

Page Pages::Answer(std::string_view method, std::string_view path, bool verbose) const {
  if (method != "GET" && method != "HEAD") {
    return {.status = 405, .body = "this port only answers; use GET or HEAD\n", .allow = "GET, HEAD"};
  }
  if (path == "/metrics") return Metrics();
  if (path == "/healthz") return {.body = "ok\n"};
  if (path == "/readyz") return Readiness(verbose);
  return {.status = 404, .body = "there is no such page; there are\n\n" + std::string(kPaths)};
}

Page Pages::Metrics() const {
  MetricWriter writer;
  for (MetricSource* source : metrics_) source->Collect(writer);
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = writer.Text()};
}

Page Pages::Readiness(bool verbose) const {
  bool ready = true;
  std::string all;
  std::string failed;
  for (ReadinessSource* source : readiness_) {
    for (const ReadinessCheck& check : source->Checks()) {
      all += Line(check);
      if (!check.ok) failed += Line(check);
      ready = ready && check.ok;
    }
  }
  const std::string details = verbose ? all : failed;
  return {.status = ready ? 200 : 503, .body = std::string(ready ? "ready\n" : "not ready\n") + details};
}

}  // namespace flotilla::http
