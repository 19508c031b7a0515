#include "server/config/load.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <tuple>

#include "server/config/relations.h"
#include "server/config/yaml_document.h"

extern char** environ;

namespace flotilla::config {
namespace {

constexpr std::string_view kPrefix = "FLOTILLA_";
constexpr std::string_view kSeparator = "__";

// The parts of a config as they come in; each key may be set once per source, the environment after the file.
class Loader {
 public:
  Loader(std::string file, const Environment& environment) : environment_(environment) {
    loaded_.file = std::move(file);
    for (const Key& key : Keys()) {
      loaded_.settings.push_back({.key = &key, .value = DefaultValue(key)});
      const Status status = Apply(key, loaded_.settings.back().value, loaded_.config);
      CHECK(status.ok()) << "the default of " << key.path() << " is refused: " << status;
    }
  }

  void Preset(std::string_view section, std::string_view name, std::string text) {
    Setting& setting = SettingOf(*FindKey(section, name));
    setting.value.texts = {std::move(text)};
    setting.source = Setting::Source::kDev;
    const Status status = Apply(*setting.key, setting.value, loaded_.config);
    if (!status.ok()) Report({}, std::string(status.message()));
  }

  void ReadText(std::string_view text) {
    YamlDocument document = ParseYaml(text);
    for (YamlError& error : document.errors) Report(error.place, std::move(error.text));
    using Kind = YamlNode::Kind;
    if (document.root.kind == Kind::kMap) {
      ReadSections(document.root);
    } else if (document.root.kind != Kind::kNull && document.root.kind != Kind::kRefused) {
      Report(document.root.place, "the file is no list of sections; begin with the name of one, such as \"listen:\"");
    }
  }

  void ReadEnvironment() {
    for (const auto& [variable, text] : environment_.variables) {
      if (!variable.starts_with(kPrefix)) continue;
      const size_t separator = variable.find(kSeparator, kPrefix.size());
      // FLOTILLA_ADDRESS and the like are for other programs.
      if (separator == std::string::npos) continue;
      const std::string section = Lower(variable.substr(kPrefix.size(), separator - kPrefix.size()));
      const std::string name = Lower(variable.substr(separator + kSeparator.size()));
      const Key* const key = FindKey(section, name);
      if (key == nullptr || key->variable() != variable) {
        ReportUnknownVariable(variable, section, name);
        continue;
      }
      Set(*key, ValueOf(*key, text), Setting::Source::kEnvironment, {});
    }
  }

  LoadedConfig Finish(std::vector<Finding> (*more)(const Config&)) {
    if (loaded_.config.node.name.empty()) TakeHostname();
    for (const Setting& setting : loaded_.settings) {
      if (setting.key->required() && setting.value.texts.front().empty() && !IsBad(*setting.key)) {
        ReportAt(setting, setting.key->path() + " is required; write it under " + std::string(setting.key->section) + ":");
      }
    }
    // How keys go together can be said when each of them was understood.
    if (bad_.empty() && !broken_) {
      AddFindings(CheckRelations(loaded_.config));
      if (more != nullptr) AddFindings(more(loaded_.config));
    }
    std::stable_sort(loaded_.problems.begin(), loaded_.problems.end(), [](const ConfigError& a, const ConfigError& b) {
      const auto rank = [](const ConfigError& e) { return std::tuple(e.line == 0, e.line, e.column); };
      return rank(a) < rank(b);
    });
    return std::move(loaded_);
  }

 private:
  static std::string Lower(std::string text) {
    for (char& c : text) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return text;
  }

