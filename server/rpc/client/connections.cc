#include "server/rpc/client/connections.h"

#include <algorithm>
#include <vector>

namespace flotilla::rpc::client {
namespace {

// Those that are gone cost little: 10,000 rows take some milliseconds to look at.
constexpr int kLooksPerCleaning = 10;

}  // namespace

Connections::Row& Connections::Enter(const std::string& peer) {
  Row* row = nullptr;
  {
    const MutexLock lock(mutex_);
    std::unique_ptr<Row>& place = rows_[peer];
    if (place == nullptr) place = std::make_unique<Row>(peer);
    row = place.get();
    row->calls_.fetch_add(1, std::memory_order_relaxed);
  }
  row->calls_begun_.fetch_add(1, std::memory_order_relaxed);
  row->receiving_.fetch_add(1, std::memory_order_relaxed);
  if (row->calls_.load(std::memory_order_relaxed) > limits_.calls_left_max) BreakOff(*row);
  return *row;
}

void Connections::RequestArrived(Row& row, size_t bytes) {
  row.requests_.fetch_add(1, std::memory_order_relaxed);
  row.request_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  size_t empty = row.empty_calls_.load(std::memory_order_relaxed);
  while (empty > 0 && !row.empty_calls_.compare_exchange_weak(empty, empty - std::min(empty, limits_.late_calls_per_empty_call),
                                                              std::memory_order_relaxed)) {
  }
}

void Connections::NoRequest(Row& row, bool late) {
  const size_t weight = late ? 1 : limits_.late_calls_per_empty_call;
  const size_t lately = empty_calls_lately_.fetch_add(weight, std::memory_order_relaxed);
  const bool flooded = lately >= limits_.flood_empty_calls * limits_.late_calls_per_empty_call;
  const size_t limit = (flooded ? limits_.empty_calls_max_in_flood : limits_.empty_calls_max) * limits_.late_calls_per_empty_call;
  if (row.empty_calls_.fetch_add(weight, std::memory_order_relaxed) >= limit) BreakOff(row);
}

void Connections::ReceivingEnded(Row& row, bool whole) {
  if (!whole) {
    row.forget_.store(true, std::memory_order_relaxed);
    row.broken_off_calls_.fetch_add(1, std::memory_order_relaxed);
  }
  if (row.receiving_.fetch_sub(1, std::memory_order_relaxed) == 1) row.none_receiving_.store(true, std::memory_order_relaxed);
}

std::unordered_map<std::string, Connections::Counts> Connections::TakeCounts() {
  const MutexLock lock(mutex_);
  std::unordered_map<std::string, Counts> counts;
  counts.reserve(rows_.size());
  for (const auto& [peer, row] : rows_) {
    counts.emplace(peer, Counts{.totals = row->Totals(),
                                .receiving = row->receiving_.load(std::memory_order_relaxed),
                                .broken_off_calls = row->broken_off_calls_.exchange(0, std::memory_order_relaxed),
                                .none_receiving = row->none_receiving_.exchange(false, std::memory_order_relaxed),
                                .unread = row->unread > 0});
  }
  return counts;
}

size_t Connections::count() const {
  const MutexLock lock(mutex_);
  return rows_.size();
}

void Connections::Look() {
  empty_calls_lately_.store(0, std::memory_order_relaxed);
  if (++looks_ % kLooksPerCleaning == 0) ForgetThoseGone();
}

void Connections::ForgetThoseGone() {
  const auto is_idle = [](const Row& row) { return row.calls_.load(std::memory_order_acquire) == 0; };
  std::vector<std::string> gone;
  {
    const MutexLock lock(mutex_);
    for (const auto& [peer, row] : rows_) {
      if (is_idle(*row)) gone.push_back(peer);
    }
  }
  if (port_ != nullptr) std::erase_if(gone, [&](const std::string& peer) { return port_->IsOpen(peer); });
  const MutexLock lock(mutex_);
  for (const std::string& peer : gone) {
    const auto found = rows_.find(peer);
    if (found != rows_.end() && is_idle(*found->second)) rows_.erase(found);
  }
}

std::optional<MonotonicTime> Connections::UnfinishedSince(Row& row, MonotonicTime now) {
  Unfinished::Totals totals = row.Totals();
  const std::optional<SocketTraffic> traffic = port_ == nullptr ? std::nullopt : port_->Traffic(row.peer);
  if (!traffic) return std::nullopt;
  totals.received = traffic->received;
  totals.acknowledged = traffic->acknowledged;
  if (row.forget_.exchange(false, std::memory_order_relaxed) || row.unread > 0) {
    row.unfinished_.Forget(now, totals);
  } else {
    row.unfinished_.Look(now, totals);
  }
  return row.unfinished_.since();
}

}  // namespace flotilla::rpc::client
