#include "server/config/yaml_document.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <optional>
#include <sstream>

namespace flotilla::config {
namespace {

YamlPlace PlaceOf(const YAML::Mark& mark) {
  if (mark.is_null()) return {};
  return {.line = mark.line + 1, .column = mark.column + 1};
}

// Put behind the text as a comment. The library takes a quote that is never closed as closed at the end of the file: then
// this is part of a value. The bytes cannot stand in the text itself.
constexpr std::string_view kEndOfText = "#\x01 end of the text \x01";

struct TooDeep {
  YamlPlace place;
};

// Puts the library's events together. It works on the events and not on the library's tree, because the tree keeps one of
// two equal keys and does not say so.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(YamlDocument& document) : document_(document) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    RefuseAnchor(mark, anchor);
    Finish({.kind = YamlNode::Kind::kNull, .place = PlaceOf(mark)});
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Refuse(mark, "aliases (*name) are not supported; write the value out");
    Finish({.kind = YamlNode::Kind::kRefused, .place = PlaceOf(mark)});
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    RefuseAnchor(mark, anchor);
    RefuseTag(mark, tag);
    if (value.find(kEndOfText) != std::string::npos) {
      Refuse(mark, "this quote is never closed");
      return Finish({.kind = YamlNode::Kind::kRefused, .place = PlaceOf(mark)});
    }
    Finish({.kind = YamlNode::Kind::kText, .place = PlaceOf(mark), .text = value});
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { Close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct Frame {
    YamlNode node;
    // Of a map: what was read as a key and still needs its value.
    std::optional<YamlEntry> entry = {};
  };

  void Refuse(const YAML::Mark& mark, std::string text) { document_.errors.push_back({PlaceOf(mark), std::move(text)}); }

  void RefuseAnchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) Refuse(mark, "anchors (&name) are not supported; write the value where it is needed");
  }

  // "?" and "!" are what the library says of plain and of quoted scalars.
  void RefuseTag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") Refuse(mark, "tags (!name) are not supported; leave the tag out");
  }

  void Open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    RefuseAnchor(mark, anchor);
    RefuseTag(mark, tag);
    if (frames_.size() == kYamlDepthMax) throw TooDeep{PlaceOf(mark)};
    frames_.push_back({.node = {.kind = kind, .place = PlaceOf(mark)}});
  }

  void Close() {
    YamlNode node = std::move(frames_.back().node);
    frames_.pop_back();
    Finish(std::move(node));
  }

  void Finish(YamlNode node) {
    if (frames_.empty()) {
      document_.root = std::move(node);
      return;
    }
    Frame& frame = frames_.back();
    if (frame.node.kind == YamlNode::Kind::kList) {
      frame.node.items.push_back(std::move(node));
    } else if (!frame.entry) {
      frame.entry = KeyOf(std::move(node));
    } else {
      frame.entry->value = std::move(node);
      // What stands under a refused key has been complained about with it.
      if (!frame.entry->key.empty()) frame.node.entries.push_back(*std::move(frame.entry));
      frame.entry.reset();
    }
  }

  YamlEntry KeyOf(YamlNode node) {
    YamlEntry entry{.key = std::move(node.text), .place = node.place};
    const auto refuse = [&](std::string text) {
      document_.errors.push_back({node.place, std::move(text)});
      entry.key.clear();
    };
    if (node.kind == YamlNode::Kind::kRefused) return entry;
    if (node.kind != YamlNode::Kind::kText || entry.key.empty()) {
      refuse("a key is a plain word, such as listen");
    } else if (entry.key == "<<") {
      refuse("merge keys (<<) are not supported; write the values out");
    }
    return entry;
  }

  YamlDocument& document_;
  std::vector<Frame> frames_;
};

// What the library would take in silence, or report where nobody looks for it.
std::vector<YamlError> CheckCharacters(std::string_view text) {
  static constexpr size_t kErrorsMax = 20;
  std::vector<YamlError> errors;
  YamlPlace place{.line = 1, .column = 1};
  bool indentation = true;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (errors.size() == kErrorsMax) break;
    if (c == '\n') {
      place = {.line = place.line + 1, .column = 1};
      indentation = true;
      continue;
    }
    if (c == '\t' && indentation) {
      errors.push_back({place, "a tab at the beginning of a line; indent with spaces"});
      indentation = false;
    } else if ((byte < 0x20 && c != '\t' && c != '\r') || byte == 0x7f || byte >= 0xf8) {
      static constexpr char kHex[] = "0123456789abcdef";
      errors.push_back({place, std::string("byte 0x") + kHex[byte >> 4] + kHex[byte & 15] + " is no text; write the file in UTF-8"});
    }
    if (c != ' ') indentation = false;
    ++place.column;
  }
  return errors;
}

YamlDocument Refused(YamlDocument document, YamlPlace place, std::string text) {
  document.root = {.kind = YamlNode::Kind::kRefused};
  document.errors.push_back({place, std::move(text)});
  return document;
}

// Only to notice that there is a second document.
class Ignore final : public YAML::EventHandler {
 public:
  YamlPlace place;
  void OnDocumentStart(const YAML::Mark& mark) override { place = PlaceOf(mark); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override { Enter(mark); }
  void OnSequenceEnd() override { --depth_; }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override { Enter(mark); }
  void OnMapEnd() override { --depth_; }

 private:
  void Enter(const YAML::Mark& mark) {
    if (++depth_ > kYamlDepthMax) throw TooDeep{PlaceOf(mark)};
  }
  size_t depth_ = 0;
};

}  // namespace

YamlDocument ParseYaml(std::string_view text) {
  YamlDocument document;
  if (text.size() > kYamlBytesMax) {
    return Refused({}, {}, "the file has " + std::to_string(text.size()) + " bytes; a configuration has at most 1 MiB");
  }
  document.errors = CheckCharacters(text);
  if (!document.errors.empty()) {
    document.root.kind = YamlNode::Kind::kRefused;
    return document;
  }
  std::istringstream stream(std::string(text) + "\n" + std::string(kEndOfText) + "\n");
  try {
    YAML::Parser parser(stream);
    TreeBuilder builder(document);
    if (!parser.HandleNextDocument(builder)) return document;
    Ignore second;
    if (parser.HandleNextDocument(second)) {
      document.errors.push_back({second.place, "a second document begins here; a configuration is one: remove the '---'"});
    }
    return document;
  } catch (const TooDeep& deep) {
    return Refused(std::move(document), deep.place, "nested more than 16 deep; the file has sections with keys, and nothing deeper");
  } catch (const YAML::Exception& e) {
    return Refused(std::move(document), PlaceOf(e.mark), "not valid YAML: " + e.msg);
  }
}

std::string YamlScalar(std::string_view text) {
  static constexpr std::array<std::string_view, 6> kWords = {"", "~", "null", "Null", "NULL", "-"};
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' || c == '/' ||
           c == ':';
  };
  const bool word = std::find(kWords.begin(), kWords.end(), text) == kWords.end();
  const bool safe_ends = !text.empty() && text.front() != ':' && text.front() != '-' && text.back() != ':';
  if (word && safe_ends && std::all_of(text.begin(), text.end(), plain)) return std::string(text);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

}  // namespace flotilla::config
