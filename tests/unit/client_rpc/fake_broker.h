// A broker as small as can be behind the clients' port: topic "orders" of 12 partitions, which are vectors in memory.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "raft/node/thread_executor.h"
#include "server/broker/client_api.h"
#include "server/errors/error_codec.h"
#include "storage/base/mutex.h"
#include "tests/unit/client_rpc/scene.h"

namespace flotilla::rpc::client {

// What happened, for tests that wait for it.
class EventLog {
 public:
  void Add(const std::string& event) {
    const MutexLock lock(mutex_);
    ++counts_[event];
    changed_.NotifyAll();
  }
  int Count(const std::string& event) {
    const MutexLock lock(mutex_);
    return counts_[event];
  }
  // False: it did not happen so often within 10 seconds.
  bool WaitFor(const std::string& event, int times = 1) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    const MutexLock lock(mutex_);
    while (counts_[event] < times && std::chrono::steady_clock::now() < until) {
      changed_.WaitFor(mutex_, std::chrono::milliseconds(100));
    }
    return counts_[event] >= times;
  }

 private:
  Mutex mutex_;
  ConditionVariable changed_;
  std::map<std::string, int> counts_;
};

class FakeBroker final : public broker::ClientApi {
 public:
  FakeBroker() : executor_("broker") { executor_.Start(); }
  ~FakeBroker() override { executor_.Stop(); }

  EventLog log;

  // --- set before calls, or by Run
  bool hold = false;  // what comes waits for Release
  Status available;
  Result<std::string> call_answer = std::string();
  broker::FetchAnswer fetch_answer;
  std::vector<broker::SubscribeEvent> events;  // of every subscription, then it waits
  std::optional<Status> end_after_events;
  Status sync_answer;
  metadata::Shared<metadata::Image> image_after_sync;  // null: the same
  // --- looked at by Run
  std::vector<broker::ProduceCommand> commands;
  std::vector<std::string> requests;  // of Call
  std::vector<v1::FetchRequest> fetches;
  std::optional<broker::Caller> caller;  // the last one
  std::map<uint32_t, std::vector<std::string>> stored;

