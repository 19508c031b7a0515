// A record, as a view: whoever makes it keeps the bytes alive for as long as it is used.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace flotilla::client {

struct HeaderView {
  std::string_view key;  // UTF-8
  std::string_view value;
  bool operator==(const HeaderView&) const = default;
};

struct RecordView {
  // Absent: none; an empty key is a key.
  std::optional<std::string_view> key = {};
  // Absent: a tombstone, which deletes the key in a compacted topic.
  std::optional<std::string_view> value = {};
  std::span<const HeaderView> headers = {};
  // Milliseconds since 1970-01-01 UTC. Absent: the time when the leader appends it.
  std::optional<int64_t> timestamp_ms = {};
};

}  // namespace flotilla::client
