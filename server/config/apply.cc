// How a written value becomes a field: one overload per kind of key.
#include <algorithm>
#include <set>

#include "server/config/schema.h"
#include "server/config/values.h"

namespace flotilla::config {
namespace {

constexpr size_t kNameBytesMax = 249;
constexpr size_t kPathBytesMax = 4095;
constexpr size_t kShownBytesMax = 80;

Status Refuse(std::string text) { return Status(Reason::kInvalidArgument, std::move(text)); }

// For an error: in quotes, cut, and without what a terminal would obey.
std::string Shown(std::string_view text) {
  std::string shown = "\"";
  for (const char c : text.substr(0, kShownBytesMax)) shown += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return shown + (text.size() > kShownBytesMax ? "...\"" : "\"");
}

class Applier {
 public:
  Applier(const Key& key, const Value& value, Config& config) : key_(key), value_(value), config_(config) {}

  Status operator()(const CountKey& kind) const { return Number(kind, ParseCount(text())); }
  Status operator()(const SizeKey& kind) const { return Number(kind, ParseSize(text())); }
  Status operator()(const DurationKey& kind) const { return Number(kind, ParseDuration(text())); }

  Status operator()(const BoolKey& kind) const {
    const Result<bool> parsed = ParseBool(text());
    if (!parsed.ok()) return Wrong(parsed.status().message());
    kind.field(config_) = *parsed;
    return Status();
  }

  Status operator()(const NameKey& kind) const {
    const auto allowed = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    };
    if (text().size() > kNameBytesMax || !std::all_of(text().begin(), text().end(), allowed)) {
      return Wrong("use " + key_.Range());
    }
    kind.field(config_) = text();
    return Status();
  }

  Status operator()(const PathKey& kind) const {
    if (text().empty() && !kind.required) {
      kind.field(config_).clear();
      return Status();
    }
    if (text().empty() || text().front() != '/') return Wrong("use an absolute path, such as /var/lib/flotilla");
    if (text().size() > kPathBytesMax) return Wrong("a path has at most 4095 bytes");
    kind.field(config_) = text();
    return Status();
  }

  Status operator()(const ListenKey& kind) const {
    const Result<Address> parsed = ParseAddress(text());
    if (!parsed.ok()) return Wrong(parsed.status().message());
    kind.field(config_) = *parsed;
    return Status();
  }

  Status operator()(const OptionalListenKey& kind) const {
    if (text().empty()) {
      kind.field(config_).reset();
      return Status();
    }
    const Result<Address> parsed = ParseAddress(text());
    if (!parsed.ok()) return Wrong(parsed.status().message());
    kind.field(config_) = *parsed;
    return Status();
  }

  Status operator()(const OptionalTargetKey& kind) const {
    if (text().empty()) {
      kind.field(config_).reset();
      return Status();
    }
    const Result<Address> parsed = ParseTarget(text());
    if (!parsed.ok()) return Wrong(parsed.status().message());
    kind.field(config_) = *parsed;
    return Status();
  }

  Status operator()(const TargetListKey& kind) const {
    if (value_.texts.size() > kind.count_max) {
      return Refuse(key_.path() + " has " + std::to_string(value_.texts.size()) + " entries; use at most " +
                    std::to_string(kind.count_max));
    }
    std::vector<Address> addresses;
    for (const std::string& item : value_.texts) {
      const Result<Address> parsed = ParseTarget(item);
      if (!parsed.ok()) return Refuse(key_.path() + " has " + Shown(item) + "; " + std::string(parsed.status().message()));
      if (std::find(addresses.begin(), addresses.end(), *parsed) != addresses.end()) {
        return Refuse(key_.path() + " has " + Shown(item) + " twice; leave one of them out");
      }
      addresses.push_back(*parsed);
    }
    kind.field(config_) = std::move(addresses);
    return Status();
  }

  Status operator()(const ChoiceKey& kind) const {
    const auto found = std::find(kind.choices.begin(), kind.choices.end(), text());
    if (found == kind.choices.end()) return Wrong("use " + key_.Range());
    kind.set(config_, static_cast<size_t>(found - kind.choices.begin()));
    return Status();
  }

 private:
  const std::string& text() const { return value_.texts.front(); }

  Status Wrong(std::string_view what_to_do) const { return Refuse(key_.path() + " is " + Shown(text()) + "; " + std::string(what_to_do)); }

  template <typename Kind, typename Parsed>
  Status Number(const Kind& kind, const Result<Parsed>& parsed) const {
    const std::string range = "use " + key_.Range() + ", such as " + std::string(key_.default_text);
    if (!parsed.ok()) return Wrong(parsed.status().message());
    if (*parsed < kind.min || *parsed > kind.max) return Wrong(range);
    auto& field = kind.field(config_);
    field = static_cast<std::remove_reference_t<decltype(field)>>(*parsed);
    return Status();
  }

  static Result<Address> ParseTarget(std::string_view text) {
    Result<Address> parsed = ParseAddress(text);
    if (!parsed.ok()) return parsed;
    if (parsed->port == 0) return Refuse("others cannot connect to port 0; use a port from 1 to 65535");
    if (IsWildcard(parsed->host)) {
      return Refuse("others cannot connect to " + parsed->host + "; use a name or an address of the machine");
    }
    return parsed;
  }

  const Key& key_;
  const Value& value_;
  Config& config_;
};

}  // namespace

Status Apply(const Key& key, const Value& value, Config& config) {
  if (value.is_list != key.is_list()) {
    return Refuse(key.path() +
                  (key.is_list() ? " is one value; write a list, in brackets: [a, b]" : " is a list; write one value: " + key.Range()));
  }
  return std::visit(Applier(key, value, config), key.kind);
}

}  // namespace flotilla::config
