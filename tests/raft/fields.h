// Names for what scripts look at: the fields of a message and of a replica, as text.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "raft/core/messages.h"
#include "tests/raft/cluster.h"
#include "tests/raft/script.h"

namespace flotilla::raft::scenario {

// "Append", "PreVoteReply", ...
std::string KindOf(const Message& message);
bool IsMessageKind(const std::string& word);
// "prev" of an Append is "4@2". Throws when the message's kind has no such field.
std::string FieldOf(const Message& message, const std::string& name);

// "commit" is "4"; "match.2" is what a leader knows of replica 2; "disk.last" what is durable. Throws for
// unknown names, and for a crashed replica unless the name is about its disk.
std::string FieldOf(const Replica& replica, const std::string& name);

// "OK", or the name of the reason.
std::string ReasonOf(const Status& status);

// Which messages a command is about:   1->2 Append prev=4@2 first 1
class MessageFilter {
 public:
  // All words have to be part of the filter.
  explicit MessageFilter(const std::vector<std::string>& words);
  // Positions in the pool, ascending.
  std::vector<size_t> Select(const std::vector<Message>& pool) const;

 private:
  bool Matches(const Message& message) const;

  std::optional<std::vector<ReplicaId>> from_, to_;
  std::vector<std::string> kinds_;
  std::vector<Comparison> fields_;
  std::optional<size_t> first_, last_;  // only so many
};

}  // namespace flotilla::raft::scenario
