#include "server/broker/disk_watch.h"

#include <glog/logging.h>

#include <chrono>

namespace flotilla::broker {
namespace {

constexpr Duration kLookEvery = std::chrono::seconds(1);

}  // namespace

void DiskWatch::Tick() {
  const MonotonicTime now = clock_.Now();
  if (now < look_at_) return;
  look_at_ = now + kLookEvery;
  seen_ = space_();
  if (!fitness_.Observe({.at = now, .syncs = store_.Syncs(), .space = seen_})) return;
  LOG(WARNING) << (fitness_.fit() ? "disk_fit" : "disk_unfit") << " slow=" << fitness_.slow() << " full=" << fitness_.full()
               << " sync_ms=" << std::chrono::duration_cast<std::chrono::milliseconds>(fitness_.sync_time()).count()
               << " free_mib=" << (fitness_.free_bytes() >> 20);
}

}  // namespace flotilla::broker
