// Streams and timers that are not over yet: whom to end when their component stops, and whom to wait for.
//
//   stream->ticket_ = live->Enter(stream);      // invalid: stopping, do not begin. Declared first: goes last
//   ...
//   live->Abort(why);  live->WaitUntilEmpty();  // afterwards nothing of the component runs on gRPC's threads
//
// Any thread; WaitUntilEmpty not on gRPC's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "storage/base/mutex.h"
#include "storage/base/status.h"

namespace flotilla::rpc {

class LiveStreams : public std::enable_shared_from_this<LiveStreams> {
 public:
  class Stream {
   public:
    virtual ~Stream() = default;
    // Ends soon. Any thread; again does no harm.
    virtual void Abort(const Status& why) = 0;
  };

  // Its holder is counted until it goes away.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(Ticket&& other) noexcept { *this = std::move(other); }
    Ticket& operator=(Ticket&& other) noexcept {
      std::swap(streams_, other.streams_);
      std::swap(number_, other.number_);
      return *this;
    }
    ~Ticket() {
      if (streams_) streams_->Leave(number_);
    }
    bool valid() const { return streams_ != nullptr; }

   private:
    friend class LiveStreams;
    Ticket(std::shared_ptr<LiveStreams> streams, uint64_t number) : streams_(std::move(streams)), number_(number) {}
    std::shared_ptr<LiveStreams> streams_;
    uint64_t number_ = 0;
  };

  // `stream` may be empty: then there is nothing to abort.
  Ticket Enter(std::weak_ptr<Stream> stream);
  // Lets nobody in any more.
  void Abort(const Status& why);
  void WaitUntilEmpty();

 private:
  void Leave(uint64_t number);

  Mutex mutex_;
  ConditionVariable left_;
  bool closed_ FLOTILLA_GUARDED_BY(mutex_) = false;
  uint64_t next_number_ FLOTILLA_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, std::weak_ptr<Stream>> streams_ FLOTILLA_GUARDED_BY(mutex_);
};

}  // namespace flotilla::rpc
