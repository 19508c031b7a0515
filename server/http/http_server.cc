#include "server/http/http_server.h"

#include <glog/logging.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include "server/http/connection.h"
#include "server/http/pages.h"

namespace flotilla::http {
namespace {

// The threads that answer. The library's own pool queues without end.
class BoundedPool final : public httplib::TaskQueue {
 public:
  explicit BoundedPool(size_t threads) : waiting_max_(threads) {
    for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
  }

  // The library's accepting thread: while it waits here the kernel holds further connections back.
  void enqueue(std::function<void()> task) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return tasks_.size() < waiting_max_; });
    tasks_.push_back(std::move(task));
    changed_.notify_all();
  }

  void shutdown() override {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  // Runs what is queued to the end: each task closes its socket.
  void Run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      changed_.notify_all();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  const size_t waiting_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

// The library's server with connections of ours: one request each.
class LimitedServer final : public httplib::Server {
 public:
  explicit LimitedServer(const ConnectionLimits& limits) : limits_(limits) {}

  // Connections that may wait to be accepted. The library asks for 5; those beyond lose a second each.
  void Widen(int waiting) { ::listen(svr_sock_, waiting); }

  // From now on connections are closed unanswered, and those that are open are broken off.
  void BreakOff() {
    std::lock_guard lock(mutex_);
    broken_off_ = true;
    for (const socket_t socket : open_) ::shutdown(socket, SHUT_RDWR);
  }

 private:
  bool process_and_close_socket(socket_t socket) override {
    bool answered = false;
    if (Admit(socket)) {
      Connection connection(socket, limits_);
      bool closed = false;
      // A range of a page that is made anew each time means nothing.
      answered = process_request(connection, /*close_connection=*/true, closed, [](httplib::Request& request) { request.ranges.clear(); });
      Dismiss(socket);
    }
    EndAndClose(socket);
    return answered;
  }

  bool Admit(socket_t socket) {
    std::lock_guard lock(mutex_);
    return !broken_off_ && open_.insert(socket).second;
  }
  void Dismiss(socket_t socket) {
    std::lock_guard lock(mutex_);
    open_.erase(socket);
  }

  // What is still unread when a socket is closed makes the kernel send a reset, which can overtake the answer: take what
  // is there already.
  static void EndAndClose(socket_t socket) {
    ::shutdown(socket, SHUT_WR);
    std::array<char, 4096> ignored;
    for (int i = 0; i < 16 && recv(socket, ignored.data(), ignored.size(), MSG_DONTWAIT) > 0; ++i) {
    }
    ::close(socket);
  }

  const ConnectionLimits limits_;
  std::mutex mutex_;
  std::set<socket_t> open_;
  bool broken_off_ = false;
};

void SetListenerOptions(socket_t socket) {
  // The library would also set SO_REUSEPORT: a second process would share the port in silence.
  const int yes = 1;
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

void Fill(const Page& page, httplib::Response& response) {
  response.status = page.status;
  response.set_content(page.body, page.content_type);
  response.set_header("Cache-Control", "no-store");
  response.set_header("X-Content-Type-Options", "nosniff");
  if (!page.allow.empty()) response.set_header("Allow", page.allow);
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpOptions& options, std::vector<MetricSource*> metrics, std::vector<ReadinessSource*> readiness)
      : options_(options),
        pages_(std::move(metrics), std::move(readiness)),
        server_({.read_bytes_max = options.request_bytes_max, .timeout = options.timeout}) {
    using Handled = httplib::Server::HandlerResponse;
    // Before routing, and so before the library reads a body.
    server_.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      Fill(pages_.Answer(request.method, request.path, request.has_param("verbose")), response);
      return Handled::Handled;
    });
    server_.set_exception_handler([](const httplib::Request& request, httplib::Response& response, std::exception_ptr) {
      LOG(ERROR) << "http page failed path=" << request.path;
      Fill({.status = 500, .body = "failed; the node's log says more\n"}, response);
    });
    server_.set_socket_options(SetListenerOptions);
    server_.new_task_queue = [this] {
      accepting_.set_value();
      return new BoundedPool(options_.threads);
    };
  }

  ~Impl() { Stop(); }

  Status Start() {
    errno = 0;
    const int port = options_.port == 0 ? server_.bind_to_any_port(options_.host)
                                        : (server_.bind_to_port(options_.host, options_.port) ? options_.port : -1);
    if (port <= 0) {
      const std::string why = errno != 0 ? std::strerror(errno) : "the host is not known";
      return Status(Reason::kInvalidArgument, "cannot listen for HTTP on " + options_.host + " port " + std::to_string(options_.port) +
                                                  ": " + why + "; change listen.http, or write \"\" there to go without");
    }
    port_ = static_cast<uint16_t>(port);
    server_.Widen(static_cast<int>(options_.waiting));
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    // A server that is stopped before it accepts would not notice.
    accepting_.get_future().wait();
    return Status();
  }

  void Stop() {
    if (!thread_.joinable()) return;
    server_.BreakOff();
    server_.stop();
    thread_.join();
  }

  uint16_t port() const { return port_; }

 private:
  const HttpOptions options_;
  const Pages pages_;
  LimitedServer server_;
  std::promise<void> accepting_;
  std::thread thread_;
  uint16_t port_ = 0;
};

Result<std::unique_ptr<HttpServer>> HttpServer::Start(HttpOptions options, std::vector<MetricSource*> metrics,
                                                      std::vector<ReadinessSource*> readiness) {
  CHECK_GT(options.threads, 0u);
  auto impl = std::make_unique<Impl>(options, std::move(metrics), std::move(readiness));
  FLOTILLA_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;
uint16_t HttpServer::port() const { return impl_->port(); }
void HttpServer::Stop() { impl_->Stop(); }

}  // namespace flotilla::http
