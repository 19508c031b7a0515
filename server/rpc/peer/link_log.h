// What the log says about the connections to one peer: a line when they break, a line when all are back, and
// no more than a few in a while when they come and go. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "server/broker/peer_network.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace flotilla::rpc {

class LinkLog {
 public:
  // Counts up to `streams` that are up at once. `interval`: between two lines about the same trouble.
  LinkLog(broker::Peer peer, int streams, Duration interval) : peer_(std::move(peer)), streams_(streams), interval_(interval) {}

  void Up();
  // `was_up`: of a stream that Up was called for; otherwise an attempt failed.
  void Down(const char* stream, bool was_up, const Status& why);

 private:
  // Whether to tell of trouble now.
  bool Worth(const std::string& trouble) FLOTILLA_REQUIRES(mutex_);

  const broker::Peer peer_;
  const int streams_;
  const Duration interval_;
  const SystemClock clock_;
  Mutex mutex_;
  int up_ FLOTILLA_GUARDED_BY(mutex_) = 0;
  bool told_down_ FLOTILLA_GUARDED_BY(mutex_) = false;  // the last line was about trouble
  bool told_up_ FLOTILLA_GUARDED_BY(mutex_) = false;
  std::string last_trouble_ FLOTILLA_GUARDED_BY(mutex_);
  MonotonicTime last_told_ FLOTILLA_GUARDED_BY(mutex_);
  uint64_t silent_ FLOTILLA_GUARDED_BY(mutex_) = 0;  // troubles since the last line
};

}  // namespace flotilla::rpc
