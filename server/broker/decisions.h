// Decisions of the metadata leader on behalf of calls: submits, and comes back with the answer on a turn of its own.
//
//   decisions.Submit(request, [this, id](const metadata::Answer& answer) { ... });
//
// Executor only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "raft/node/executor.h"
#include "server/metadata/metadata_controller.h"

namespace flotilla::broker {

class Decisions final : private metadata::AnswerSink {
 public:
  using Then = std::function<void(const metadata::Answer&)>;
  // References outlive this.
  Decisions(raft::Executor& executor, metadata::MetadataController& controller) : executor_(executor), controller_(controller) {}

  void Submit(const metadata::Request& request, Then then) {
    const uint64_t token = next_token_++;
    waiting_.emplace(token, std::move(then));
    controller_.Submit(request, token, *this);
  }
  // Those that are not answered yet.
  size_t size() const { return waiting_.size(); }

 private:
  // Inside of group 0, perhaps: the rest is posted.
  void OnAnswer(uint64_t token, const metadata::Answer& answer) override {
    executor_.Post([this, token, answer] {
      const auto found = waiting_.find(token);
      const Then then = std::move(found->second);
      waiting_.erase(found);
      then(answer);
    });
  }

  raft::Executor& executor_;
  metadata::MetadataController& controller_;
  uint64_t next_token_ = 1;
  std::map<uint64_t, Then> waiting_;
};

}  // namespace flotilla::broker
