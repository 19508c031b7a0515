// Every key of the file: one table that parsing, checks, help and printing all work from. A new key is a field in config.h
// and a row here; nothing else needs to know it, but for what acts on it.
//
// Only keys that do something exist.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/config/config.h"

namespace flotilla::config {

// What a key holds: which field it sets, and which values it takes. Ranges include both ends.
struct CountKey {
  uint32_t& (*field)(Config&);
  uint32_t min;
  uint32_t max;
};
struct SizeKey {
  uint64_t& (*field)(Config&);
  uint64_t min;
  uint64_t max;
};
struct DurationKey {
  Duration& (*field)(Config&);
  Duration min;
  Duration max;
};
struct BoolKey {
  bool& (*field)(Config&);
};
// 1 to 249 of A-Z a-z 0-9 . _ -
struct NameKey {
  std::string& (*field)(Config&);
  bool required;  // otherwise "" is a value too
};
// An absolute path.
struct PathKey {
  std::string& (*field)(Config&);
  bool required;
};
// Where to listen. Port 0 takes any free one.
struct ListenKey {
  Address& (*field)(Config&);
};
struct OptionalListenKey {
  std::optional<Address>& (*field)(Config&);
};
// Where others connect to: a port from 1, "" for none.
struct OptionalTargetKey {
  std::optional<Address>& (*field)(Config&);
};
struct TargetListKey {
  std::vector<Address>& (*field)(Config&);
  size_t count_max;
};
// `set` gets the place of the value in `choices`.
struct ChoiceKey {
  std::span<const std::string_view> choices;
  void (*set)(Config&, size_t choice);
};

using KeyKind = std::variant<CountKey, SizeKey, DurationKey, BoolKey, NameKey, PathKey, ListenKey, OptionalListenKey, OptionalTargetKey,
                             TargetListKey, ChoiceKey>;

struct Key {
  std::string_view section;  // "limits"
  std::string_view name;     // "max_streams"
  KeyKind kind;
  // As it would be written; of a list, empty means an empty list. A required key has "" and must be written.
  std::string_view default_text;
  // SIGHUP applies a change; of other keys a restart does.
  bool reloadable = false;
  std::string_view help;

  std::string path() const { return std::string(section) + "." + std::string(name); }
  // "FLOTILLA_LIMITS__MAX_STREAMS"
  std::string variable() const;
  bool required() const;
  bool is_list() const { return std::holds_alternative<TargetListKey>(kind); }
  // "1 to 1000000", "off", "true or false": for people.
  std::string Range() const;
};

struct Section {
  std::string_view name;
  std::string_view help;
};

// In the order in which they are printed. The keys of a section stand together, sections in the order of Sections().
std::span<const Section> Sections();
std::span<const Key> Keys();
// Null: there is none.
const Section* FindSection(std::string_view name);
const Key* FindKey(std::string_view section, std::string_view name);

// What somebody may have meant who wrote `section`.`name`, or `name` as a section. Empty: nothing is like it.
std::string SuggestKey(std::string_view section, std::string_view name);
std::string SuggestSection(std::string_view name);

// A value as somebody wrote it: one text, or the texts of a list.
struct Value {
  std::vector<std::string> texts;
  bool is_list = false;
  bool operator==(const Value&) const = default;
};
Value DefaultValue(const Key& key);

// Checks the value and sets the key's field. INVALID_ARGUMENT: a whole sentence, with key, value and what to write; the
// field is as it was.
Status Apply(const Key& key, const Value& value, Config& config);

}  // namespace flotilla::config
