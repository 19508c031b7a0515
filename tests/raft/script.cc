#include "tests/raft/script.h"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <utility>

#include "tests/raft/cluster.h"

namespace flotilla::raft::scenario {
namespace {

std::optional<uint64_t> ToNumber(const std::string& text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

}  // namespace

Result<Script> ParseScript(std::string file, const std::string& text) {
  Script script{.file = std::move(file), .commands = {}};
  std::istringstream in(text);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    line = line.substr(0, line.find('#'));
    std::istringstream words(line);
    Command command{.line = number, .text = {}, .name = {}, .words = {}, .outcome = {}};
    bool behind_arrow = false;
    for (std::string word; words >> word;) {
      command.text += (command.text.empty() ? "" : " ") + word;
      if (command.name.empty()) {
        command.name = word;
      } else if (word == "=>") {
        behind_arrow = true;
      } else {
        (behind_arrow ? command.outcome : command.words).push_back(word);
      }
    }
    if (behind_arrow && command.outcome.empty()) {
      return Status(Reason::kInvalidArgument, Text(script.file, ":", number, ": a reason has to follow =>, such as NOT_LEADER"));
    }
    if (!command.name.empty()) script.commands.push_back(std::move(command));
  }
  if (script.commands.empty()) return Status(Reason::kInvalidArgument, Text(script.file, ": there is no command in it"));
  return script;
}

bool Words::Take(const std::string& word) {
  if (empty() || peek() != word) return false;
  ++at_;
  return true;
}

std::string Words::Next(const char* what) {
  if (empty()) throw Failure{Text("the line ends where ", what, " is expected")};
  return words_[at_++];
}

uint64_t Words::Number(const char* what) {
  if (empty()) throw Failure{Text("a number is missing: ", what)};
  return NumberOf(words_[at_++]);
}

std::vector<std::string> Words::Rest() {
  std::vector<std::string> rest(words_.begin() + static_cast<std::ptrdiff_t>(at_), words_.end());
  at_ = words_.size();
  return rest;
}

void Words::End() const {
  if (!empty()) throw Failure{Text("'", peek(), "' is one word too many")};
}

uint64_t Words::NumberOf(const std::string& text) {
  if (const auto number = ToNumber(text)) return *number;
  throw Failure{Text("'", text, "' is not a number")};
}

ReplicaId Words::IdOf(const std::string& text) {
  const std::vector<std::string> parts = Split(text, '.');
  const auto node = parts.empty() ? std::nullopt : ToNumber(parts[0]);
  const auto incarnation = parts.size() < 2 ? std::optional<uint64_t>(0) : ToNumber(parts[1]);
  if (parts.size() > 2 || !node || !incarnation || *node == 0) {
    throw Failure{Text("'", text, "' is not a replica; write 3, or 3.1 for a later life of node 3")};
  }
  return {NodeId{*node}, *incarnation};
}

std::vector<ReplicaId> Words::IdsOf(const std::string& text) {
  std::vector<ReplicaId> ids;
  for (const std::string& part : Split(text, ',')) ids.push_back(IdOf(part));
  return ids;
}

storage::EntryId Words::EntryIdOf(const std::string& text) {
  const std::vector<std::string> parts = Split(text, '@');
  const auto index = parts.size() == 2 ? ToNumber(parts[0]) : std::nullopt;
  const auto term = parts.size() == 2 ? ToNumber(parts[1]) : std::nullopt;
  if (!index || !term) throw Failure{Text("'", text, "' is not an entry; write 7@3 for index 7 of term 3")};
  return {Term{*term}, LogIndex{*index}};
}

std::optional<Comparison> ParseComparison(const std::string& word) {
  for (const char* op : {"!=", ">=", "<=", "="}) {
    const size_t at = word.find(op);
    if (at == std::string::npos || at == 0) continue;
    return Comparison{word.substr(0, at), op, word.substr(at + std::string(op).size())};
  }
  return std::nullopt;
}

bool Comparison::Holds(const std::string& actual) const {
  if (op == "=") return actual == value;
  if (op == "!=") return actual != value;
  const auto left = ToNumber(actual);
  const auto right = ToNumber(value);
  if (!left || !right) throw Failure{Text("'", actual, "' and '", value, "' are not both numbers: ", key, op, value)};
  return op == ">=" ? *left >= *right : *left <= *right;
}

}  // namespace flotilla::raft::scenario
