#include "tests/raft/forge.h"

#include <map>
#include <sstream>
#include <string>
#include <utility>

#include "tests/raft/cluster.h"

namespace flotilla::raft::scenario {

Message Forged(Words& words) {
  const std::string link = words.Next("a link such as 1->2");
  const size_t arrow = link.find("->");
  if (arrow == std::string::npos) throw Failure{Text("'", link, "' is not a link; write 1->2")};
  const std::string kind = words.Next("a kind of message");
  std::map<std::string, std::string> fields;
  for (const std::string& word : words.Rest()) {
    const auto field = ParseComparison(word);
    if (!field || field->op != "=") throw Failure{Text("'", word, "' is not a field; write name=value")};
    fields[field->key] = field->value;
  }
  const auto text = [&](const char* name) {
    auto found = fields.extract(name);
    return found.empty() ? std::string() : found.mapped();
  };
  const auto number = [&](const char* name) {
    const std::string value = text(name);
    return value.empty() ? uint64_t{0} : Words::NumberOf(value);
  };
  const auto id = [&](const char* name) {
    const std::string value = text(name);
    return value.empty() ? storage::EntryId{} : Words::EntryIdOf(value);
  };
  Message message{.group = kGroup,
                  .from = Words::IdOf(link.substr(0, arrow)),
                  .to = Words::IdOf(link.substr(arrow + 2)),
                  .term = Term{number("term")},
                  .body = TimeoutNow{}};
  if (const std::string group = text("group"); !group.empty()) message.group = GroupId{Words::NumberOf(group)};
  if (kind == "Append") {
    AppendRequest append{
        .prev = id("prev"), .entries = {}, .commit = LogIndex{number("commit")}, .acknowledged = LogIndex{number("acknowledged")}};
    Offset base{number("base")};
    std::istringstream list(text("entries"));
    for (std::string word; std::getline(list, word, ',');) {
      Entry entry;
      const storage::EntryId entry_id = Words::EntryIdOf(word);
      entry.header.group = kGroup;
      entry.header.index = entry_id.index;
      entry.header.term = entry_id.term;
      entry.header.kind = EntryKind::kData;
      entry.header.base_offset = base;
      entry.header.record_count = 1;
      entry.payload = Bytes(word);
      storage::SealEntry(&entry);
      base += 1;
      append.entries.push_back(std::move(entry));
    }
    message.body = std::move(append);
  } else if (kind == "AppendReply") {
    message.body = AppendReply{.accepted = text("accepted") == "yes", .index = LogIndex{number("index")}, .hint = id("hint")};
  } else if (kind == "PreVote" || kind == "Vote") {
    const uint64_t campaign = number("for");
    message.body = VoteRequest{.pre_vote = kind == "PreVote",
                               .transfer = text("transfer") == "yes",
                               .campaign_term = campaign == 0 ? message.term : Term{campaign},
                               .last = id("last")};
  } else if (kind == "VoteReply" || kind == "PreVoteReply") {
    const uint64_t campaign = number("for");
    message.body = VoteReply{.pre_vote = kind == "PreVoteReply",
                             .granted = text("granted") == "yes",
                             .campaign_term = campaign == 0 ? message.term : Term{campaign}};
  } else if (kind == "Heartbeat") {
    message.body = raft::Heartbeat{.commit = LogIndex{number("commit")}, .read_round = number("round")};
  } else if (kind == "HeartbeatReply") {
    message.body = HeartbeatReply{.read_round = number("round"), .last = LogIndex{number("last")}};
  } else if (kind == "ReadIndexReply") {
    message.body = ReadIndexReply{.sequence = number("sequence"), .ok = text("ok") == "yes", .index = LogIndex{number("index")}};
  } else if (kind != "TimeoutNow") {
    throw Failure{Text("'", kind, "' cannot be forged")};
  }
  if (!fields.empty()) throw Failure{Text("a forged ", kind, " has no field '", fields.begin()->first, "'")};
  return message;
}

}  // namespace flotilla::raft::scenario
