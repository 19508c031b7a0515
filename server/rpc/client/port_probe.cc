#include "server/rpc/client/port_probe.h"

#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace flotilla::rpc::client {
namespace {

constexpr char kMethod[] = "/flotilla.v1.ClusterService/GetServerInfo";
// So long a call waits, also for the connection.
constexpr auto kPatience = std::chrono::seconds(5);

std::shared_ptr<grpc::Channel> OwnConnection(const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

}  // namespace

class PortProbe::Impl {
 public:
  Impl(const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials)
      : stub_(OwnConnection(address, credentials)) {}

  ~Impl() {
    std::unique_lock lock(mutex_);
    ended_ = true;
    if (context_ != nullptr) context_->TryCancel();
    idle_.wait(lock, [this] { return context_ == nullptr; });
  }

  void Ask() {
    grpc::ClientContext* context = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (ended_ || context_ != nullptr) return;
      context_ = std::make_unique<grpc::ClientContext>();
      context_->set_deadline(std::chrono::system_clock::now() + kPatience);
      context_->set_wait_for_ready(true);
      context = context_.get();
      const grpc::Slice nothing;
      request_ = grpc::ByteBuffer(&nothing, 1);
    }
    stub_.UnaryCall(context, kMethod, grpc::StubOptions(), &request_, &response_, [this](const grpc::Status& status) { OnEnd(status); });
  }

  uint64_t answers() const {
    const std::lock_guard lock(mutex_);
    return answers_;
  }

 private:
  void OnEnd(const grpc::Status& status) {
    const std::lock_guard lock(mutex_);
    if (status.ok() || status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) ++answers_;
    response_.Clear();
    context_.reset();
    idle_.notify_all();  // under the lock: the destructor may be waiting
  }

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  // Of the call that is on its way, or null.
  std::unique_ptr<grpc::ClientContext> context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  grpc::GenericStub stub_;
  uint64_t answers_ = 0;
  bool ended_ = false;
};

PortProbe::PortProbe(const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials)
    : impl_(std::make_unique<Impl>(address, credentials)) {}
PortProbe::~PortProbe() = default;
void PortProbe::Ask() { impl_->Ask(); }
uint64_t PortProbe::answers() const { return impl_->answers(); }

}  // namespace flotilla::rpc::client