  // On the executor, and waits.
  void Run(const std::function<void()>& work) {
    std::promise<void> done;
    executor_.Post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  // Answers what waits, in its order.
  void Release() {
    Run([this] {
      hold = false;
      for (auto& [number, answer] : std::exchange(held_, {})) answer();
    });
  }
  // Ends all subscriptions.
  void EndSubscriptions(const Status& status) {
    Run([&] {
      for (Subscription* subscription : std::set<Subscription*>(subscriptions_)) subscription->sink.OnEnd(status);
    });
  }
  void LeaveCluster() {
    const MutexLock lock(mutex_);
    image_ = nullptr;
  }

  raft::Executor& executor() override { return executor_; }
  metadata::Shared<metadata::Image> metadata() const override {
    const MutexLock lock(mutex_);
    return image_;
  }
  Status Available() const override {
    const_cast<EventLog&>(log).Add("asked");
    return available;
  }

  void SyncMetadata(const broker::Caller&, std::function<void(const Status&)> done) override {
    log.Add("sync");
    Later([this, done = std::move(done)] {
      if (image_after_sync != nullptr) {
        const MutexLock lock(mutex_);
        image_ = image_after_sync;
      }
      done(sync_answer);
    });
  }
  uint64_t Call(std::string_view method, const std::string& request, const broker::Caller& who, broker::CallDone done) override {
    requests.push_back(request);
    caller = who;
    log.Add("call " + std::string(method));
    return Later([this, done = std::move(done)] { done(call_answer); });
  }
  uint64_t Fetch(const v1::FetchRequest& request, const broker::Caller& who, broker::FetchDone done) override {
    fetches.push_back(request);
    caller = who;
    log.Add("fetch");
    return Later([this, done = std::move(done)] { done(fetch_answer); });
  }
  void Cancel(uint64_t ticket) override {
    held_.erase(ticket);
    log.Add("cancel");
  }
  std::unique_ptr<broker::ProduceSession> OpenProduce(broker::ProduceSink& sink) override {
    return std::make_unique<Producing>(*this, sink);
  }
  std::unique_ptr<broker::EventStream> Subscribe(const v1::SubscribeRequest&, const broker::Caller&, broker::SubscribeSink& sink) override {
    auto subscription = std::make_unique<Subscription>(*this, sink);
    subscription->SendNext();
    return subscription;
  }
  std::unique_ptr<broker::EventStream> WatchMetadata(const v1::WatchMetadataRequest&, const broker::Caller&,
                                                     broker::WatchSink& sink) override {
    v1::WatchMetadataResponse event;
    event.mutable_heartbeat()->set_time_ms(7);
    sink.OnEvent(event);
    struct Nothing final : broker::EventStream {
      void Ready() override {}
    };
    return std::make_unique<Nothing>();
  }

 private:
  class Producing final : public broker::ProduceSession {
   public:
    Producing(FakeBroker& broker, broker::ProduceSink& sink) : broker_(broker), sink_(sink) {}
    ~Producing() override {
      for (const uint64_t ticket : waiting_) broker_.held_.erase(ticket);
      broker_.log.Add("session closed");
    }
    void Submit(broker::ProduceCommand command, const broker::Caller& who, uint64_t token) override {
      broker_.caller = who;
      v1::ProduceResponse response = broker_.Append(command);
      broker_.commands.push_back(std::move(command));
      broker_.log.Add("submit");
      waiting_.push_back(broker_.Later([this, token, response] { sink_.OnProduced(token, response); }));
    }

   private:
    FakeBroker& broker_;
    broker::ProduceSink& sink_;
    std::vector<uint64_t> waiting_;
  };

  struct Subscription final : broker::EventStream {
    Subscription(FakeBroker& the_broker, broker::SubscribeSink& the_sink) : fake(the_broker), sink(the_sink) {
      fake.subscriptions_.insert(this);
    }
    ~Subscription() override {
      fake.subscriptions_.erase(this);
      fake.log.Add("unsubscribed");
    }
    void Ready() override {
      fake.log.Add("ready");
      SendNext();
    }
    void SendNext() {
      if (next < fake.events.size()) return sink.OnEvent(fake.events[next++]);
      if (fake.end_after_events) sink.OnEnd(*fake.end_after_events);
    }
    FakeBroker& fake;
    broker::SubscribeSink& sink;
    size_t next = 0;
  };

  uint64_t Later(std::function<void()> answer) {
    const uint64_t ticket = next_ticket_++;
    if (hold) {
      held_.emplace(ticket, std::move(answer));
    } else {
      answer();
    }
    return ticket;
  }
  v1::ProduceResponse Append(const broker::ProduceCommand& command) {
    v1::ProduceResponse response;
    for (const broker::ProduceItem& item : command.items) {
      v1::ProduceResult& result = *response.add_results();
      if (!item.refusal.ok()) *result.mutable_error() = ToError(item.refusal);
      for (const broker::ProducePart& part : item.parts) {
        std::vector<std::string>& batches = stored[part.partition];
        v1::Placement& placement = *result.add_placements();
        placement.set_partition(static_cast<int32_t>(part.partition));
        placement.set_base_offset(static_cast<int64_t>(batches.size()));
        placement.set_record_count(static_cast<int32_t>(part.batch.summary.records));
        batches.emplace_back(part.batch.records.view());
      }
    }
    return response;
  }

  mutable Mutex mutex_;
  metadata::Shared<metadata::Image> image_ = ImageWithOrders(12);
  uint64_t next_ticket_ = 1;
  std::map<uint64_t, std::function<void()>> held_;
  std::set<Subscription*> subscriptions_;
  raft::ThreadExecutor executor_;  // last: its thread uses the others
};

}  // namespace flotilla::rpc::client
