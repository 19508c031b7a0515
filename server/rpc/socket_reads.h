// What this process reads from its connections, as it reads it: who is read from at the moment, and how much it was.
//
// gRPC tells neither; but it reads through the library function recvmsg, and a program that links this has one of its own, which libgrpc
// finds before the library's: it does the same, and takes note. A program in which that does not work, because gRPC was linked in
// another way, notes nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace flotilla::rpc {

// Of a thread.
struct CurrentRead {
  int fd = -1;       // that it has read from last. -1: none
  size_t calls = 0;  // for whoever looks to count in; a read from another connection sets it to 0
};

CurrentRead& ThisThreadsRead();

class ReadListener {
 public:
  virtual ~ReadListener() = default;
  // On the reading thread, in the middle of what gRPC does: what takes long here slows down who sends. May still come just after
  // StopCounting.
  virtual void OnRead(size_t bytes) = 0;
};

// Any thread. From now on what is read from the descriptor is counted, from 0 on, and told to `listener`.
void CountReads(int fd, std::shared_ptr<ReadListener> listener);
// Not any more, unless it is somebody else by now who is told.
void StopCounting(int fd, const ReadListener* listener);
// What was read since CountReads.
uint64_t BytesRead(int fd);

}  // namespace flotilla::rpc
