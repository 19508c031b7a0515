// Asks the leaders of groups, wherever they are, how their groups do. A leader that does not answer in time costs its groups'
// details, not the call.
//
//   descriptions.Ask(groups, [](std::map<GroupId, GroupDescription> found) { ... });
//
// Executor only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "flotilla/internal/v1/peer.pb.h"
#include "server/broker/member_context.h"

namespace flotilla::broker {

class GroupDescriptions final : public CallService {
 public:
  using Found = std::map<GroupId, internal::v1::GroupDescription>;
  using Then = std::function<void(const Found&)>;

  explicit GroupDescriptions(const MemberContext& member);

  // `then` once, perhaps before this returns.
  void Ask(const std::vector<GroupId>& groups, Then then);

 private:
  struct Question {
    Found found;
    size_t waiting = 0;
    Then then;
  };
  void Describe(uint64_t id, const internal::v1::DescribeGroupsRequest& request);
  void OnAnswer(const std::shared_ptr<Question>& question, const Result<std::string>& answer);

  const MemberContext member_;
};

}  // namespace flotilla::broker
