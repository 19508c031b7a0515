// Arbitrary bytes as a partition's snapshot and as the entries behind it: the machine takes them, or stops with a fault; what it then
// is becomes a snapshot that restores to the same.
//
//   input = chunk_bytes (u8) snapshot_bytes (u16) snapshot entry*
//   entry = kind (u8) records (u8) bytes (u8) payload
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "server/partition/partition_machine.h"
#include "storage/base/coding.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla;
using namespace flotilla::partition;

namespace {

class NobodyWatches final : public PartitionMachine::Observer {
 public:
  void OnAdvanced() override {}
  void OnLeadership() override {}
  void OnFault() override {}
};

class Pieces final : public raft::SnapshotReader {
 public:
  explicit Pieces(std::vector<Bytes> pieces) : pieces_(std::move(pieces)) {}
  uint32_t chunks() const override { return static_cast<uint32_t>(pieces_.size()); }
  Result<Bytes> Chunk(uint32_t number) override { return pieces_.at(number); }

 private:
  const std::vector<Bytes> pieces_;
};

std::vector<Bytes> Cut(std::string_view bytes, size_t piece_bytes) {
  std::vector<Bytes> pieces;
  do {
    pieces.push_back(Bytes::Copy(bytes.substr(0, piece_bytes)));
    bytes.remove_prefix(std::min(bytes.size(), piece_bytes));
  } while (!bytes.empty());
  return pieces;
}

storage::Entry NextEntry(ByteReader& in, const storage::LogAnchor& end) {
  storage::Entry entry;
  const auto kind = in.Little<uint8_t>();
  entry.header.kind = storage::IsEntryKind(kind) ? static_cast<storage::EntryKind>(kind) : storage::EntryKind::kData;
  entry.header.group = GroupId{1};
  entry.header.index = end.last.index + 1;
  entry.header.term = Term{1};
  entry.header.base_offset = end.end_offset;
  entry.header.record_count = in.Little<uint8_t>();
  entry.payload = Bytes::Copy(in.Take(std::min<size_t>(in.Little<uint8_t>(), in.remaining())));
  entry.header.payload_bytes = static_cast<uint32_t>(entry.payload.size());
  return entry;
}

// Whatever it is by now: what it sends to another replica is taken there.
void CheckTravels(PartitionMachine& machine, const storage::LogAnchor& anchor) {
  const Result<raft::SnapshotContent> content = machine.Snapshot();
  if (!content.ok()) return;
  NobodyWatches nobody;
  PartitionMachine other({}, nobody);
  Pieces reader(content->chunks);
  const Status restored = other.Restore({.anchor = anchor}, reader);
  CHECK(restored.ok()) << restored;
  std::string before;
  std::string after;
  machine.producers().EncodeTo(&before);
  other.producers().EncodeTo(&after);
  CHECK(before == after);
}

}  // namespace

FLOTILLA_FUZZ(input) {
  ByteReader in(input);
  const size_t piece_bytes = 1 + in.Little<uint8_t>();
  const std::string_view snapshot = in.Take(std::min<size_t>(in.Little<uint16_t>(), in.remaining()));
  NobodyWatches nobody;
  PartitionMachine machine({.checkpoint_bytes = 64, .checkpoint_entries = 2}, nobody);
  storage::LogAnchor end{.last = {Term{1}, LogIndex{5}}, .end_offset = Offset{100}};
  Pieces reader(Cut(snapshot, piece_bytes));
  if (!machine.Restore({.anchor = end}, reader).ok()) {
    Pieces nothing_known({EncodeCheckpoint(
        {.applied = end.last.index, .end_offset = end.end_offset, .log_start = Offset{90}, .producers = ProducerState()})});
    CHECK(machine.Restore({.anchor = end}, nothing_known).ok());
  }
  std::vector<storage::StateWrite> rows;
  while (in.ok() && !in.AtEnd() && machine.fault().ok()) {
    const storage::Entry entry = NextEntry(in, end);
    end = storage::AnchorAfter(entry.header);
    machine.Apply({&entry, 1}, &rows);
  }
  for (const storage::StateWrite& row : rows) CHECK(DecodeCheckpoint(row.value.view(), {}).ok());
  if (machine.fault().ok()) CHECK_LE(machine.log_start(), std::max(machine.high_watermark(), machine.log_start()));
  CheckTravels(machine, end);
}
