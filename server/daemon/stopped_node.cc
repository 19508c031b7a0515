#include "server/daemon/stopped_node.h"

#include <chrono>
#include <ostream>
#include <string_view>
#include <vector>

#include "flotilla/v1/records.pb.h"
#include "raft/core/configuration.h"
#include "server/daemon/node_state_file.h"
#include "server/metadata/metadata_machine.h"
#include "server/metadata/records.h"
#include "server/partition/batch.h"
#include "server/partition/codec.h"
#include "server/partition/partition_machine.h"
#include "storage/rocks/stopped_store.h"

namespace flotilla {
namespace {

constexpr int kExitFailed = 1;
constexpr size_t kShownKeyBytes = 64;
constexpr size_t kDumpBytes = 4 << 20;
constexpr std::chrono::seconds kProgressEvery{2};

// Printable, and no longer than is good.
std::string Shown(std::string_view bytes) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string text = "\"";
  for (const char c : bytes.substr(0, kShownKeyBytes)) {
    if (c >= ' ' && c < 127 && c != '"' && c != '\\') {
      text += c;
    } else {
      text += "\\x";
      text += kHex[static_cast<unsigned char>(c) >> 4];
      text += kHex[static_cast<unsigned char>(c) & 15];
    }
  }
  return text + (bytes.size() > kShownKeyBytes ? "\"..." : "\"");
}

class Progress {
 public:
  explicit Progress(const Talk& talk) : talk_(talk) {}
  ~Progress() { End(); }

  void Show(const storage::Verification& found) {
    const auto now = std::chrono::steady_clock::now();
    if (!talk_.err_is_terminal || now < next_) return;
    next_ = now + kProgressEvery;
    shown_ = true;
    talk_.err << "\r\033[Kgroups " << found.groups << ", entries " << found.entries << ", " << (found.bytes >> 20) << " MiB" << std::flush;
  }
  void End() {
    if (shown_) talk_.err << "\r\033[K" << std::flush;
    shown_ = false;
  }

 private:
  const Talk& talk_;
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now();
  bool shown_ = false;
};

// --- dump-log

void ListGroups(const storage::StoppedStore& store, const Talk& talk) {
  talk.out << "GROUP  LABEL  REPLICA  TERM  COMMIT  FIRST  LAST  OFFSETS  MEMBERS\n";
  for (const GroupId group : store.logs().Groups()) {
    const Result<storage::GroupState> state = store.logs().Load(group);
    if (!state.ok()) continue;
    const storage::LogBounds& bounds = state->bounds;
    const Result<raft::Configuration> members = raft::DecodeConfiguration(
        (state->configurations.empty() ? state->snapshot.configuration : state->configurations.back().payload).view());
    talk.out << group << "  " << (state->identity.label.empty() ? "-" : state->identity.label) << "  " << state->identity.self << "  "
             << state->hard_state.term << "  " << state->hard_state.commit << "  " << bounds.first_index() << "  " << bounds.last_index()
             << "  [" << bounds.start.end_offset << "," << bounds.end.end_offset << ")  "
             << (members.ok() ? raft::ToString(*members) : std::string(members.status().message())) << '\n';
  }
}

void ShowRecords(const storage::Entry& entry, partition::Decompressor& decompressor, const Talk& talk) {
  const Result<partition::BatchHeader> header = partition::DecodeBatchHeader(entry.payload.view());
  if (!header.ok()) {
    talk.out << "    " << header.status() << '\n';
    return;
  }
  talk.out << "    codec=" << partition::CodecName(header->codec) << " producer=" << header->producer.producer_id
           << " epoch=" << header->producer.epoch << " sequence=" << header->producer.base_sequence
           << " appended_ms=" << header->append_timestamp_ms << '\n';
  const Bytes records = partition::RecordsOf(entry.payload);
  std::string plain(records.view());
  if (header->codec != partition::Codec::kNone) {
    plain.assign(header->uncompressed_bytes, '\0');
    const Status status = decompressor.Decompress(header->codec, records.view(), plain.data(), plain.size());
    if (!status.ok()) {
      talk.out << "    " << status << '\n';
      return;
    }
  }
  v1::RecordSet set;
  if (!set.ParseFromString(plain)) {
    talk.out << "    its records do not decode\n";
    return;
  }
  Offset offset = entry.header.base_offset;
  for (const v1::Record& record : set.records()) {
    talk.out << "    offset=" << offset << " key=" << Shown(record.key()) << " value_bytes=" << record.value().size()
             << " headers=" << record.headers_size() << " time_ms=" << record.timestamp_ms() << '\n';
    offset = offset + 1;
  }
}

void ShowMetadata(const storage::Entry& entry, const Talk& talk) {
  const Result<metadata::Batch> batch = metadata::DecodeBatch(entry.payload.view(), metadata::kSupportedFeatures);
  if (!batch.ok()) {
    talk.out << "    " << batch.status() << '\n';
    return;
  }
  for (const metadata::Record& record : batch->records()) {
    talk.out << "    " << metadata::RecordName(record) << ' ' << record.ShortDebugString() << '\n';
  }
}

void ShowPayload(const storage::Entry& entry, partition::Decompressor& decompressor, const Talk& talk) {
  const bool metadata = entry.header.group == metadata::kMetadataGroup;
  switch (entry.header.kind) {
    case storage::EntryKind::kConfiguration: {
      const Result<raft::Configuration> members = raft::DecodeConfiguration(entry.payload.view());
      talk.out << "    " << (members.ok() ? raft::ToString(*members) : std::string(members.status().message())) << '\n';
      return;
    }
    case storage::EntryKind::kTrim: {
      const Result<Offset> start = partition::DecodeTrim(entry.payload.view());
      if (!metadata && start.ok()) talk.out << "    log_start=" << *start << '\n';
      return;
    }
    case storage::EntryKind::kData: return metadata ? ShowMetadata(entry, talk) : ShowRecords(entry, decompressor, talk);
    case storage::EntryKind::kControl:
      if (metadata) ShowMetadata(entry, talk);
      return;
    case storage::EntryKind::kNoop: return;
  }
}

void ShowEntry(const storage::EntryHeader& header, const Talk& talk) {
  talk.out << header.index << " term=" << header.term << ' ' << storage::EntryKindName(header.kind) << " offset=" << header.base_offset
           << " records=" << header.record_count << " bytes=" << header.payload_bytes;
  if (header.max_timestamp_ms != kNoTimestamp) talk.out << " time_ms=" << header.min_timestamp_ms << ".." << header.max_timestamp_ms;
  talk.out << '\n';
}

}  // namespace

