// Clients that write. Idempotent ones do what proto/flotilla/v1/produce.proto tells them: a few batches unanswered on one stream, and
// after a failure again, in order and unchanged, from the oldest that is not answered with success, through whatever node, until
// it is. Plain ones send each record once and live with what they hear.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/broker/batches.h"
#include "tests/sim/broker/world.h"
#include "tests/sim/recurring.h"

namespace flotilla::sim::broker {

class Client {
 public:
  explicit Client(World& world) : world_(world), place_(world.NewClient()), random_(world.Fork()) {}
  uint64_t number() const { return place_.value() - 1000; }
  virtual ~Client() = default;
  virtual void Start() = 0;
  // Nothing new.
  virtual void Stop() { stopped_ = true; }
  // What it still waits for; empty: nothing.
  virtual std::string Waiting() const { return ""; }

 protected:
  Machine& AnyMachine() { return *world_.machines()[random_.Below(world_.machines().size())]; }
  Time About(Time mean) { return 1 + static_cast<Time>(random_.Below(static_cast<uint64_t>(2 * mean))); }

  World& world_;
  const Place place_;
  Random random_;
  bool stopped_ = false;
};

class IdempotentProducer final : public Client, private ProduceListener {
 public:
  IdempotentProducer(World& world, bool by_topic)
      : Client(world), by_topic_(by_topic), recurring_(world.events(), world.parts(), world.Fork(), random_) {}
  void Start() override;
  void Stop() override;
  std::string Waiting() const override;

 private:
  struct Batch {
    std::vector<uint64_t> records;
    uint64_t base_sequence = 0;
    int64_t correlation = 0;  // of the attempt under way; 0: none
    bool done = false;
  };
  // One count of sequences.
  struct Lane {
    int32_t partition = -1;  // -1: the broker chooses
    uint64_t next_sequence = 0;
    std::deque<Batch> batches;  // oldest first
    size_t sent = 0;
    bool stalled = false;
  };

  void ChooseTopic();
  void InitProducer();
  void RaiseEpoch();
  void Work();
  void Add(Lane& lane);
  void Send(Lane& lane, Batch& batch);
  void SendAgain(Lane& lane);
  void Reopen();
  void Watch(uint64_t stream, int64_t correlation);
  v1::ProduceRequest RequestOf(const Lane& lane, const Batch& batch) const;
  int32_t PlaceOf(const Lane& lane, const Batch& batch, size_t i) const;
  std::string KeyOf(uint64_t record) const;
  // What an answer says of the batch's records. True: all is well.
  bool Take(const Lane& lane, const Batch& batch, const v1::ProduceStreamResponse& answer);
  void Judge(const Lane& lane, const Batch& batch, const v1::Error& error);
  void GiveUpOpen();
  void Leave(const char* why);
  // With another topic, as another producer.
  void BeginAnew();

  void OnAnswer(uint64_t stream, v1::ProduceStreamResponse answer) override;
  void OnBroken(uint64_t stream) override;

  const bool by_topic_;
  Recurring recurring_;
  TopicFacts* topic_ = nullptr;
  int64_t producer_id_ = 0;
  int32_t epoch_ = 0;
  uint64_t identity_ = 0;  // of this producer id and epoch, among all
  int32_t partition_count_ = 0;
  bool asking_ = false;
  bool left_ = false;  // its topic is gone
  bool raising_ = false;
  std::vector<Lane> lanes_;
  uint64_t stream_ = 0;
  int64_t next_correlation_ = 1;
  std::map<int64_t, size_t> lane_of_;  // of attempts under way
};

class PlainProducer final : public Client, private ProduceListener {
 public:
  explicit PlainProducer(World& world) : Client(world), recurring_(world.events(), world.parts(), world.Fork(), random_) {}
  void Start() override;
  void Stop() override;
  std::string Waiting() const override {
    return open_.empty() ? "" : "a plain producer waits for " + std::to_string(open_.size()) + " answers";
  }

 private:
  struct Open {
    std::vector<uint64_t> records;
    TopicFacts* topic = nullptr;
    bool conditional = false;
    int64_t expected = -1;
    int32_t partition = -1;
    v1::Acks acks = v1::ACKS_QUORUM;
  };
  void Work();
  void Send();
  void OnAnswer(uint64_t stream, v1::ProduceStreamResponse answer) override;
  void OnBroken(uint64_t stream) override;

  Recurring recurring_;
  uint64_t stream_ = 0;
  int64_t next_correlation_ = 1;
  std::map<int64_t, Open> open_;
};

}  // namespace flotilla::sim::broker
