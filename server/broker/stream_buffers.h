// What subscriptions hold for clients that have not taken it: all of a node together, within a limit. Executor only.
//
// A client that takes nothing has a megabyte waiting for it, and there may be ten thousand of them. Up to the limit every subscription
// reads ahead. Above it memory is scarce: a subscription reads when it holds nothing, so that those who take what they get go on, and
// those who do not are ended soon. At twice the limit nobody reads until some of it was taken.
#pragma once

#include <glog/logging.h>

#include <cstddef>

#include "server/broker/limits.h"

namespace flotilla::broker {

class StreamBuffers {
 public:
  bool scarce() const { return bytes_ >= limits::kStreamsBufferBytes; }
  // For a subscription that holds `held` itself, reads on their way among them.
  bool MayRead(size_t held) const { return !scarce() || (held == 0 && bytes_ < 2 * limits::kStreamsBufferBytes); }

  void Take(size_t bytes) { bytes_ += bytes; }
  void Return(size_t bytes) {
    CHECK_LE(bytes, bytes_);
    bytes_ -= bytes;
  }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
};

}  // namespace flotilla::broker
