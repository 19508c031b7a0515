#include "server/daemon/descriptors.h"

#include <sys/resource.h>

#include <algorithm>

#include "server/rpc/peer/peer_limits.h"

namespace flotilla {
namespace {

// RocksDB keeps its tables open: 64 MiB each, so 256 GiB of data. Above that the limit has to be raised by hand.
constexpr uint64_t kStoreFiles = 4096;
// Connections to other nodes, HTTP, pollers, timers, logs.
constexpr uint64_t kOthers = 512;
constexpr uint64_t kReserved = kStoreFiles + kOthers + rpc::kPeerConnectionsMax;
// With a limit that is too small for all that, still somebody has to be able to look what is wrong.
constexpr size_t kConnectionsMin = 64;

}  // namespace

uint64_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlimit raised{.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
  if (limit.rlim_cur < limit.rlim_max && ::setrlimit(RLIMIT_NOFILE, &raised) == 0) return raised.rlim_cur;
  return limit.rlim_cur;
}

size_t ConnectionsWithin(uint64_t descriptors, size_t wanted) {
  const uint64_t left = descriptors - std::min(descriptors, kReserved);
  return std::min(wanted, std::max<size_t>(left, kConnectionsMin));
}

}  // namespace flotilla
