#include "server/daemon/free_memory.h"

#include <glog/logging.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef FLOTILLA_TCMALLOC
#include <gperftools/malloc_extension.h>
#else
#include <malloc.h>
#endif

#include <algorithm>
#include <fstream>

#include "storage/base/limits.h"

namespace flotilla {
namespace {

constexpr uint64_t kWorthBytes = 32 * limits::kMiB;
// A node with less to do than a tenth of a processor is at rest.
constexpr int kBusyShare = 10;

uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t all = 0;
  uint64_t resident = 0;
  statm >> all >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

#ifdef FLOTILLA_TCMALLOC
uint64_t FreeBytes() {
  size_t bytes = 0;
  MallocExtension::instance()->GetNumericProperty("tcmalloc.pageheap_free_bytes", &bytes);
  return bytes;
}
void GiveBack() { MallocExtension::instance()->ReleaseFreeMemory(); }
#else
uint64_t FreeBytes() { return ::mallinfo2().fordblks; }
void GiveBack() { ::malloc_trim(0); }
#endif

Duration Time(const timeval& time) { return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec); }

}  // namespace

void FreeMemory::Look(MonotonicTime now) {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0 || !IsAtRest(now, Time(usage.ru_utime) + Time(usage.ru_stime))) return;
  const Reading before = Read();
  if (!IsWorthIt(before)) return;
  GiveBack();
  low_ = Read();
  LOG(INFO) << "memory_given_back resident_bytes=" << low_.resident << " before=" << before.resident;
}

FreeMemory::Reading FreeMemory::Read() { return {.resident = ResidentBytes(), .free = FreeBytes()}; }

bool FreeMemory::IsAtRest(MonotonicTime now, Duration cpu_time) {
  const bool first = looked_at_ == MonotonicTime{};
  const bool busy = first || (cpu_time - cpu_time_) * kBusyShare > now - looked_at_;
  looked_at_ = now;
  cpu_time_ = cpu_time;
  return !busy;
}

bool FreeMemory::IsWorthIt(const Reading& now) {
  low_ = {.resident = std::min(low_.resident, now.resident), .free = std::min(low_.free, now.free)};
  return now.resident >= low_.resident + kWorthBytes || now.free >= low_.free + kWorthBytes;
}

}  // namespace flotilla
