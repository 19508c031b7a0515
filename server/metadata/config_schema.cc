#include "server/metadata/config_schema.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <vector>

namespace flotilla::metadata {
namespace {

constexpr std::string_view kTopicPrefix = "topic.";
constexpr int64_t kNoEnd = std::numeric_limits<int64_t>::max();
constexpr int64_t kMiB = 1024 * 1024;
// What an entry leaves for the records of a batch: its header takes 40 bytes.
constexpr int64_t kBatchBytesMax = 8 * kMiB - 40;

constexpr std::array kKeys = {
    ConfigKey{.name = "batch_bytes_max",
              .scope = ConfigScope::kTopic,
              .type = ConfigType::kInteger,
              .default_value = "8388568",
              .min = 1,
              .max = kBatchBytesMax,
              .doc = "The largest batch that is accepted, as it is sent, in bytes."},
    ConfigKey{.name = "default_partition_count",
              .scope = ConfigScope::kCluster,
              .type = ConfigType::kInteger,
              .default_value = "3",
              .min = 1,
              .max = 10'000,
              .doc = "Partitions of a topic that is created without saying how many."},
    ConfigKey{.name = "default_replication_factor",
              .scope = ConfigScope::kCluster,
              .type = ConfigType::kInteger,
              .default_value = "3",
              .min = 1,
              .max = 5,
              .choices = "1|3|5",
              .doc = "Replicas of each partition of a topic that is created without saying how many. A "
                     "cluster of fewer nodes than that makes 1."},
    ConfigKey{.name = "move_rate_bytes",
              .scope = ConfigScope::kCluster,
              .type = ConfigType::kInteger,
              .default_value = "104857600",
              .min = 64 * 1024,
              .max = int64_t{1} << 40,
              .doc = "Bytes per second that a node sends, at most, to new replicas that catch up. A lower rate "
                     "leaves more to clients and takes longer."},
    ConfigKey{.name = "record_bytes_max",
              .scope = ConfigScope::kTopic,
              .type = ConfigType::kInteger,
              .default_value = "1048576",
              .min = 1,
              .max = 32 * kMiB,
              .doc = "The largest record that is accepted, serialized, in bytes. A whole request has a limit "
                     "of its own (8 MiB), so that larger records have to come compressed."},
    ConfigKey{.name = "timestamp_ahead_ms_max",
              .scope = ConfigScope::kTopic,
              .type = ConfigType::kInteger,
              .default_value = "3600000",
              .min = 0,
              .max = kNoEnd,
              .doc = "A record whose own time is further ahead of the broker's clock is refused, in milliseconds."},
    ConfigKey{.name = "timestamp_type",
              .scope = ConfigScope::kTopic,
              .type = ConfigType::kChoice,
              .default_value = "create",
              .choices = "append|create",
              .doc = "create: a record keeps the time that its producer gave it. append: it gets the time of "
                     "the broker."},
};

constexpr bool Sorted() {
  for (size_t i = 1; i < kKeys.size(); ++i) {
    if (kKeys[i - 1].name >= kKeys[i].name) return false;
  }
  return true;
}
static_assert(Sorted());

std::string_view ScopeName(ConfigScope scope) { return scope == ConfigScope::kTopic ? "a topic" : "the cluster"; }

std::string NameIn(ConfigScope scope, const ConfigKey& key) {
  const bool prefixed = scope == ConfigScope::kCluster && key.scope == ConfigScope::kTopic;
  return prefixed ? std::string(kTopicPrefix) + std::string(key.name) : std::string(key.name);
}

bool IsIn(ConfigScope scope, const ConfigKey& key) { return scope == ConfigScope::kCluster || key.scope == scope; }

// How many letters have to change (Levenshtein).
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

// The name in the scope that is most like `name`.
std::string MostAlike(ConfigScope scope, std::string_view name) {
  static constexpr size_t kComparedBytesMax = 128;
  std::string best;
  size_t best_distance = std::numeric_limits<size_t>::max();
  for (const ConfigKey& key : kKeys) {
    if (!IsIn(scope, key)) continue;
    const std::string candidate = NameIn(scope, key);
    const size_t distance = EditDistance(name.substr(0, kComparedBytesMax), candidate);
    if (distance >= best_distance) continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

std::optional<int64_t> ParseInteger(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  // One text per number, so that equal settings look equal.
  if (text != std::to_string(number)) return std::nullopt;
  return number;
}

bool IsChoice(std::string_view choices, std::string_view value) {
  while (!choices.empty()) {
    const size_t bar = choices.find('|');
    if (choices.substr(0, bar) == value) return true;
    if (bar == std::string_view::npos) return false;
    choices.remove_prefix(bar + 1);
  }
  return false;
}

bool Accepts(const ConfigKey& key, std::string_view value) {
  if (!key.choices.empty()) return IsChoice(key.choices, value);
  if (key.type == ConfigType::kBoolean) return value == "true" || value == "false";
  const std::optional<int64_t> number = ParseInteger(value);
  return number && key.min <= *number && *number <= key.max;
}

}  // namespace

std::string ConfigKey::Range() const {
  if (!choices.empty()) return std::string(choices);
  if (type == ConfigType::kBoolean) return "false|true";
  return std::to_string(min) + ".." + (max == kNoEnd ? "" : std::to_string(max));
}

std::span<const ConfigKey> ConfigKeys() { return kKeys; }

const ConfigKey* FindConfigKey(ConfigScope scope, std::string_view name) {
  ConfigScope wanted = scope;
  if (scope == ConfigScope::kCluster && name.starts_with(kTopicPrefix)) {
    name.remove_prefix(kTopicPrefix.size());
    wanted = ConfigScope::kTopic;
  }
  for (const ConfigKey& key : kKeys) {
    if (key.scope == wanted && key.name == name) return &key;
  }
  return nullptr;
}

Status CheckConfigName(ConfigScope scope, std::string_view name) {
  if (FindConfigKey(scope, name) != nullptr) return {};
  return Refuse(Refusal::kUnknownConfig,
                std::string(ScopeName(scope)) + " has no setting " + Quoted(name) + "; did you mean \"" + MostAlike(scope, name) + "\"?")
      .With("name", std::string(name.substr(0, 128)));
}

Status CheckConfig(ConfigScope scope, std::string_view name, std::string_view value) {
  FLOTILLA_RETURN_IF_ERROR(CheckConfigName(scope, name));
  const ConfigKey& key = *FindConfigKey(scope, name);
  if (Accepts(key, value)) return {};
  return Status(Reason::kInvalidArgument, "setting " + std::string(name) + " cannot be " + Quoted(value) + "; it takes " + key.Range())
      .With("field", std::string(name))
      .With("range", key.Range());
}

Setting EffectiveSetting(const Image& image, const Topic& topic, std::string_view name) {
  const ConfigKey* key = FindConfigKey(ConfigScope::kTopic, name);
  CHECK(key != nullptr) << "no topic setting " << name;
  if (auto at = topic.configs.find(name); at != topic.configs.end()) return {at->second, ConfigSource::kTopic};
  return EffectiveSetting(image, NameIn(ConfigScope::kCluster, *key));
}

Setting EffectiveSetting(const Image& image, std::string_view name) {
  const ConfigKey* key = FindConfigKey(ConfigScope::kCluster, name);
  CHECK(key != nullptr) << "no cluster setting " << name;
  if (auto at = image.cluster_configs.find(name); at != image.cluster_configs.end()) {
    return {at->second, ConfigSource::kCluster};
  }
  return {std::string(key->default_value), ConfigSource::kDefault};
}

int64_t IntegerOf(const Setting& setting) {
  const std::optional<int64_t> number = ParseInteger(setting.value);
  CHECK(number.has_value()) << setting.value;
  return *number;
}

}  // namespace flotilla::metadata
