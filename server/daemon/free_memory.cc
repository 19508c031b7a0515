#include "server/daemon/free_memory.h"

#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>

#include "storage/base/limits.h"

namespace flotilla {
namespace {

constexpr uint64_t kWorthBytes = 32 * limits::kMiB;
// A node with less to do than a tenth of a processor is at rest.
constexpr int kBusyShare = 10;

Duration Time(const timeval& time) { return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec); }

}  // namespace

void FreeMemory::Look(MonotonicTime now) {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0 || !IsAtRest(now, Time(usage.ru_utime) + Time(usage.ru_stime))) return;
  if (IsWorthIt(::mallinfo2().fordblks)) ::malloc_trim(0);
}

bool FreeMemory::IsAtRest(MonotonicTime now, Duration cpu_time) {
  const bool first = looked_at_ == MonotonicTime{};
  const bool busy = first || (cpu_time - cpu_time_) * kBusyShare > now - looked_at_;
  looked_at_ = now;
  cpu_time_ = cpu_time;
  return !busy;
}

bool FreeMemory::IsWorthIt(uint64_t free_bytes) {
  free_bytes_min_ = std::min(free_bytes_min_, free_bytes);
  if (free_bytes < free_bytes_min_ + kWorthBytes) return false;
  free_bytes_min_ = free_bytes;
  return true;
}

}  // namespace flotilla
