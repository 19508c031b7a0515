#include "server/rpc/peer/live_streams.h"

#include <vector>

namespace flotilla::rpc {

LiveStreams::Ticket LiveStreams::Enter(std::weak_ptr<Stream> stream) {
  MutexLock lock(mutex_);
  if (closed_) return {};
  const uint64_t number = next_number_++;
  streams_.emplace(number, std::move(stream));
  return Ticket(shared_from_this(), number);
}

void LiveStreams::Leave(uint64_t number) {
  MutexLock lock(mutex_);
  streams_.erase(number);
  left_.NotifyAll();
}

void LiveStreams::Abort(const Status& why) {
  std::vector<std::shared_ptr<Stream>> present;
  {
    MutexLock lock(mutex_);
    closed_ = true;
    for (const auto& [number, stream] : streams_) {
      if (auto here = stream.lock()) present.push_back(std::move(here));
    }
  }
  for (const auto& stream : present) stream->Abort(why);
}

void LiveStreams::WaitUntilEmpty() {
  MutexLock lock(mutex_);
  while (!streams_.empty()) left_.Wait(mutex_);
}

}  // namespace flotilla::rpc
