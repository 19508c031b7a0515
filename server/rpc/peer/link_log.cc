#include "server/rpc/peer/link_log.h"

#include <glog/logging.h>

#include "server/errors/refusal.h"

namespace flotilla::rpc {

void LinkLog::Up() {
  {
    MutexLock lock(mutex_);
    if (++up_ < streams_ || (told_up_ && !told_down_)) return;
    told_up_ = true;
    told_down_ = false;
  }
  LOG(INFO) << "peer connected node=" << peer_.id << " address=" << peer_.address << " uuid=" << peer_.uuid;
}

void LinkLog::Down(const char* stream, bool was_up, const Status& why) {
  uint64_t silent = 0;
  {
    MutexLock lock(mutex_);
    if (was_up) --up_;
    const Refusal refusal = RefusalOf(why);
    const std::string trouble(refusal == Refusal::kNone ? ReasonName(why.reason()) : RefusalName(refusal));
    if (!Worth(trouble)) {
      ++silent_;
      return;
    }
    last_trouble_ = trouble;
    last_told_ = clock_.Now();
    told_down_ = true;
    silent = std::exchange(silent_, 0);
  }
  LOG(WARNING) << (was_up ? "peer connection broke" : "peer cannot be reached") << " node=" << peer_.id << " address=" << peer_.address
               << " stream=" << stream << " not_logged_before=" << silent << " reason=\"" << why << "\"; trying again";
}

// While it is down only trouble of another kind is news; when it was up in between, any is, but not all the
// time.
bool LinkLog::Worth(const std::string& trouble) {
  if (last_trouble_.empty()) return true;
  const bool due = clock_.Now() - last_told_ >= interval_;
  if (told_down_) return trouble != last_trouble_ && due;
  return due;
}

}  // namespace flotilla::rpc
