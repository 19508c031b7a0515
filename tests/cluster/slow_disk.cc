// To be preloaded: a process whose syncs take so many milliseconds longer as stands in the file FLOTILLA_SLOW_DISK, now.
#include <dlfcn.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

void Wait() {
  static const char* const path = std::getenv("FLOTILLA_SLOW_DISK");
  std::FILE* const file = path == nullptr ? nullptr : std::fopen(path, "re");
  if (file == nullptr) return;
  long millis = 0;
  const bool said = std::fscanf(file, "%ld", &millis) == 1;
  std::fclose(file);
  if (said && millis > 0) std::this_thread::sleep_for(std::chrono::milliseconds(millis));
}

template <typename Function>
Function Real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int fdatasync(int file) {
  static const auto real = Real<int (*)(int)>("fdatasync");
  Wait();
  return real(file);
}

int fsync(int file) {
  static const auto real = Real<int (*)(int)>("fsync");
  Wait();
  return real(file);
}

}  // extern "C"
