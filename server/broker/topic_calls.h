// AdminService: topics and their settings. What changes something is served by the metadata leader, what only looks by any node.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "flotilla/v1/admin.pb.h"
#include "server/broker/decisions.h"
#include "server/broker/member_context.h"

namespace flotilla::broker {

class TopicCalls final : public CallService {
 public:
  TopicCalls(const MemberContext& member, Decisions& decisions);

  void Tick() override;
  void OnLeader(GroupId group) override;

 private:
  // A topic that was made or grew, until all its partitions have leaders.
  struct Growing {
    Uuid topic;
    LogIndex version;
    raft::Tick until = 0;
    bool created = false;
  };

  void Create(uint64_t id, const v1::CreateTopicRequest& request);
  void Get(uint64_t id, const v1::GetTopicRequest& request);
  void List(uint64_t id, const v1::ListTopicsRequest& request);
  void Delete(uint64_t id, const v1::DeleteTopicRequest& request);
  void AddPartitions(uint64_t id, const v1::AddPartitionsRequest& request);
  void GetConfig(uint64_t id, const v1::GetConfigRequest& request);
  void UpdateConfig(uint64_t id, const v1::UpdateConfigRequest& request);

  // What the topic would be; without an id.
  Result<v1::Topic> Preview(const metadata::Request& request, const Uuid& topic) const;
  void Grow(uint64_t id, const metadata::Answer& answer, bool created);
  bool AnswerIfGrown(uint64_t id, const Growing& growing);
  void AnswerConfig(uint64_t id, const v1::ConfigResource& resource, LogIndex version);
  Result<std::optional<metadata::TopicSelector>> ResourceOf(const v1::ConfigResource& resource) const;

  const MemberContext member_;
  Decisions& decisions_;
  std::map<uint64_t, Growing> growing_;
};

}  // namespace flotilla::broker
