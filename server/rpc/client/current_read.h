// Which connection a thread of gRPC's has read from last.
//
// gRPC does not tell; but it reads through the library function recvmsg, and a program that links this has one of its own, which
// remembers and does the same. A program in which that does not work, because gRPC was linked in another way, remembers nothing.
#pragma once

#include <cstddef>

namespace flotilla::rpc::client {

struct CurrentRead {
  int fd = -1;       // -1: none
  size_t calls = 0;  // for whoever looks to count in; a read from another connection sets it to 0
};

// Of this thread.
CurrentRead& ThisThreadsRead();

}  // namespace flotilla::rpc::client
