// To be preloaded: a process whose wall clock is off by FLOTILLA_CLOCK_SHIFT_S seconds. Its monotonic clock is not.
#include <dlfcn.h>
#include <sys/time.h>

#include <cstdlib>
#include <ctime>

namespace {

time_t Shift() {
  static const time_t shift = [] {
    const char* text = std::getenv("FLOTILLA_CLOCK_SHIFT_S");
    return text == nullptr ? time_t{0} : static_cast<time_t>(std::atoll(text));
  }();
  return shift;
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

}  // extern "C"
