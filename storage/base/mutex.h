// A mutex whose discipline clang checks (-Wthread-safety): what it guards says so, and who needs it held says
// so.
//
//   mutable Mutex mutex_;
//   size_t size_ FLOTILLA_GUARDED_BY(mutex_) = 0;
//
// Never held over I/O or a call to somebody else's code.
#pragma once

#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define FLOTILLA_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define FLOTILLA_THREAD_ATTRIBUTE(x)
#endif
#define FLOTILLA_CAPABILITY(x) FLOTILLA_THREAD_ATTRIBUTE(capability(x))
#define FLOTILLA_SCOPED_CAPABILITY FLOTILLA_THREAD_ATTRIBUTE(scoped_lockable)
#define FLOTILLA_GUARDED_BY(x) FLOTILLA_THREAD_ATTRIBUTE(guarded_by(x))
#define FLOTILLA_REQUIRES(...) FLOTILLA_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define FLOTILLA_EXCLUDES(...) FLOTILLA_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define FLOTILLA_ACQUIRE(...) FLOTILLA_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define FLOTILLA_RELEASE(...) FLOTILLA_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))

namespace flotilla {

class FLOTILLA_CAPABILITY("mutex") Mutex {
 public:
  void lock() FLOTILLA_ACQUIRE() { mutex_.lock(); }
  void unlock() FLOTILLA_RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class FLOTILLA_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) FLOTILLA_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() FLOTILLA_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits on a Mutex that the caller holds. Waits may end early: ask for the condition in a loop.
class ConditionVariable {
 public:
  void Wait(Mutex& mutex) FLOTILLA_REQUIRES(mutex) { condition_.wait(mutex); }
  template <typename Period>
  void WaitFor(Mutex& mutex, Period period) FLOTILLA_REQUIRES(mutex) {
    condition_.wait_for(mutex, period);
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable_any condition_;
};

}  // namespace flotilla
