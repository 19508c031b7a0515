// A scenario as text: one command per line, '#' begins a comment, "=> REASON" at the end of a line is the
// outcome that the command has to have (OK without it).
//
//   propose 2 x   => NOT_LEADER leader=1
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "storage/base/ids.h"
#include "storage/base/status.h"
#include "storage/log/entry.h"

namespace flotilla::raft::scenario {

struct Command {
  int line = 0;
  std::string text;  // as written, without the comment
  std::string name;
  std::vector<std::string> words;    // behind the name, up to "=>"
  std::vector<std::string> outcome;  // behind "=>": the reason, then details
};

struct Script {
  std::string file;
  std::vector<Command> commands;
};

// INVALID_ARGUMENT with file and line.
Result<Script> ParseScript(std::string file, const std::string& text);

// Reads the words of a command one by one; what is missing or malformed throws a Failure that says what was
// expected.
class Words {
 public:
  explicit Words(const std::vector<std::string>& words) : words_(words) {}
  bool empty() const { return at_ == words_.size(); }
  const std::string& peek() const { return words_[at_]; }
  bool Take(const std::string& word);  // if it is the next one
  std::string Next(const char* what);
  uint64_t Number(const char* what);
  ReplicaId Id() { return IdOf(Next("a replica")); }
  // "1,2,3.1"
  std::vector<ReplicaId> Ids() { return IdsOf(Next("replicas, as in 1,2")); }
  // Everything left is consumed.
  std::vector<std::string> Rest();
  void End() const;

  static uint64_t NumberOf(const std::string& text);
  static ReplicaId IdOf(const std::string& text);
  static std::vector<ReplicaId> IdsOf(const std::string& text);
  // "7@3": index 7 of term 3.
  static storage::EntryId EntryIdOf(const std::string& text);

 private:
  const std::vector<std::string>& words_;
  size_t at_ = 0;
};

// "key=value" and its relatives.
struct Comparison {
  std::string key;
  std::string op;  // = != >= <=
  std::string value;
  // Numbers compare as numbers, everything else as text (= and != only).
  bool Holds(const std::string& actual) const;
};
std::optional<Comparison> ParseComparison(const std::string& word);

}  // namespace flotilla::raft::scenario
