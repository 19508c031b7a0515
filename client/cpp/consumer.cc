#include "client/cpp/consumer.h"

#include "client/cpp/consumer_core.h"

namespace flotilla::client {

Result<std::unique_ptr<Consumer>> Consumer::Open(Client& client, const ConsumerOptions& options) {
  if (options.topic.empty()) {
    return Error(ErrorCode::kInvalidArgument, reasons::kInvalidArgument, Retry::kNever, "a consumer needs a topic");
  }
  if (Error error = client.RefreshTopic(options.topic); !error.ok()) return error;
  const Result<int32_t> count = client.PartitionCount(options.topic);
  if (!count.ok()) return count.error();
  std::vector<int32_t> partitions = options.partitions;
  for (int32_t number = 0; options.partitions.empty() && number < *count; ++number) partitions.push_back(number);
  for (const int32_t number : partitions) {
    if (number >= 0 && number < *count) continue;
    return Error(ErrorCode::kNotFound, reasons::kPartitionNotFound, Retry::kNever,
                 "topic \"" + options.topic + "\" has partitions 0 to " + std::to_string(*count - 1) + ", not " + std::to_string(number));
  }
  return std::unique_ptr<Consumer>(new Consumer(std::make_shared<ConsumerCore>(client, options, partitions)));
}

Consumer::Consumer(std::shared_ptr<ConsumerCore> core) : core_(std::move(core)) {}
Consumer::~Consumer() { core_->Stop(); }

Result<ConsumerEvent> Consumer::Next(Duration wait) { return core_->Next(wait); }
std::vector<std::pair<int32_t, int64_t>> Consumer::Positions() const { return core_->Positions(); }

}  // namespace flotilla::client
