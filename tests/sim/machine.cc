#include "tests/sim/machine.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/sim/trace.h"

namespace flotilla::sim {
namespace {

using storage::Entry;
using storage::EntryKind;
using storage::StateWrite;

constexpr std::string_view kMetaRow = "meta";
constexpr std::string_view kCellRows = "c/";

uint64_t HashOf(std::string_view text) {
  uint64_t hash = text.size();
  for (const char c : text) hash = Mix(hash, static_cast<unsigned char>(c));
  return hash;
}

void PutNumber(uint64_t number, std::string* out) {
  char bytes[sizeof(number)];
  std::memcpy(bytes, &number, sizeof(number));
  out->append(bytes, sizeof(number));
}

std::optional<uint64_t> TakeNumber(std::string_view* in) {
  uint64_t number = 0;
  if (in->size() < sizeof(number)) return std::nullopt;
  std::memcpy(&number, in->data(), sizeof(number));
  in->remove_prefix(sizeof(number));
  return number;
}

void PutText(std::string_view text, std::string* out) {
  PutNumber(text.size(), out);
  out->append(text);
}

std::optional<std::string> TakeText(std::string_view* in) {
  const std::optional<uint64_t> size = TakeNumber(in);
  if (!size || *size > in->size()) return std::nullopt;
  std::string text(in->substr(0, *size));
  in->remove_prefix(*size);
  return text;
}

// The last value of each key, and how often it was written.
class RegisterMachine final : public SimMachine {
 public:
  using SimMachine::SimMachine;

 protected:
  void Execute(const Command& command, const Entry&) override {
    const std::string key = "k" + std::to_string(command.key);
    const std::optional<std::string_view> before = Cell(key);
    std::string_view in = before.value_or(std::string_view());
    const uint64_t writes = TakeNumber(&in).value_or(0);
    std::string value;
    PutNumber(writes + 1, &value);
    PutNumber(command.id, &value);
    SetCell(key, std::move(value));
  }
  LogIndex SnapshotAnchor() const override { return applied(); }
};

// Accepts each producer's commands in sequence, each once, and says how many records were accepted.
class PartitionMachine final : public SimMachine {
 public:
  using SimMachine::SimMachine;

 protected:
  void Execute(const Command& command, const Entry& entry) override {
    if (entry.header.kind == EntryKind::kTrim) {
      start_ = std::max(start_, std::min(LogIndex{command.key}, entry.index() - 1));
      return;
    }
    const std::string producer = "p" + std::to_string(command.producer);
    const std::optional<std::string_view> before = Cell(producer);
    std::string_view in = before.value_or(std::string_view());
    if (command.sequence <= TakeNumber(&in).value_or(0)) return;  // a repeat
    std::string value;
    PutNumber(command.sequence, &value);
    PutNumber(entry.index().value(), &value);
    PutNumber(entry.header.base_offset.value(), &value);
    SetCell(producer, std::move(value));
  }
  LogIndex SnapshotAnchor() const override { return start_; }
  void OnTrim(LogIndex start) override { start_ = std::max(start_, start); }

