#include "server/config/print.h"

#include <algorithm>

#include "server/config/yaml_document.h"

namespace flotilla::config {
namespace {

constexpr size_t kLineWidth = 100;

// A comment of as many lines as it needs.
std::string Comment(std::string_view indentation, std::string_view text) {
  const std::string begin = std::string(indentation) + "# ";
  const size_t width = kLineWidth - begin.size();
  std::string out;
  while (!text.empty()) {
    size_t end = text.size();
    if (end > width) {
      end = text.rfind(' ', width);
      if (end == std::string_view::npos) end = std::min(text.find(' '), text.size());
    }
    out += begin + std::string(text.substr(0, end)) + "\n";
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::string YamlValue(const Value& value) {
  if (!value.is_list) return YamlScalar(value.texts.front());
  std::string list;
  for (const std::string& text : value.texts) list += (list.empty() ? "" : ", ") + YamlScalar(text);
  return "[" + list + "]";
}

std::string SourceOf(const LoadedConfig& loaded, const Setting& setting) {
  switch (setting.source) {
    case Setting::Source::kDefault: return "default";
    case Setting::Source::kDev: return "--dev";
    case Setting::Source::kFile: return loaded.file + ":" + std::to_string(setting.line);
    case Setting::Source::kEnvironment: return "environment " + setting.key->variable();
  }
  return "";
}

}  // namespace

std::string PrintDefaultConfig() {
  std::string out =
      Comment("", "The configuration of flotillad. Every key is here with its default: only cluster.name has to be written.") + "#\n" +
      Comment("",
              "The file is read strictly: unknown and duplicate keys are errors, numbers are decimal, durations need a unit "
              "(us, ms, s, m, h, d), and so do sizes (B, KiB, MiB, GiB, TiB). Check it with: flotillad --check-config FILE. "
              "A variable of the environment overrides a key: FLOTILLA_LISTEN__CLIENT is listen.client; lists have commas. "
              "SIGHUP applies keys marked [reload], a restart all of them. Settings of topics are not here: they live in "
              "the cluster.");
  for (const Section& section : Sections()) {
    out += "\n" + Comment("", section.help) + std::string(section.name) + ":\n";
    for (const Key& key : Keys()) {
      if (key.section != section.name) continue;
      out += Comment("  ", std::string(key.help) + " (" + key.Range() + ")" + (key.reloadable ? " [reload]" : ""));
      out += "  " + std::string(key.name) + ": " + YamlValue(DefaultValue(key)) + "\n";
    }
  }
  return out;
}

std::string PrintConfig(const LoadedConfig& loaded) {
  size_t width = 0;
  for (const Setting& setting : loaded.settings) {
    const size_t bytes = 4 + setting.key->name.size() + YamlValue(setting.value).size();
    if (bytes <= 48) width = std::max(width, bytes);
  }
  std::string out;
  std::string_view section;
  for (const Setting& setting : loaded.settings) {
    if (setting.key->section != section) {
      section = setting.key->section;
      out += std::string(section) + ":\n";
    }
    std::string line = "  " + std::string(setting.key->name) + ": " + YamlValue(setting.value);
    line.resize(std::max(line.size(), width), ' ');
    out += line + "  # " + SourceOf(loaded, setting) + "\n";
  }
  return out;
}

}  // namespace flotilla::config
