// What waits for a client: the rest of a request to arrive, an answer to be taken. gRPC waits as long as the client likes, and keeps
// what it has of either: here it is noticed that it takes too long.
#pragma once

#include <cstddef>
#include <functional>
#include <list>

#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace flotilla::rpc::client {

class ClientWaits {
 public:
  class Row {
   public:
    // Called on the executor, also when the client has just done its part.
    explicit Row(std::function<void()> too_slow) : too_slow_(std::move(too_slow)) {}
    Row(const Row&) = delete;
    Row& operator=(const Row&) = delete;

   private:
    friend class ClientWaits;
    const std::function<void()> too_slow_;
    std::list<Row*>::iterator place_;
    MonotonicTime began_;
  };

  // --- any thread
  void Begin(Row& row, MonotonicTime now);
  // Before the row is gone.
  void End(Row& row);
  size_t count() const;

  // --- executor, which is where rows are deleted
  // Those that began before.
  void CutOff(MonotonicTime before);

 private:
  mutable Mutex mutex_;
  std::list<Row*> rows_ FLOTILLA_GUARDED_BY(mutex_);  // in the order in which they began
};

}  // namespace flotilla::rpc::client
