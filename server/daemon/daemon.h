// A running node: store, broker, ports and threads, wired together from a configuration.
//
//   Result<std::unique_ptr<Daemon>> daemon = Daemon::Start(config, "0.1.0");
//   ... (*daemon)->halted() ...                    // not OK: it has to stop, and why
//   (*daemon)->Stop(std::chrono::seconds(10));     // hands over what it leads, ends calls, closes
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "server/config/config.h"
#include "storage/base/clock.h"
#include "storage/base/status.h"

namespace flotilla {

class Daemon {
 public:
  // Says in the log what it does and how long it took, and `progress` what it does now, for people. Returns when its ports are
  // open and what is on its disk is read; other nodes are not waited for. DATA_LOSS, DIRECTORY_LOCKED and so on, and taken ports.
  static Result<std::unique_ptr<Daemon>> Start(const config::Config& config, const std::string& version,
                                               const std::function<void(const std::string&)>& progress);
  virtual ~Daemon() = default;

  virtual Status halted() const = 0;
  // "joined as node 2, 96/96 replicas open, leads 31".
  virtual std::string status() const = 0;
  virtual std::string client_address() const = 0;
  virtual std::string http_address() const = 0;
  // Its clock has ticked and its own port has answered since this was last true (the first time: since the first call). Call it
  // now and then from one thread; the port is only asked when this is.
  virtual bool Moved() = 0;
  // What /metrics says of the last attempt to read the configuration again.
  virtual void ShowReload(bool ok) = 0;
  // Leaderships go to other nodes and calls end, for `grace` at most, or until `hurry` says so; then everything is closed.
  virtual void Stop(Duration grace, const std::function<bool()>& hurry) = 0;
};

// Another start changes nothing about why a daemon has to stop: its node was removed, is a copy, or is too old for its cluster.
bool IsForGood(const Status& halted);

}  // namespace flotilla
