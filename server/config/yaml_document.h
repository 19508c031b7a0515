// A YAML file as a tree that keeps what a strict reader needs: where everything stands, and keys that are written twice.
// The only code that knows the YAML library.
//
// Refused, each with its place: anchors and aliases, merge keys, tags, several documents, keys that are no plain words, tabs
// as indentation, control characters, nesting and size beyond any configuration.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace flotilla::config {

inline constexpr size_t kYamlBytesMax = 1 << 20;
// The file has sections, keys and lists: 3. The rest is room for a better message than "too deep".
inline constexpr size_t kYamlDepthMax = 16;

// From 1. Line 0: nowhere in particular.
struct YamlPlace {
  int line = 0;
  int column = 0;
  auto operator<=>(const YamlPlace&) const = default;
};

struct YamlError {
  YamlPlace place;
  std::string text;
};

struct YamlEntry;

struct YamlNode {
  enum class Kind {
    kNull,  // nothing was written, or ~ or null
    kText,
    kList,
    kMap,
    kRefused,  // there is an error about it already
  };
  Kind kind = Kind::kNull;
  YamlPlace place;
  std::string text;                // kText
  std::vector<YamlNode> items;     // kList
  std::vector<YamlEntry> entries;  // kMap: in the order of the file, with duplicates
};

struct YamlEntry {
  std::string key;
  YamlPlace place;
  YamlNode value;
};

struct YamlDocument {
  YamlNode root;  // kNull when the text is empty
  // After an error of syntax the root is kRefused: nothing can be said about the rest.
  std::vector<YamlError> errors;
};

// Any text, in bounded time and stack.
YamlDocument ParseYaml(std::string_view text);

// One text as a YAML scalar: plain where that is safe, in double quotes otherwise.
std::string YamlScalar(std::string_view text);

}  // namespace flotilla::config
