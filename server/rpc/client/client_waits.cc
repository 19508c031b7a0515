#include "server/rpc/client/client_waits.h"

#include <vector>

namespace flotilla::rpc::client {

void ClientWaits::Begin(Row& row, MonotonicTime now) {
  row.began_ = now;
  const MutexLock lock(mutex_);
  row.place_ = rows_.insert(rows_.end(), &row);
}

void ClientWaits::End(Row& row) {
  const MutexLock lock(mutex_);
  rows_.erase(row.place_);
}

size_t ClientWaits::count() const {
  const MutexLock lock(mutex_);
  return rows_.size();
}

void ClientWaits::CutOff(MonotonicTime before) {
  std::vector<Row*> late;
  {
    const MutexLock lock(mutex_);
    for (auto at = rows_.begin(); at != rows_.end() && (*at)->began_ < before; ++at) late.push_back(*at);
  }
  for (Row* row : late) row->too_slow_();
}

}  // namespace flotilla::rpc::client