int Fail(const Status& status, const Talk& talk) {
  talk.err << "flotillad: " << status << std::endl;
  return status.reason() == Reason::kDataLoss ? kExitDamaged : kExitFailed;
}

int VerifyDirectory(const std::string& directory, const Talk& talk) {
  const Result<std::unique_ptr<storage::StoppedStore>> store = storage::StoppedStore::Open(directory);
  if (!store.ok()) return Fail(store.status(), talk);
  talk.out << directory << ": cluster " << ((*store)->identity().cluster_id.empty() ? "none" : (*store)->identity().cluster_id) << ", node "
           << (*store)->identity().node_uuid << ", batch " << (*store)->batch_number() << ", evidence " << (*store)->evidence()
           << std::endl;
  size_t damages = 0;
  const Result<std::optional<internal::v1::NodeState>> node = ReadNodeState(directory);
  const bool lacks_node = node.ok() && !node->has_value() && !(*store)->identity().cluster_id.empty();
  if (!node.ok() || lacks_node) {
    ++damages;
    talk.out << "damaged: " << (node.ok() ? directory + "/NODE is missing" : std::string(node.status().message())) << '\n';
  }
  Progress progress(talk);
  const storage::Verification found = storage::Verify(**store, [&progress](const storage::Verification& now) { progress.Show(now); });
  progress.End();
  for (const storage::Verification::Finding& finding : found.findings) {
    ++damages;
    talk.out << "damaged: ";
    if (!finding.label.empty()) talk.out << finding.label << " (group " << finding.group << "): ";
    talk.out << finding.status.message() << '\n';
  }
  talk.out << "groups " << found.groups << ", entries " << found.entries << ", rows " << found.rows << ", snapshot chunks " << found.chunks
           << ", bytes " << found.bytes << ": " << (damages == 0 ? "all is well" : std::to_string(damages) + " damaged") << std::endl;
  return damages == 0 ? 0 : kExitDamaged;
}

int DumpLog(const DumpOptions& options, const Talk& talk) {
  const Result<std::unique_ptr<storage::StoppedStore>> store = storage::StoppedStore::Open(options.directory);
  if (!store.ok()) return Fail(store.status(), talk);
  if (!options.group) {
    ListGroups(**store, talk);
    return 0;
  }
  const GroupId group{*options.group};
  const storage::LogReader& logs = (*store)->logs();
  const Result<storage::LogBounds> bounds = logs.Bounds(group);
  if (!bounds.ok()) return Fail(bounds.status(), talk);
  LogIndex next = options.from ? LogIndex{*options.from} : bounds->first_index();
  LogIndex end = bounds->last_index() + 1;
  if (options.count && *options.count < end - std::min(next, end)) end = next + *options.count;
  partition::Decompressor decompressor;
  while (next < end) {
    const Result<std::vector<storage::Entry>> entries = logs.Read(group, next, end, {.bytes = kDumpBytes});
    if (!entries.ok()) return Fail(entries.status(), talk);
    for (const storage::Entry& entry : *entries) {
      ShowEntry(entry.header, talk);
      if (options.payloads) ShowPayload(entry, decompressor, talk);
    }
    next = next + entries->size();
  }
  talk.out << std::flush;
  return 0;
}

}  // namespace flotilla
