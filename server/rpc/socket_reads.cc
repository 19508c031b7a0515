#include "server/rpc/socket_reads.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <utility>

#include "storage/base/mutex.h"

namespace flotilla::rpc {
namespace {

thread_local CurrentRead current_read;

// A descriptor, whatever it stands for.
struct Slot {
  std::atomic<bool> counted{false};
  std::atomic<uint64_t> bytes{0};
  Mutex mutex;
  std::shared_ptr<ReadListener> listener FLOTILLA_GUARDED_BY(mutex);
};

// A million descriptors, by the thousand as they are needed, and for good: numbers of descriptors come again.
constexpr size_t kSlotsAtOnce = 1024;
using Slots = std::array<Slot, kSlotsAtOnce>;
std::array<std::atomic<Slots*>, 1024> all_slots;

Slot* Find(int fd) {
  const auto number = static_cast<size_t>(fd);
  if (fd < 0 || number / kSlotsAtOnce >= all_slots.size()) return nullptr;
  Slots* slots = all_slots[number / kSlotsAtOnce].load(std::memory_order_acquire);
  return slots == nullptr ? nullptr : &(*slots)[number % kSlotsAtOnce];
}

Slot* FindOrMake(int fd) {
  const auto number = static_cast<size_t>(fd);
  if (fd < 0 || number / kSlotsAtOnce >= all_slots.size()) return nullptr;
  std::atomic<Slots*>& place = all_slots[number / kSlotsAtOnce];
  if (place.load(std::memory_order_acquire) == nullptr) {
    auto made = std::make_unique<Slots>();
    Slots* none = nullptr;
    if (place.compare_exchange_strong(none, made.get(), std::memory_order_acq_rel)) made.release();
  }
  return Find(fd);
}

void Count(int fd, size_t bytes) {
  Slot* slot = Find(fd);
  if (slot == nullptr || !slot->counted.load(std::memory_order_acquire)) return;
  slot->bytes.fetch_add(bytes, std::memory_order_relaxed);
  std::shared_ptr<ReadListener> listener;
  {
    const MutexLock lock(slot->mutex);
    listener = slot->listener;
  }
  if (listener != nullptr) listener->OnRead(bytes);
}

}  // namespace

CurrentRead& ThisThreadsRead() { return current_read; }

void CountReads(int fd, std::shared_ptr<ReadListener> listener) {
  Slot* slot = FindOrMake(fd);
  if (slot == nullptr) return;
  const MutexLock lock(slot->mutex);
  slot->listener = std::move(listener);
  slot->bytes.store(0, std::memory_order_relaxed);
  slot->counted.store(true, std::memory_order_release);
}

void StopCounting(int fd, const ReadListener* listener) {
  Slot* slot = Find(fd);
  if (slot == nullptr) return;
  const MutexLock lock(slot->mutex);
  if (slot->listener.get() != listener) return;
  slot->counted.store(false, std::memory_order_release);
  slot->listener.reset();
}

uint64_t BytesRead(int fd) {
  const Slot* slot = Find(fd);
  return slot == nullptr ? 0 : slot->bytes.load(std::memory_order_relaxed);
}

}  // namespace flotilla::rpc

// The one that libgrpc finds: it is linked dynamically, and what the program itself has comes first.
extern "C" ssize_t recvmsg(int fd, msghdr* message, int flags) {
  flotilla::rpc::CurrentRead& read = flotilla::rpc::ThisThreadsRead();
  if (read.fd != fd) read = {.fd = fd};
  const auto got = static_cast<ssize_t>(::syscall(SYS_recvmsg, fd, message, flags));
  if (got > 0) flotilla::rpc::Count(fd, static_cast<size_t>(got));
  return got;
}
