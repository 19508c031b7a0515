// To be preloaded: a process whose wall clock is off by so many seconds. Its monotonic clock is not. The seconds are the number in the
// file FLOTILLA_CLOCK_SHIFT_FILE, 8 bytes as the processor has them; whoever writes another one there moves the clock.
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

time_t Shift() {
  static const std::atomic<int64_t>* const shift = [] {
    static constinit std::atomic<int64_t> right = 0;
    const char* path = std::getenv("FLOTILLA_CLOCK_SHIFT_FILE");
    const int file = path == nullptr ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return &right;
    void* const number = mmap(nullptr, sizeof right, PROT_READ, MAP_SHARED, file, 0);
    return number == MAP_FAILED ? &right : static_cast<std::atomic<int64_t>*>(number);
  }();
  return static_cast<time_t>(shift->load(std::memory_order_relaxed));
}

template <typename Function>
Function Real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  static const auto real = Real<int (*)(clockid_t, timespec*)>("clock_gettime");
  const int result = real(clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += Shift();
  return result;
}

int gettimeofday(timeval* now, void* zone) noexcept {
  static const auto real = Real<int (*)(timeval*, void*)>("gettimeofday");
  const int result = real(now, zone);
  if (result == 0) now->tv_sec += Shift();
  return result;
}

time_t time(time_t* now) noexcept {
  static const auto real = Real<time_t (*)(time_t*)>("time");
  const time_t result = real(nullptr) + Shift();
  if (now != nullptr) *now = result;
  return result;
}

// Abseil, and gRPC's timers with it, waits until a time of the wall clock: the kernel has the true one.
long syscall(long number, ...) noexcept {
  static const auto real = Real<long (*)(long, ...)>("syscall");
  va_list arguments;
  va_start(arguments, number);
  long words[6];
  for (long& word : words) word = va_arg(arguments, long);
  va_end(arguments);
  timespec until;
  if (number == SYS_futex && (words[1] & FUTEX_CLOCK_REALTIME) != 0 && words[3] != 0) {
    until = *reinterpret_cast<const timespec*>(words[3]);
    until.tv_sec -= Shift();
    words[3] = reinterpret_cast<long>(&until);
  }
  return real(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

}  // extern "C"
