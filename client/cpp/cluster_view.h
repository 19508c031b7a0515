// What the client knows of the cluster: which nodes there are, how many partitions a topic has, who leads them. From metadata
// answers and from hints; may be old, which costs a hop and no more. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace flotilla::v1 {
class GetMetadataResponse;
class LeaderHint;
}  // namespace flotilla::v1

namespace flotilla::client {

class ClusterView {
 public:
  // How long a node that failed is asked last.
  static constexpr Duration kAvoidFor = std::chrono::seconds(1);

  ClusterView(const Clock& clock, std::vector<std::string> bootstrap) : clock_(clock), bootstrap_(std::move(bootstrap)) {}

  void Learn(const v1::GetMetadataResponse& answer);
  // Ignored when an epoch at least as new is known.
  void Learn(const v1::LeaderHint& hint);
  // The node could not be reached, or lost a call.
  void Avoid(const std::string& address);
  void Reached(const std::string& address);

  std::optional<int32_t> PartitionCount(std::string_view topic) const;
  void Forget(std::string_view topic);
  // Where to send what is for this partition: its leader, else any node. Empty only when no broker was given.
  std::string AddressFor(std::string_view topic, int32_t partition) const;
  // All addresses, those that failed lately last. Begins with another one after each Avoid.
  std::vector<std::string> Addresses() const;

 private:
  struct Leader {
    int32_t node_id = 0;
    int64_t epoch = -1;
  };
  struct Topic {
    std::string id;
    int32_t partition_count = 0;
    std::map<int32_t, Leader> leaders;
  };
  bool Avoided(const std::string& address) const FLOTILLA_REQUIRES(mutex_);
  std::vector<std::string> AddressesLocked() const FLOTILLA_REQUIRES(mutex_);

  const Clock& clock_;
  const std::vector<std::string> bootstrap_;
  mutable Mutex mutex_;
  std::map<int32_t, std::string> nodes_ FLOTILLA_GUARDED_BY(mutex_);  // client addresses
  std::map<std::string, Topic, std::less<>> topics_ FLOTILLA_GUARDED_BY(mutex_);
  std::map<std::string, MonotonicTime, std::less<>> avoided_until_ FLOTILLA_GUARDED_BY(mutex_);
  size_t first_ FLOTILLA_GUARDED_BY(mutex_) = 0;
};

}  // namespace flotilla::client
