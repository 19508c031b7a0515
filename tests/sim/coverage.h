// How often each thing that a run can meet was really met. A fault that is switched on and never happens
// proves nothing, so a long run in which a row stays at zero fails.
#pragma once

#include <array>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace flotilla::sim {

enum class Met : uint8_t {
  // network
  kMessageDelivered,
  kMessageLost,
  kMessageRepeated,
  kMessageOvertaken,
  kMessageSplit,
  kMessageCut,
  kMessageToDeadNode,
  kMessageToEarlierIncarnation,
  kConnectionBroken,
  kOneWayCut,
  kPartition,
  kBurst,
  // nodes
  kProcessKilled,
  kPowerCut,
  kCrashBeforeSend,
  kCrashBeforeSubmit,
  kCrashBeforeApply,
  kCrashBeforeAnswer,
  kPause,
  kClockChanged,
  kWholeClusterDown,
  // disks
  kUnsyncedLost,
  kUnsyncedTorn,
  kUnsyncedKept,
  kSyncFailed,
  kWriteFailed,
  kDiskFull,
  kAppendRefusedDiskFull,
  kDiskSlow,
  kBitFlipped,
  kChunkFlipped,
  kDamageFound,
  kWiped,
  kReplaced,
  // operations
  kProposalApplied,
  kProposalRefused,
  kProposalNotLeader,
  kProposalUnknown,
  kProposalLostWithNode,
  kProposalOverloaded,
  kReadOnLeader,
  kReadOnFollower,
  kReadFailed,
  kLearnerAdded,
  kPromoted,
  kDemoted,
  kRemoved,
  kLeaderRemoved,
  kSeveralAtOnce,
  kChangeRefused,
  kTransferBegun,
  kSnapshotTaken,
  kSnapshotInstalled,
  kLogTrimmed,
  kSuffixOverwritten,
  kPriorityChanged,
  kGroupCreated,
  kGroupDestroyed,
  // transitions of role
  kFollowerToPreCandidate,
  kPreCandidateToCandidate,
  kCandidateToLeader,
  kPreCandidateToFollower,
  kCandidateToFollower,
  kLeaderToFollower,
  // transitions of configuration, as committed
  kSimpleToSimple,
  kSimpleToJoint,
  kJointToSimple,
  kCount,
};
inline constexpr size_t kMetCount = static_cast<size_t>(Met::kCount);
std::string_view MetName(Met what);

class Coverage {
 public:
  void Add(Met what, uint64_t times = 1) { counts_[static_cast<size_t>(what)] += times; }
  uint64_t Of(Met what) const { return counts_[static_cast<size_t>(what)]; }
  void Merge(const Coverage& other);
  // Names of what never happened.
  std::vector<std::string_view> Missing() const;
  void Print(std::ostream& out) const;

  // All counts in one line, for a pipe between processes.
  std::string Encode() const;
  // False: not what Encode makes.
  bool Decode(std::string_view text);

 private:
  std::array<uint64_t, kMetCount> counts_{};
};

}  // namespace flotilla::sim
