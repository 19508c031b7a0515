// A state machine whose state is the list of payloads it applied, so that scenes can show it.
#pragma once

#include <glog/logging.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "raft/node/state_machine.h"

namespace flotilla::raft {

class TestMachine final : public StateMachine {
 public:
  struct Options {
    bool rows = false;       // keeps its state in rows of its own
    size_t chunk_bytes = 4;  // of its snapshots
    // Like a partition: its snapshots stand for the start of the log that it was told.
    std::optional<LogIndex> log_start = {};
  };
  Options options;

  // --- what scenes look at
  std::vector<std::string> payloads;
  LogIndex applied;
  std::vector<Leadership> leaderships;
  std::vector<Configuration> configurations;
  std::optional<Status> fault;
  int restores = 0;
  int snapshots = 0;
  size_t largest_slice = 0;

  LogIndex AppliedOnOpen(const storage::GroupState& state, const storage::LogReader& reader) override {
    const LogIndex anchor = state.bounds.start.last.index;
    if (!options.rows) return anchor;
    const auto row = reader.GetState(state.group, "state");
    CHECK(row.ok()) << row.status();
    if (!row->has_value()) return anchor;
    Decode((*row)->view());
    return std::max(applied, anchor);
  }
  Status Restore(const storage::SnapshotMeta& meta, SnapshotReader& reader) override {
    ++restores;
    std::string text;
    for (uint32_t i = 0; i < reader.chunks(); ++i) {
      Result<Bytes> chunk = reader.Chunk(i);
      if (!chunk.ok()) return chunk.status();
      text += chunk->view();
    }
    Decode(text);
    CHECK_GE(applied, meta.anchor.last.index);
    included_ = applied;
    applied = meta.anchor.last.index;
    return {};
  }
  void Apply(std::span<const storage::Entry> entries, std::vector<storage::StateWrite>* rows) override {
    largest_slice = std::max(largest_slice, entries.size());
    for (const storage::Entry& entry : entries) {
      CHECK_EQ(entry.index(), applied + 1);
      applied = entry.index();
      if (applied <= included_) continue;
      if (entry.header.kind == storage::EntryKind::kData) payloads.emplace_back(entry.payload.view());
    }
    if (options.rows) rows->push_back({storage::StateWrite::Kind::kPut, "state", Bytes(Encode())});
  }
  Result<SnapshotContent> Snapshot() override {
    ++snapshots;
    SnapshotContent content{.anchor = options.log_start.value_or(applied), .chunks = {}};
    const Bytes text{Encode()};
    for (size_t at = 0; at < text.size(); at += options.chunk_bytes) {
      content.chunks.push_back(text.Slice(at, std::min(options.chunk_bytes, text.size() - at)));
    }
    return content;
  }
  void OnLeadership(const Leadership& leadership) override { leaderships.push_back(leadership); }
  void OnConfiguration(const Configuration& configuration, LogIndex) override { configurations.push_back(configuration); }
  void OnFault(const Status& reason) override {
    CHECK(!fault) << "told twice";
    fault = reason;
  }

 private:
  // applied '\n' payload '\n' payload ...
  std::string Encode() const {
    std::string text = std::to_string(applied.value());
    for (const std::string& payload : payloads) text += "\n" + payload;
    return text;
  }
  void Decode(std::string_view text) {
    payloads.clear();
    const size_t end = text.find('\n');
    applied = LogIndex{std::stoull(std::string(text.substr(0, end)))};
    size_t at = end;
    while (at != std::string_view::npos) {
      const size_t next = text.find('\n', at + 1);
      payloads.emplace_back(text.substr(at + 1, next == std::string_view::npos ? next : next - at - 1));
      at = next;
    }
  }

  LogIndex included_;  // effects that a snapshot brought with it
};

}  // namespace flotilla::raft
