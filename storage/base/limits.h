// Every limit of the project, in one place, with its reason. Relations between them are proved at the end.
#pragma once

#include <cstddef>
#include <cstdint>

namespace flotilla::limits {

inline constexpr size_t kKiB = 1024;
inline constexpr size_t kMiB = 1024 * kKiB;
inline constexpr size_t kGiB = 1024 * kMiB;

// --- Entries and messages

// The payload of one log entry, which is one batch of records: the largest request that a client may send.
inline constexpr size_t kEntryPayloadBytesMax = 8 * kMiB;
// Records in one entry: bounds what a walk over a batch costs, and keeps the count within 32 bits with room.
inline constexpr uint32_t kEntryRecordsMax = 1 << 20;
// Entries in one append message. A message of tiny entries must not take a follower long to check.
inline constexpr size_t kAppendEntriesMax = 4096;
// Bytes of entries coalesced into one append message: above about 1 MiB a connection only queues.
inline constexpr size_t kAppendBytesMax = kMiB;
// Appends on their way to one follower: enough for the round trip, little enough that a slow one queues nothing.
inline constexpr size_t kInflightMessagesMax = 64;
inline constexpr size_t kInflightBytesMax = 2 * kMiB;
// Bytes proposed and not yet committed in one group. Above it proposals are refused: memory stays bounded when a quorum
// is lost.
inline constexpr size_t kUncommittedBytesMax = 64 * kMiB;
// Entries kept in memory after they were committed, so that a follower a little behind costs no read. Per group.
inline constexpr size_t kTailBytesMax = 4 * kMiB;
// Reads that wait for a heartbeat round, per group.
inline constexpr size_t kPendingReadsMax = 64 * 1024;

// --- Groups

// Replicas named by one configuration, old and new voters and learners together.
inline constexpr size_t kReplicasPerGroupMax = 32;
// Groups with a replica on one node.
inline constexpr size_t kGroupsPerNodeMax = 100'000;
// A learner may become a voter when it lags no more than this many entries: the joint configuration must not wait for it.
inline constexpr uint64_t kPromotionLagEntriesMax = 1024;

// --- Storage

// One synced write. With twice as much the two threads of the writer overlap less, and each write takes longer.
inline constexpr size_t kWriteGroupBytesMax = kMiB;
// What one group may put into a synced write while others wait.
inline constexpr size_t kWriteGroupShareBytes = 512 * kKiB;
// Bytes queued for the writer of a node, all groups together. The queue is emptied once a sync, so this is seconds of work.
inline constexpr size_t kWriteQueueBytesMax = 256 * kMiB;
// Free space below which appends are refused. It is for memtables to flush, files to be rewritten, and votes to be cast.
inline constexpr uint64_t kDiskReserveBytes = 256 * kMiB;
// Column families for logs: created once; a thousand would pin the WAL and stall writes.
inline constexpr uint32_t kLogFamiliesDefault = 32;
inline constexpr uint32_t kLogFamiliesMax = 100;
// A state machine's snapshot travels and is stored in chunks of this size.
inline constexpr size_t kSnapshotChunkBytes = 256 * kKiB;
// A whole snapshot of a state machine.
inline constexpr uint64_t kSnapshotBytesMax = kGiB;
// Bytes of rows that one state machine may attach to one write.
inline constexpr size_t kStateWriteBytesMax = 16 * kMiB;

static_assert(kAppendBytesMax <= kInflightBytesMax, "one message must fit into the window");
static_assert(kEntryPayloadBytesMax <= kUncommittedBytesMax, "the largest entry must be admissible");
static_assert(kWriteGroupShareBytes <= kWriteGroupBytesMax);
static_assert(kUncommittedBytesMax <= kWriteQueueBytesMax, "one group alone cannot fill the writer's queue");
static_assert(kLogFamiliesDefault <= kLogFamiliesMax);

}  // namespace flotilla::limits