 private:
  LogIndex start_;
};

}  // namespace

std::unique_ptr<SimMachine> MakeMachine(GroupId group, const MachineOptions& options, MachineObserver& observer) {
  if (options.kind == MachineKind::kRegister) return std::make_unique<RegisterMachine>(group, options, observer);
  return std::make_unique<PartitionMachine>(group, options, observer);
}

std::optional<uint64_t> SimMachine::StateHash() const {
  if (applied_ < included_) return std::nullopt;
  return Mix(cells_hash_, applied_.value());
}

std::optional<std::string_view> SimMachine::Cell(const std::string& key) const {
  auto cell = cells_.find(key);
  if (cell == cells_.end()) return std::nullopt;
  return std::string_view(cell->second);
}

void SimMachine::SetCell(const std::string& key, std::string value) {
  // A sum over the cells: the same for equal cells, however they came to be.
  const auto hash = [&](const std::string& v) { return Mix(HashOf(key), HashOf(v)); };
  auto [cell, made] = cells_.try_emplace(key);
  if (!made) cells_hash_ -= hash(cell->second);
  cell->second = std::move(value);
  cells_hash_ += hash(cell->second);
  dirty_.push_back(key);
}

void SimMachine::Clear() {
  cells_.clear();
  dirty_.clear();
  cells_hash_ = 0;
  included_ = {};
}

LogIndex SimMachine::AppliedOnOpen(const storage::GroupState& state, const storage::LogReader& reader) {
  const LogIndex anchor = state.bounds.start.last.index;
  if (options_.rows) LoadRows(reader);
  if (applied_ <= anchor) {
    // Nothing newer than the snapshot: Restore follows, or the log is whole and all of it is applied again.
    Clear();
    applied_ = anchor;
    rows_stale_ = true;
  }
  OnTrim(anchor);
  observer_.OnStarted(group_, applied_, false);
  return applied_;
}

void SimMachine::LoadRows(const storage::LogReader& reader) {
  auto meta = reader.GetState(group_, kMetaRow);
  CHECK(meta.ok()) << meta.status();
  if (!*meta) return;
  std::string_view in = (*meta)->view();
  applied_ = LogIndex{TakeNumber(&in).value_or(0)};
  included_ = LogIndex{TakeNumber(&in).value_or(0)};
  std::string after;
  while (true) {
    auto rows = reader.ScanState(group_, kCellRows, after, 512);
    CHECK(rows.ok()) << rows.status();
    if (rows->empty()) break;
    for (auto& row : *rows) {
      SetCell(row.key.substr(kCellRows.size()), std::string(row.value.view()));
      after = row.key;
    }
  }
  dirty_.clear();
}

Status SimMachine::Restore(const storage::SnapshotMeta& meta, raft::SnapshotReader& reader) {
  std::string text;
  for (uint32_t i = 0; i < reader.chunks(); ++i) {
    Result<Bytes> chunk = reader.Chunk(i);
    if (!chunk.ok()) return chunk.status();
    text += chunk->view();
  }
  Clear();
  if (!Deserialize(text)) return Status(Reason::kDataLoss, "the snapshot's content cannot be read");
  applied_ = meta.anchor.last.index;
  rows_stale_ = true;
  OnTrim(applied_);
  observer_.OnStarted(group_, applied_, true);
  return {};
}

void SimMachine::Apply(std::span<const Entry> entries, std::vector<StateWrite>* rows) {
  for (const Entry& entry : entries) {
    if (!observer_.BeforeApply(group_)) return;
    applied_ = entry.index();
    const EntryKind kind = entry.header.kind;
    const bool commands = kind == EntryKind::kData || kind == EntryKind::kTrim;
    // A trim moves the start of the log, which is not part of the cells.
    if (commands && (applied_ > included_ || kind == EntryKind::kTrim)) {
      if (const std::optional<Command> command = DecodeCommand(entry.payload.view())) Execute(*command, entry);
    }
    included_ = std::max(included_, applied_);
    observer_.OnApplied(entry, StateHash());
  }
  if (options_.rows) WriteRows(rows);
  dirty_.clear();
}

void SimMachine::WriteRows(std::vector<StateWrite>* rows) {
  const auto put = [rows](std::string key, std::string_view value) {
    rows->push_back({StateWrite::Kind::kPut, std::move(key), Bytes::Copy(value)});
  };
  if (rows_stale_) {
    rows->push_back({StateWrite::Kind::kDeletePrefix, std::string(kCellRows), {}});
    for (const auto& [key, value] : cells_) put(std::string(kCellRows) + key, value);
    rows_stale_ = false;
  } else {
    for (const std::string& key : dirty_) put(std::string(kCellRows) + key, cells_.at(key));
  }
  std::string meta;
  PutNumber(applied_.value(), &meta);
  PutNumber(included_.value(), &meta);
  put(std::string(kMetaRow), meta);
}

Result<raft::SnapshotContent> SimMachine::Snapshot() {
  raft::SnapshotContent content;
  content.anchor = SnapshotAnchor();
  const std::string text = Serialize();
  for (size_t at = 0; at < text.size(); at += options_.chunk_bytes) {
    content.chunks.push_back(Bytes::Copy(std::string_view(text).substr(at, options_.chunk_bytes)));
  }
  return content;
}

std::string SimMachine::Serialize() const {
  std::string text;
  PutNumber(included_.value(), &text);
  for (const auto& [key, value] : cells_) {
    PutText(key, &text);
    PutText(value, &text);
  }
  return text;
}

bool SimMachine::Deserialize(std::string_view text) {
  const std::optional<uint64_t> included = TakeNumber(&text);
  if (!included) return false;
  included_ = LogIndex{*included};
  while (!text.empty()) {
    const std::optional<std::string> key = TakeText(&text);
    std::optional<std::string> value = TakeText(&text);
    if (!key || !value) return false;
    SetCell(*key, std::move(*value));
  }
  dirty_.clear();
  return true;
}

}  // namespace flotilla::sim
