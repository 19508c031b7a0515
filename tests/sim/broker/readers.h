// Clients that read: by Fetch, by Subscribe, by ListOffsets; and those that watch the metadata. Each knows where it is, so that what
// a poll skips or brings again is noticed.
#pragma once

#include <map>
#include <string>

#include "tests/sim/broker/producers.h"

namespace flotilla::sim::broker {

// Checks what came of one partition against where the reader is, and moves it on. `exact`: from where it asked to begin.
bool TakeFetched(World& world, const char* how, const PartitionName& partition, const flotilla::broker::FetchedPartition& fetched,
                 int64_t* position);

class Fetcher final : public Client {
 public:
  explicit Fetcher(World& world) : Client(world) {}
  void Start() override { Work(); }

 private:
  void Work();
  void Poll();
  std::map<PartitionName, int64_t> positions_;
  bool polling_ = false;
};

class Subscriber final : public Client, private EventListener {
 public:
  explicit Subscriber(World& world) : Client(world) {}
  void Start() override { Open(); }
  void Stop() override;

 private:
  void Open();
  void OpenLater();
  Time OnEvent(uint64_t stream, flotilla::broker::SubscribeEvent event) override;
  void OnEnd(uint64_t stream, const std::optional<v1::Error>& error) override;
  void OnBroken(uint64_t stream) override;

  TopicFacts* topic_ = nullptr;
  std::map<int32_t, int64_t> positions_;
  uint64_t stream_ = 0;
  void GrantMore();

  bool until_end_ = false;
  bool started_ = false;
  // Of a subscription with credits: all that was granted, 0: without; what has come; and how it is called.
  int64_t granted_ = 0;
  int64_t received_ = 0;
  std::string id_;
};

// Asks for both ends of partitions.
class Surveyor final : public Client {
 public:
  explicit Surveyor(World& world) : Client(world) {}
  void Start() override { Work(); }

 private:
  void Work();
};

class Watcher final : public Client, private WatchListener {
 public:
  explicit Watcher(World& world) : Client(world) {}
  void Start() override { Open(); }
  void Stop() override;

 private:
  void Open();
  void OnEvent(uint64_t stream, const v1::WatchMetadataResponse& event) override;
  void OnClosed(uint64_t stream) override;
  uint64_t stream_ = 0;
  int64_t version_ = 0;
};

}  // namespace flotilla::sim::broker
