#include "server/rpc/client/current_read.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace flotilla::rpc::client {
namespace {

thread_local CurrentRead current_read;

}  // namespace

CurrentRead& ThisThreadsRead() { return current_read; }

}  // namespace flotilla::rpc::client

// The one that libgrpc finds: it is linked dynamically, and what the program itself has comes first.
extern "C" ssize_t recvmsg(int fd, msghdr* message, int flags) {
  flotilla::rpc::client::CurrentRead& read = flotilla::rpc::client::ThisThreadsRead();
  if (read.fd != fd) read = {.fd = fd};
  return static_cast<ssize_t>(::syscall(SYS_recvmsg, fd, message, flags));
}
