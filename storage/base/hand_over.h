// Tells ThreadSanitizer of an order that it cannot see: what one thread did before Give() is seen by whoever calls
// Take() later. Orders nothing by itself, and costs nothing in other builds.
//
//   HandOver handed_;
//   handed_.Give();  library.Start(this);       // one thread
//   void OnDone() { handed_.Take(); ... }       // another one, called by the library
//
// Only for what a library promises and orders inside, where it is not instrumented (Debian's gRPC: a completion comes
// behind the operation that it completes). Our own threads have a mutex or an atomic; with this instead of one, the tool
// is silent about a race that is there.
#pragma once

#if defined(__SANITIZE_THREAD__)
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}
#endif

namespace flotilla {

class HandOver {
 public:
#if defined(__SANITIZE_THREAD__)
  void Give() { __tsan_release(this); }
  void Take() { __tsan_acquire(this); }
#else
  void Give() {}
  void Take() {}
#endif
};

// While one lives, what this thread touches is not watched. For reading what a library received into memory of its own: each word of
// that would be a report, and a message of some MiB would take minutes, even where suppressions drop them all. And for file descriptors
// that a library closes: the tool does not see that, and takes the next one of the same number for the same.
class Unwatched {
 public:
#if defined(__SANITIZE_THREAD__)
  Unwatched() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~Unwatched() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
#else
  Unwatched() {}
  ~Unwatched() {}
#endif
  Unwatched(const Unwatched&) = delete;
  Unwatched& operator=(const Unwatched&) = delete;
};

}  // namespace flotilla