  // In a variable a list is separated by commas; an empty one is the empty list.
  static Value ValueOf(const Key& key, std::string_view text) {
    Value value{.is_list = key.is_list()};
    if (!value.is_list) {
      value.texts.emplace_back(text);
      return value;
    }
    while (!text.empty()) {
      const size_t comma = std::min(text.find(','), text.size());
      value.texts.emplace_back(text.substr(0, comma));
      text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return value;
  }

  Setting& SettingOf(const Key& key) { return loaded_.settings[static_cast<size_t>(&key - Keys().data())]; }
  bool IsBad(const Key& key) const { return std::find(bad_.begin(), bad_.end(), &key) != bad_.end(); }

  void Report(YamlPlace place, std::string text, bool warning = false) {
    broken_ = broken_ || !warning;
    loaded_.problems.push_back(
        {.warning = warning, .source = loaded_.file, .line = place.line, .column = place.column, .text = std::move(text)});
  }

  // Where the setting comes from is where it has to be changed.
  void ReportAt(const Setting& setting, std::string text, bool warning = false) {
    ConfigError error{.warning = warning, .source = loaded_.file, .text = std::move(text)};
    if (setting.source == Setting::Source::kFile) {
      error.line = setting.line;
      error.column = setting.column;
    } else if (setting.source == Setting::Source::kEnvironment) {
      error.source = "environment";
      error.text = setting.key->variable() + ": " + error.text;
    }
    loaded_.problems.push_back(std::move(error));
  }

  void ReportUnknownVariable(const std::string& variable, const std::string& section, const std::string& name) {
    const std::string path = SuggestKey(section, name);
    const size_t dot = path.find('.');
    const std::string advice = path.empty() ? "see flotillad --print-default-config for all keys"
                                            : "did you mean " + FindKey(path.substr(0, dot), path.substr(dot + 1))->variable() + "?";
    broken_ = true;
    loaded_.problems.push_back({.source = "environment", .text = "unknown variable " + variable + "; " + advice});
  }

  void ReadSections(const YamlNode& root) {
    std::map<std::string_view, YamlPlace> seen;
    for (const YamlEntry& entry : root.entries) {
      const Section* const section = FindSection(entry.key);
      if (section == nullptr) {
        Report(entry.place, Unknown(entry.key, SuggestSection(entry.key), "sections", SectionNames()));
      } else if (IsNew(seen, entry, entry.key)) {
        ReadSection(*section, entry.value);
      }
    }
  }

  void ReadSection(const Section& section, const YamlNode& node) {
    using Kind = YamlNode::Kind;
    // Nothing is written below it, or all of it is commented out.
    if (node.kind == Kind::kNull || node.kind == Kind::kRefused) return;
    if (node.kind != Kind::kMap) {
      Report(node.place, std::string(section.name) + " is a section; write its keys below it, indented: " + KeyNames(section));
      return;
    }
    std::map<std::string_view, YamlPlace> seen;
    for (const YamlEntry& entry : node.entries) {
      const Key* const key = FindKey(section.name, entry.key);
      const std::string path = std::string(section.name) + "." + entry.key;
      if (key == nullptr) {
        Report(entry.place, Unknown(path, SuggestKey(section.name, entry.key), "keys of " + std::string(section.name), KeyNames(section)));
      } else if (IsNew(seen, entry, path)) {
        ReadKey(*key, entry);
      }
    }
  }

  void ReadKey(const Key& key, const YamlEntry& entry) {
    using Kind = YamlNode::Kind;
    const YamlNode& node = entry.value;
    const auto wrong = [&](YamlPlace place, std::string text) {
      bad_.push_back(&key);
      Report(place, key.path() + std::move(text));
    };
    switch (node.kind) {
      case Kind::kRefused: bad_.push_back(&key); return;
      case Kind::kNull: return wrong(entry.place, " has no value; write one (" + key.Range() + "), or remove the line for the default");
      case Kind::kMap: return wrong(node.place, " holds keys of its own; write one value: " + key.Range());
      case Kind::kText: return Set(key, {.texts = {node.text}}, Setting::Source::kFile, node.place);
      case Kind::kList: break;
    }
    Value value{.is_list = true};
    for (const YamlNode& item : node.items) {
      if (item.kind == Kind::kRefused) return bad_.push_back(&key);
      if (item.kind != Kind::kText) return wrong(item.place, " has an entry that is no plain value; write " + key.Range());
      value.texts.push_back(item.text);
    }
    Set(key, std::move(value), Setting::Source::kFile, node.place);
  }

  void Set(const Key& key, Value value, Setting::Source source, YamlPlace place) {
    Setting fresh{.key = &key, .value = std::move(value), .source = source, .line = place.line, .column = place.column};
    const Status status = Apply(key, fresh.value, loaded_.config);
    if (!status.ok()) {
      bad_.push_back(&key);
      ReportAt(fresh, std::string(status.message()));
      return;
    }
    SettingOf(key) = std::move(fresh);
  }

  bool IsNew(std::map<std::string_view, YamlPlace>& seen, const YamlEntry& entry, const std::string& path) {
    const auto [place, is_new] = seen.try_emplace(entry.key, entry.place);
    if (is_new) return true;
    Report(entry.place,
           "duplicate key " + path + "; it stands in line " + std::to_string(place->second.line) + " already: keep one of them");
    return false;
  }

  static std::string Unknown(const std::string& path, const std::string& suggestion, const std::string& what, const std::string& all) {
    const std::string shown = path.size() > 80 ? path.substr(0, 80) + "..." : path;
    return "unknown key " + shown + "; " + (suggestion.empty() ? "the " + what + " are " + all : "did you mean " + suggestion + "?");
  }

  static std::string SectionNames() {
    std::string names;
    for (const Section& section : Sections()) names += (names.empty() ? "" : ", ") + std::string(section.name);
    return names;
  }

  static std::string KeyNames(const Section& section) {
    std::string names;
    for (const Key& key : Keys()) {
      if (key.section == section.name) names += (names.empty() ? "" : ", ") + std::string(key.name);
    }
    return names;
  }

  void TakeHostname() {
    Setting& setting = SettingOf(*FindKey("node", "name"));
    if (IsBad(*setting.key)) return;
    const Value hostname{.texts = {environment_.hostname}};
    const Status status = Apply(*setting.key, hostname, loaded_.config);
    if (status.ok() && !environment_.hostname.empty()) {
      setting.value = hostname;
      return;
    }
    bad_.push_back(setting.key);
    ReportAt(setting, "node.name is empty and the name of this host is \"" + environment_.hostname + "\", which is no name; write " +
                          "node.name: " + setting.key->Range());
  }

  void AddFindings(std::vector<Finding> findings) {
    for (Finding& finding : findings) {
      ReportAt(SettingOf(*FindKey(finding.section, finding.name)), std::move(finding.text), finding.warning);
    }
  }

  const Environment& environment_;
  LoadedConfig loaded_;
  std::vector<const Key*> bad_;  // what was written is refused; there is an error about it
  bool broken_ = false;          // parts of the file were not understood
};

// INVALID_ARGUMENT says why.
Result<std::string> ReadFile(const std::string& path) {
  const auto refuse = [](const std::string& text) { return Status(Reason::kInvalidArgument, text); };
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe without a writer must not hang
  if (file < 0) {
    return refuse(std::string("cannot be read: ") + std::strerror(errno) +
                  (errno == ENOENT ? "; flotillad --print-default-config writes one to begin with" : ""));
  }
  std::string text;
  std::array<char, 4096> buffer;
  ssize_t bytes = 0;
  struct stat status {};
  if (fstat(file, &status) == 0 && S_ISDIR(status.st_mode)) {
    close(file);
    return refuse("is a directory; name the file");
  }
  while (text.size() <= kYamlBytesMax && (bytes = read(file, buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<size_t>(bytes));
  }
  const int error = errno;
  close(file);
  if (bytes < 0) return refuse(std::string("cannot be read: ") + std::strerror(error));
  return text;
}

}  // namespace

Environment ProcessEnvironment() {
  Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (!text.starts_with(kPrefix) || equals == std::string_view::npos) continue;
    environment.variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  std::array<char, 256> hostname{};
  if (gethostname(hostname.data(), hostname.size() - 1) == 0) environment.hostname = hostname.data();
  return environment;
}

std::string ConfigError::ToString() const {
  std::string place = source;
  if (line > 0) place += ":" + std::to_string(line) + ":" + std::to_string(column);
  return (place.empty() ? "" : place + ": ") + (warning ? "warning: " : "") + text;
}

bool LoadedConfig::ok() const {
  return std::all_of(problems.begin(), problems.end(), [](const ConfigError& e) { return e.warning; });
}

LoadedConfig LoadConfig(const std::string& path, const Environment& environment) {
  const Result<std::string> text = ReadFile(path);
  if (text.ok()) return ParseConfig(path, *text, environment);
  LoadedConfig failed;
  failed.file = path;
  failed.problems.push_back({.source = path, .text = std::string(text.status().message())});
  return failed;
}

LoadedConfig ParseConfig(const std::string& file, std::string_view text, const Environment& environment) {
  Loader loader(file, environment);
  loader.ReadText(text);
  loader.ReadEnvironment();
  return loader.Finish(nullptr);
}

LoadedConfig LoadDevConfig(const std::string& data_dir, const Environment& environment) {
  Loader loader("", environment);
  loader.Preset("node", "data_dir", data_dir);
  loader.Preset("cluster", "name", "dev");
  loader.Preset("cluster", "bootstrap", "single");
  loader.ReadEnvironment();
  return loader.Finish(CheckDevRelations);
}

Config DevConfig(const std::string& data_dir) {
  LoadedConfig loaded = LoadDevConfig(data_dir, {.hostname = "localhost"});
  CHECK(loaded.ok()) << loaded.problems.front().ToString();
  return std::move(loaded.config);
}

std::vector<const Key*> NeedRestart(const LoadedConfig& running, const LoadedConfig& fresh) {
  std::vector<const Key*> keys;
  for (size_t i = 0; i < std::min(running.settings.size(), fresh.settings.size()); ++i) {
    const Setting& setting = running.settings[i];
    if (!setting.key->reloadable && setting.value != fresh.settings[i].value) keys.push_back(setting.key);
  }
  return keys;
}

}  // namespace flotilla::config
