// The fixture of the suite: a machine, a group on it, and the words in which scenes are told.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/log/log_store.h"
#include "tests/storage/suite/machine.h"
#include "tests/support/entry_maker.h"
#include "tests/support/recording_sink.h"

namespace flotilla::storage {

inline constexpr GroupId kGroup{7};
inline constexpr GroupId kOther{8};
inline const GroupIdentity kIdentity{.self = {NodeId{1}, 1}, .label = "orders/3"};

struct Implementation {
  const char* name;
  std::unique_ptr<Machine> (*make)();
};
inline void PrintTo(const Implementation& implementation, std::ostream* out) { *out << implementation.name; }

inline std::vector<std::string> Payloads(const std::vector<Entry>& entries) {
  std::vector<std::string> payloads;
  for (const Entry& entry : entries) payloads.emplace_back(entry.payload.view());
  return payloads;
}

class StoreTest : public testing::TestWithParam<Implementation> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(machine_->Open().ok());
    ASSERT_TRUE(Create(kGroup).ok());
  }

  LogStore& store() { return machine_->store(); }
  Machine& machine() { return *machine_; }

  // --- Writing: each waits for the outcome.

  Status Write(WriteTask task) {
    RecordingSink sink;
    Status submitted = store().Submit(std::move(task), sink);
    if (!submitted.ok()) return submitted;
    machine_->Drive();
    if (!sink.WaitFor(1)) return Status(Reason::kOutcomeUnknown, "the store did not complete the task");
    return sink.done().front().status;
  }
  Status Create(GroupId group) { return Write({.group = group, .create = kIdentity}); }
  Status Destroy(GroupId group) { return Write({.group = group, .destroy = true}); }
  Status Append(std::vector<Entry> entries) {
    const GroupId group = entries.front().header.group;
    return Write({.group = group, .entries = std::move(entries)});
  }
  // One data entry of one record for each payload, at the end of the log of kGroup.
  Status Append(std::initializer_list<const char*> payloads, Term term = Term{1}) {
    EntryMaker make = AtEnd(term);
    std::vector<Entry> entries;
    for (const char* payload : payloads) entries.push_back(make.Data(payload));
    return Append(std::move(entries));
  }
  // The same from `first` on: a new leader's entries.
  Status Overwrite(LogIndex first, std::initializer_list<const char*> payloads, Term term) {
    EntryMaker make(kGroup, term);
    make.ContinueAfter(AnchorAt(first - 1));
    std::vector<Entry> entries;
    for (const char* payload : payloads) entries.push_back(make.Data(payload));
    return Append(std::move(entries));
  }
  // Everything up to and including `last` goes.
  Status TrimTo(LogIndex last) { return Write({.group = kGroup, .snapshot = SnapshotMeta{.anchor = AnchorAt(last)}}); }
  // The whole log goes and begins anew after `anchor`.
  Status ReplaceBy(SnapshotMeta snapshot) { return Write({.group = kGroup, .snapshot = std::move(snapshot), .replace_log = true}); }
  Status Vote(HardState state) { return Write({.group = kGroup, .hard_state = state}); }
  Status Put(std::string key, std::string_view value) {
    return Write({.group = kGroup, .state = {{StateWrite::Kind::kPut, std::move(key), Bytes::Copy(value)}}});
  }

  // A maker that goes on where the log of `group` ends.
  EntryMaker AtEnd(Term term = Term{1}, GroupId group = kGroup) {
    EntryMaker make(group, term);
    make.ContinueAfter(BoundsOf(group).end);
    return make;
  }
  // The anchor after the entry at `index`, which is in the log or the last one before it.
  LogAnchor AnchorAt(LogIndex index) {
    const LogBounds bounds = BoundsOf(kGroup);
    if (index == bounds.start.last.index) return bounds.start;
    if (index == bounds.last_index()) return bounds.end;
    return AnchorAfter(Read(index, index + 1).front().header);
  }

  // --- Reading: kGroup, expected to work.

  LogBounds BoundsOf(GroupId group) { return *store().Bounds(group); }
  GroupState Loaded(GroupId group = kGroup) { return *store().Load(group); }
  std::vector<Entry> Read(LogIndex first, LogIndex last, ReadLimits limits = kUnlimited, GroupId group = kGroup) {
    auto entries = store().Read(group, first, last, limits);
    EXPECT_TRUE(entries.ok()) << entries.status();
    return entries.ok() ? *std::move(entries) : std::vector<Entry>{};
  }
  Status ReadError(LogIndex first, LogIndex last) { return store().Read(kGroup, first, last, kUnlimited).status(); }
  // The payloads of the whole log.
  std::vector<std::string> All(GroupId group = kGroup) {
    const LogBounds bounds = BoundsOf(group);
    return Payloads(Read(bounds.first_index(), bounds.last_index() + 1, kUnlimited, group));
  }
  std::string Row(std::string_view key) {
    auto row = store().GetState(kGroup, key);
    EXPECT_TRUE(row.ok()) << row.status();
    return row.ok() && row->has_value() ? std::string((*row)->view()) : "(none)";
  }
  std::vector<std::string> Keys(std::string_view prefix, std::string_view after = "", size_t bytes_max = 1 << 20) {
    auto rows = store().ScanState(kGroup, prefix, after, bytes_max);
    EXPECT_TRUE(rows.ok()) << rows.status();
    std::vector<std::string> keys;
    if (rows.ok()) {
      for (const auto& row : *rows) keys.push_back(row.key);
    }
    return keys;
  }

  // --- Restarting

  void Reopen() {
    machine_->Close();
    Status opened = machine_->Open();
    ASSERT_TRUE(opened.ok()) << opened;
  }
  void PowerCutAndReopen() {
    machine_->PowerCut();
    Status opened = machine_->Open();
    ASSERT_TRUE(opened.ok()) << opened;
  }

  static constexpr ReadLimits kUnlimited{.bytes = SIZE_MAX, .entries = SIZE_MAX};

 private:
  std::unique_ptr<Machine> machine_ = GetParam().make();
};

// Runs `function` after nothing, a restart and a power cut: what is durable looks the same from everywhere.
#define FLOTILLA_NOW_AND_AFTER_RESTARTS(...) \
  do {                                       \
    {                                        \
      SCOPED_TRACE("now");                   \
      __VA_ARGS__;                           \
    }                                        \
    Reopen();                                \
    {                                        \
      SCOPED_TRACE("after a restart");       \
      __VA_ARGS__;                           \
    }                                        \
    PowerCutAndReopen();                     \
    {                                        \
      SCOPED_TRACE("after a power cut");     \
      __VA_ARGS__;                           \
    }                                        \
  } while (false)

MATCHER_P(FailsWith, reason, std::string("fails with ") + std::string(ReasonName(reason))) {
  *result_listener << arg;
  return arg.reason() == reason;
}
MATCHER(IsOk, "is OK") {
  *result_listener << arg;
  return arg.ok();
}

#define FLOTILLA_STORE_SUITE(Fixture)                                                                                                 \
  INSTANTIATE_TEST_SUITE_P(Store, Fixture,                                                                                            \
                           testing::Values(Implementation{"Memory", &MakeMemoryMachine}, Implementation{"Rocks", &MakeRocksMachine}), \
                           [](const auto& instance) { return std::string(instance.param.name); })

}  // namespace flotilla::storage
