// What systemd is told (sd_notify): that the node is ready, what it does, that it lives. Without systemd nothing happens.
//
//   ServiceManager manager = ServiceManager::FromEnvironment();
//   manager.Status("reading the store");
//   manager.Ready();
//
// The protocol is a datagram per message over a socket whose name systemd gives; it is stable, and so short that a library
// would be the larger part. Messages are best effort: one that cannot be sent is dropped.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "storage/base/clock.h"

namespace flotilla {

// Any thread.
class ServiceManager {
 public:
  // Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and takes them out of the environment. Call it before there are threads.
  static ServiceManager FromEnvironment();
  // `socket`: a path, "@name" for an abstract one, "" for no service manager at all.
  explicit ServiceManager(std::string socket, std::optional<Duration> watchdog = std::nullopt)
      : socket_(std::move(socket)), watchdog_(watchdog) {}

  bool present() const { return !socket_.empty(); }
  // How long it may hear nothing from Alive() before it kills the node. Nothing: it does not look.
  std::optional<Duration> watchdog() const { return present() ? watchdog_ : std::nullopt; }

  void Ready() const { Send("READY=1"); }
  // For people: `systemctl status` shows it. One line; more are joined.
  void Status(std::string text) const;
  void Stopping() const { Send("STOPPING=1"); }
  void Alive() const { Send("WATCHDOG=1"); }
  // From now on it waits so much longer for Ready() (or, after Stopping(), for the end).
  void ExtendTimeout(Duration more) const;

 private:
  void Send(std::string_view message) const;

  std::string socket_;
  std::optional<Duration> watchdog_;
};

// While it exists, the time that a start may take does not run out: recovery takes as long as there is data to read, and killing a
// node that recovers would only begin it again. Not for ever: after `at_most` nobody extends it any more.
class PatientStart {
 public:
  // `manager` outlives it.
  PatientStart(const ServiceManager& manager, Duration at_most);
  ~PatientStart();
  PatientStart(const PatientStart&) = delete;
  PatientStart& operator=(const PatientStart&) = delete;

 private:
  void Run(Duration at_most);

  const ServiceManager& manager_;
  std::mutex mutex_;
  std::condition_variable end_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace flotilla
