// The way into a cluster: knows some of its brokers, finds the others, and survives dead ones.
//
//   Client client({.brokers = {"a:9650", "b:9650"}});
//   v1::GetHealthResponse health;
//   Error error = client.Call("/flotilla.v1.ClusterService/GetHealth", v1::GetHealthRequest(), &health);
//
// Producers and consumers are made on a client and share its connections, one per node. Any thread. Outlives them.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "client/cpp/cluster_view.h"
#include "client/cpp/connection.h"
#include "client/cpp/error.h"
#include "storage/base/clock.h"

namespace google::protobuf {
class MessageLite;
}

namespace flotilla::client {

inline constexpr int kDefaultPort = 9650;

struct ClientOptions {
  // "host:port" or "host"; at least one. Others are learned from these.
  std::vector<std::string> brokers;
  // Of calls that name none.
  Duration call_timeout = std::chrono::seconds(30);
  // After so long another broker is asked the same, as long as the call's own timeout allows.
  Duration attempt_timeout = std::chrono::seconds(10);
  ConnectionOptions connection;
};

struct CallOptions {
  // Default: ClientOptions.call_timeout.
  std::optional<Duration> timeout = {};
  // A second time does no harm: the call only reads, or has a request_id. When not, only what was certainly not applied is
  // repeated.
  bool idempotent = true;
  // Only this node, and only once. Default: any.
  std::string address = {};
  // Told why before each pause between attempts. On the caller's thread.
  std::function<void(const Error& error)> on_retry = {};
};

class Client {
 public:
  // Connects to nothing yet.
  explicit Client(ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Waits for the answer. Goes on to the next broker while an error allows it and time is left; UNREACHABLE, with all that
  // were tried, as soon as none of them can be connected to.
  Error Call(const std::string& method, const google::protobuf::MessageLite& request, google::protobuf::MessageLite* response,
             const CallOptions& options = {});

  // Number of partitions, asked for when it is not known. TOPIC_NOT_FOUND.
  Result<int32_t> PartitionCount(const std::string& topic, std::optional<Duration> timeout = {});
  // Asks for the topic's leaders anew.
  Error RefreshTopic(const std::string& topic, std::optional<Duration> timeout = {});

  const ClientOptions& options() const { return options_; }

  // --- for producers and consumers
  ClusterView& view() { return view_; }
  const Clock& clock() const { return clock_; }
  std::shared_ptr<Connection> ConnectionTo(const std::string& address);
  // Runs it on the client's own thread, after what was posted before; there it may wait.
  void Post(std::function<void()> task);

 private:
  void RunTasks();

  const ClientOptions options_;
  const SystemClock clock_;
  ClusterView view_;

  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Connection>> connections_;  // guarded by mutex_
  std::deque<std::function<void()>> tasks_;                         // guarded by mutex_
  bool stopping_ = false;                                           // guarded by mutex_
  std::condition_variable wakeup_;
  std::thread worker_;
};

// 32 random characters, for request_id.
std::string NewRequestId();

}  // namespace flotilla::client
