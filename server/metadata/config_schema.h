// Every setting that can be changed while the cluster runs: one table from which values are checked,
// described and looked up.
//
// A topic's setting counts before the cluster's ("topic.NAME", what topics get that say nothing themselves),
// that before the default.
//
//   Setting s = EffectiveSetting(image, topic, "record_bytes_max");   // {"1048576", kDefault}
//
// Only settings that do something exist: a row comes with what acts on it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "server/errors/refusal.h"
#include "server/metadata/image.h"

namespace flotilla::metadata {

enum class ConfigType : uint8_t { kInteger, kBoolean, kChoice };
enum class ConfigScope : uint8_t { kTopic, kCluster };

struct ConfigKey {
  std::string_view name;
  ConfigScope scope;  // kTopic: also for the cluster, as "topic.NAME"
  ConfigType type;
  std::string_view default_value;
  // kInteger: both ends included.
  int64_t min = 0;
  int64_t max = 0;
  // kChoice, kInteger with few values: separated by '|'.
  std::string_view choices = {};
  std::string_view doc;

  // "1..8388608", "create|append", for people.
  std::string Range() const;
};

// Sorted by name.
std::span<const ConfigKey> ConfigKeys();
// The key that `name` means in the scope: in kCluster also "topic.NAME". Null: there is none.
const ConfigKey* FindConfigKey(ConfigScope scope, std::string_view name);

// UNKNOWN_CONFIG, with the name that may have been meant; INVALID_ARGUMENT with value and range.
Status CheckConfigName(ConfigScope scope, std::string_view name);
Status CheckConfig(ConfigScope scope, std::string_view name, std::string_view value);

enum class ConfigSource : uint8_t { kDefault, kCluster, kTopic };
struct Setting {
  std::string value;
  ConfigSource source = ConfigSource::kDefault;
};
// What is in force for the topic. `name` is of the schema (a CHECK).
Setting EffectiveSetting(const Image& image, const Topic& topic, std::string_view name);
// What is in force for the cluster itself; `name` as in its config.
Setting EffectiveSetting(const Image& image, std::string_view name);
// A setting of type kInteger as a number; checked when it was set.
int64_t IntegerOf(const Setting& setting);

}  // namespace flotilla::metadata
