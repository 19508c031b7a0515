#include "raft/node/snapshot_sender.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "raft/node/group.h"
#include "raft/node/node_context.h"
#include "storage/base/crc32c.h"

namespace flotilla::raft {

SnapshotSender::Transfers::iterator SnapshotSender::Find(const Group& group, ReplicaId to) {
  return std::find_if(transfers_.begin(), transfers_.end(),
                      [&](const Transfer& transfer) { return transfer.group == &group && transfer.to == to; });
}

void SnapshotSender::Start(Group& group, ReplicaId to, Term term, const storage::SnapshotMeta& meta) {
  CHECK_GT(meta.chunks, 0u);
  CHECK(to.node != node_.options.node) << "a transfer to this node itself, replica " << to;
  if (const auto old = Find(group, to); old != transfers_.end()) Erase(old);
  transfers_.push_back({.number = ++last_number_,
                        .group = &group,
                        .to = to,
                        .term = term,
                        .meta = meta,
                        .window = 1,
                        .heard_at = node_.now,
                        .wait_ticks = node_.options.core.resend_ticks,
                        .retry_at = node_.now + node_.options.core.resend_ticks});
  LOG(INFO) << "snapshot transfer begins group=" << group.id() << " to=" << to << " anchor=" << meta.anchor.last
            << " chunks=" << meta.chunks << " bytes=" << meta.bytes;
  node_.ScheduleTurn();
}

void SnapshotSender::Prune(Group& group) {
  const RaftCore& core = group.core();
  const bool leads = core.role() == Role::kLeader;
  for (auto it = transfers_.begin(); it != transfers_.end();) {
    const auto transfer = it++;
    if (transfer->group != &group) continue;
    if (!leads || transfer->term != core.term() || !core.configuration().Contains(transfer->to)) Erase(transfer);
  }
}

void SnapshotSender::StopAll(Group& group) {
  for (auto it = transfers_.begin(); it != transfers_.end();) {
    const auto transfer = it++;
    if (transfer->group == &group) Erase(transfer);
  }
}

bool SnapshotSender::Uses(const Group& group, uint64_t snapshot) const {
  return std::any_of(transfers_.begin(), transfers_.end(),
                     [&](const Transfer& transfer) { return transfer.group == &group && transfer.meta.id == snapshot; });
}

LogIndex SnapshotSender::AnchorFor(const Group& group, ReplicaId to) const {
  const auto transfer = const_cast<SnapshotSender*>(this)->Find(group, to);
  return transfer == transfers_.end() ? LogIndex{0} : transfer->meta.anchor.last.index;
}

// --- answers

void SnapshotSender::OnReply(Group& group, const SnapshotChunkReply& reply) {
  const auto transfer = Find(group, reply.from);
  if (transfer == transfers_.end() || reply.snapshot_id != transfer->meta.id || reply.anchor != transfer->meta.anchor.last.index ||
      reply.next > transfer->meta.chunks) {
    return;  // of an earlier transfer
  }
  node_.ScheduleTurn();
  if (reply.done) {
    End(transfer, true);
    return;
  }
  transfer->heard_at = node_.now;
  transfer->paused = reply.refused;
  if (reply.refused) {
    Rewind(*transfer, reply.next);
    transfer->window = 1;
    transfer->retry_at = node_.now + node_.options.core.disk_full_retry_ticks;
    return;
  }
  transfer->wait_ticks = node_.options.core.resend_ticks;
  transfer->retry_at = node_.now + transfer->wait_ticks;
  if (reply.next > transfer->acknowledged) {
    const uint32_t arrived = std::min(reply.next, transfer->next) - transfer->acknowledged;
    inflight_ -= arrived;
    transfer->acknowledged = reply.next;
    transfer->next = std::max(transfer->next, reply.next);
    transfer->window = node_.options.snapshot_chunks_inflight_max;
  } else if (reply.next < transfer->acknowledged) {
    Rewind(*transfer, reply.next);  // it had to begin anew
    transfer->gap_seen_at = ~0u;
  } else if (transfer->gap_seen_at != reply.next) {
    // The one it needs was lost or damaged. Once per place: what else is on its way answers the same.
    transfer->gap_seen_at = reply.next;
    Rewind(*transfer, reply.next);
  }
}

void SnapshotSender::Rewind(Transfer& transfer, uint32_t to) {
  inflight_ -= transfer.next - transfer.acknowledged;
  transfer.next = transfer.acknowledged = to;
}

void SnapshotSender::End(Transfers::iterator transfer, bool ok) {
  Group& group = *transfer->group;
  const ReplicaId to = transfer->to;
  const LogIndex anchor = transfer->meta.anchor.last.index;
  LOG(INFO) << "snapshot transfer ends group=" << group.id() << " to=" << to << " ok=" << ok;
  Erase(transfer);
  group.SnapshotSent(to, ok ? std::optional<LogIndex>(anchor) : std::nullopt);
}

void SnapshotSender::Erase(Transfers::iterator transfer) {
  inflight_ -= transfer->next - transfer->acknowledged;
  Group& group = *transfer->group;
  const uint64_t snapshot = transfer->meta.id;
  transfers_.erase(transfer);
  group.SnapshotReleased(snapshot);
}

void SnapshotSender::PeerUnreachable(NodeId node) {
  for (Transfer& transfer : transfers_) {
    if (transfer.to.node != node || transfer.paused) continue;
    Rewind(transfer, transfer.acknowledged);
    transfer.window = 1;
    // Not at once: what is sent to somebody who is not there comes back as this news, of which every transfer to him would make more.
    transfer.paused = true;
  }
}

// --- sending

void SnapshotSender::Tick() {
  const auto allowance = static_cast<int64_t>(node_.options.snapshot_bytes_per_tick);
  // What was sent too much counts on; what was not sent does not.
  budget_ = std::min<int64_t>(budget_ + allowance, allowance);
  for (auto it = transfers_.begin(); it != transfers_.end();) {
    const auto transfer = it++;
    if (node_.now < transfer->retry_at) continue;
    if (node_.now >= transfer->heard_at + node_.options.snapshot_timeout_ticks) {
      End(transfer, false);
      continue;
    }
    transfer->paused = false;
    // Of one that has it all, the last answer was lost: asked again by the last chunk.
    Rewind(*transfer, std::min(transfer->acknowledged, transfer->meta.chunks - 1));
    transfer->window = 1;
    transfer->wait_ticks = std::min<raft::Tick>(transfer->wait_ticks * 2, node_.options.core.resend_ticks * 8);
    transfer->retry_at = node_.now + transfer->wait_ticks;
  }
}

bool SnapshotSender::CanSend(const Transfer& transfer) const {
  return !transfer.paused && transfer.next < transfer.meta.chunks && transfer.next - transfer.acknowledged < transfer.window;
}

// In turns, a chunk each, so that a large snapshot does not hold up a small one.
void SnapshotSender::Pump() {
  size_t idle = 0;
  while (idle < transfers_.size() && budget_ > 0 && inflight_ < node_.options.snapshot_chunks_inflight_max) {
    Transfer& transfer = transfers_.front();
    if (CanSend(transfer)) {
      SendNext(transfer);
      idle = 0;
    } else {
      ++idle;
    }
    transfers_.splice(transfers_.end(), transfers_, transfers_.begin());
  }
}

void SnapshotSender::SendNext(Transfer& transfer) {
  const Group& group = *transfer.group;
  budget_ -= static_cast<int64_t>(transfer.meta.bytes / transfer.meta.chunks + 1);
  ++inflight_;
  node_.Read({.group = group.id(),
              .opening = group.opening(),
              .wanted = ChunkWanted{.transfer = transfer.number, .snapshot = transfer.meta.id, .number = transfer.next++}});
}

void SnapshotSender::OnChunkRead(Group& group, uint64_t number, uint32_t chunk, Result<Bytes> data) {
  const auto transfer =
      std::find_if(transfers_.begin(), transfers_.end(), [&](const Transfer& candidate) { return candidate.number == number; });
  if (transfer == transfers_.end()) return;
  if (!data.ok()) {
    group.Fail(data.status());  // what was once synced is missing or damaged
    return;
  }
  group.CountChunkSent();
  const uint32_t checksum = crc32c::Value(data->view());
  node_.outbox.Add(SnapshotChunk{.group = group.id(),
                                 .from = group.core().self(),
                                 .to = transfer->to,
                                 .term = transfer->term,
                                 .meta = transfer->meta,
                                 .number = chunk,
                                 .data = *std::move(data),
                                 .checksum = checksum});
  node_.ScheduleTurn();
}

}  // namespace flotilla::raft
