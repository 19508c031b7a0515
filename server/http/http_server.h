// The HTTP port: /metrics, /healthz, /readyz. For machines on this host and for people with curl; it speaks no TLS and asks
// nobody who they are.
//
//   auto http = HttpServer::Start({.host = "127.0.0.1", .port = 9652}, {&broker_metrics}, {&broker_readiness});
//   if (!http.ok()) return http.status();
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/http/metrics.h"
#include "server/http/readiness.h"
#include "storage/base/clock.h"
#include "storage/base/status.h"

namespace flotilla::http {

struct HttpOptions {
  std::string host = "127.0.0.1";  // a name or an address, IPv6 without brackets
  uint16_t port = 0;               // 0: any that is free

  // Connections that are answered at once, each by a thread; as many again are accepted and wait their turn.
  size_t threads = 4;
  // Those beyond that wait in the kernel, so many of them.
  size_t waiting = 128;
  // For a whole request to come in, and again for its answer to be taken.
  Duration timeout = std::chrono::seconds(5);
  // Of a request: line and headers. There is no body.
  size_t request_bytes_max = 8 * 1024;
};

class HttpServer {
 public:
  // The sources outlive the server. ADDRESS_IN_USE and the like come as INVALID_ARGUMENT, with host, port and what to do.
  static Result<std::unique_ptr<HttpServer>> Start(HttpOptions options, std::vector<MetricSource*> metrics,
                                                   std::vector<ReadinessSource*> readiness);
  // Stops.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // The one it got.
  uint16_t port() const;
  // Breaks open connections off and waits for the threads, which are with a source for as long as it takes. No source is
  // called afterwards. Again: nothing.
  void Stop();

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace flotilla::http
