#include "server/rpc/client/incomplete_requests.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "storage/base/limits.h"

namespace flotilla::rpc::client {
namespace {

using flotilla::limits::kMiB;

// When so much more was read than came whole all are looked at: ten thousand take some milliseconds. What was there at the last look was
// within the limit, so that no more than this is there beyond it, also when all of that has arrived since.
constexpr int64_t kLookBytes = 16 * kMiB;
// Of a connection that seems to hold so much it is asked what its client took: whoever reads a lot sends a little all the time.
constexpr uint64_t kMuch = kMiB;
// Until there is so much room again, or looks and cuts would follow each other.
constexpr uint64_t Room(uint64_t bytes_max) { return bytes_max / 4; }

}  // namespace

void IncompleteRequests::Begin(ConnectionPort& port) {
  const MutexLock lock(mutex_);
  port_ = &port;
}

void IncompleteRequests::End() {
  const MutexLock lock(mutex_);
  port_ = nullptr;
}

void IncompleteRequests::OnRead(size_t bytes) {
  read_.fetch_add(bytes, std::memory_order_relaxed);
  const auto much_since_the_last_look = [this] { return Open() - looked_at_.load(std::memory_order_relaxed) >= kLookBytes; };
  if (!much_since_the_last_look()) return;
  const MutexLock lock(mutex_);
  if (much_since_the_last_look()) LookAtAll();  // or another thread just did
}

void IncompleteRequests::Look() {
  const MutexLock lock(mutex_);
  LookAtAll();
}

void IncompleteRequests::LookAtAll() {
  if (port_ == nullptr) return;
  looked_at_.store(Open(), std::memory_order_relaxed);
  const uint64_t total = Estimate(clock_.Now());
  if (total > bytes_max_) BreakOffLargest(total);
}

uint64_t IncompleteRequests::Estimate(MonotonicTime now) {
  const uint64_t look = ++looks_;
  uint64_t total = 0;
  // First what came whole, then what was read: nothing came whole that was not read.
  const std::unordered_map<std::string, Connections::Counts> all_counts = connections_.TakeCounts();
  for (const ConnectionReads& reads : port_->Reads()) {
    Connection& connection = by_peer_[reads.peer];
    connection.look = look;
    Unfinished& unfinished = connection.unfinished;
    const auto found = all_counts.find(reads.peer);
    const Connections::Counts counts = found == all_counts.end() ? Connections::Counts{} : found->second;  // no call of it was handed over
    connection.unread = counts.unread;
    Unfinished::Totals totals = counts.totals;
    totals.received = reads.bytes;
    totals.acknowledged = unfinished.seen().acknowledged;
    if (counts.none_receiving) {
      unfinished.Forget(now, totals);
      continue;
    }
    unfinished.Look(now, totals);
    unfinished.Forgive(counts.broken_off_calls, counts.broken_off_calls + counts.receiving);
    if (unfinished.bytes() > kMuch) {
      if (const std::optional<SocketTraffic> traffic = port_->Traffic(reads.peer)) {
        totals.acknowledged = traffic->acknowledged;
        unfinished.Look(now, totals);
      }
    }
    if (unfinished.since()) total += unfinished.bytes();
  }
  std::erase_if(by_peer_, [look](const auto& entry) { return entry.second.look != look; });
  return total;
}

void IncompleteRequests::BreakOffLargest(uint64_t total) {
  struct Candidate {
    bool read = false;  // those that wait for us come last
    uint64_t bytes = 0;
    const std::string* peer = nullptr;
  };
  std::vector<Candidate> candidates;
  for (const auto& [peer, connection] : by_peer_) {
    if (!connection.unfinished.since()) continue;
    candidates.push_back({.read = !connection.unread, .bytes = connection.unfinished.bytes(), .peer = &peer});
  }
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return std::tie(a.read, a.bytes, *a.peer) > std::tie(b.read, b.bytes, *b.peer); });
  for (const Candidate& candidate : candidates) {
    if (total <= bytes_max_ - Room(bytes_max_)) return;
    port_->BreakOff(*candidate.peer, "of all connections it has sent most of requests that do not come to their end");
    total -= candidate.bytes;
  }
}

}  // namespace flotilla::rpc::client
