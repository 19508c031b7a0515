#include "client/cpp/producer.h"

#include <condition_variable>
#include <mutex>

#include "client/cpp/producer_core.h"
#include "flotilla/v1/produce.pb.h"

namespace flotilla::client {
namespace {

constexpr size_t kBatchBytesMax = size_t{4} << 20;                // a request has 8 MiB
constexpr Duration kSilenceMin = std::chrono::milliseconds(100);  // a broker that lives may need some of it
constexpr int kInFlightIdempotentMax = 5;                         // what a partition remembers of a producer

Error Invalid(std::string message) {
  return Error(ErrorCode::kInvalidArgument, reasons::kInvalidArgument, Retry::kNever, std::move(message));
}

Error Check(const ProducerOptions& options) {
  if (options.topic.empty()) return Invalid("a producer needs a topic");
  if (options.batch_bytes < 1 || options.batch_bytes > kBatchBytesMax) {
    return Invalid("batch_bytes is " + std::to_string(options.batch_bytes) + "; use 1 to " + std::to_string(kBatchBytesMax));
  }
  if (options.in_flight_max < 1 || (options.idempotent && options.in_flight_max > kInFlightIdempotentMax)) {
    return Invalid("in_flight_max is " + std::to_string(options.in_flight_max) + "; use 1 to " + std::to_string(kInFlightIdempotentMax) +
                   ", or more without idempotence");
  }
  if (options.linger < Duration::zero()) return Invalid("linger is negative");
  if (options.silence_max < kSilenceMin) {
    return Invalid("silence_max is " + std::to_string(options.silence_max / std::chrono::milliseconds(1)) + " ms; use " +
                   std::to_string(kSilenceMin / std::chrono::milliseconds(1)) + " ms or more");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Producer>> Producer::Open(Client& client, const ProducerOptions& options) {
  if (Error error = Check(options); !error.ok()) return error;
  // Asked even if it is known: the leaders are wanted too.
  if (Error error = client.RefreshTopic(options.topic); !error.ok()) return error;
  const Result<int32_t> partitions = client.PartitionCount(options.topic);
  if (!partitions.ok()) return partitions.error();
  ProducerIdentity identity;
  if (options.idempotent) {
    v1::InitProducerRequest request;
    request.set_request_id(NewRequestId());
    v1::InitProducerResponse response;
    if (Error error = client.Call("/flotilla.v1.ProduceService/InitProducer", request, &response); !error.ok()) return error;
    identity = {.producer_id = response.producer_id(), .epoch = response.producer_epoch()};
  }
  auto core = std::make_shared<ProducerCore>(client, options, *partitions, identity);
  core->Start();
  return std::unique_ptr<Producer>(new Producer(std::move(core)));
}

Producer::Producer(std::shared_ptr<ProducerCore> core) : core_(std::move(core)) {}
Producer::~Producer() { core_->Stop(); }

Error Producer::Send(const RecordView& record, const SendOptions& options) { return core_->Send(record, options, false); }

Result<Producer::Place> Producer::SendAndWait(const RecordView& record, SendOptions options) {
  struct Waiting {
    std::mutex mutex;
    std::condition_variable settled;
    bool done = false;
    Error error;
    Place place;
  };
  const auto waiting = std::make_shared<Waiting>();
  options.callback = [waiting](const Error& error, int32_t partition, int64_t offset) {
    const std::lock_guard lock(waiting->mutex);
    waiting->done = true;
    waiting->error = error;
    waiting->place = {.partition = partition, .offset = offset};
    waiting->settled.notify_one();
  };
  if (Error error = core_->Send(record, options, true); !error.ok()) return error;
  std::unique_lock lock(waiting->mutex);
  waiting->settled.wait(lock, [&] { return waiting->done; });
  if (!waiting->error.ok()) return waiting->error;
  return waiting->place;
}

Error Producer::Flush(Duration timeout) { return core_->Flush(timeout); }

Error Producer::Close(Duration timeout) {
  Error error = core_->Flush(timeout);
  core_->Stop();
  return error;
}

int32_t Producer::partition_count() const { return core_->partition_count(); }

}  // namespace flotilla::client
