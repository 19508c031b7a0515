// A client that follows the metadata: first everything, then what changes, images and leaders alike. What changes while a message
// is on its way comes with the next one. Executor only.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "server/broker/client_api.h"
#include "server/broker/leader_table.h"
#include "server/broker/tick_clock.h"
#include "server/metadata/metadata_machine.h"

namespace flotilla::broker {

class MetadataWatch final : public EventStream {
 public:
  struct Surroundings {
    const TickClock& time;
    const metadata::MetadataMachine& metadata;
    const LeaderTable& leaders;
    // The metadata leader.
    std::function<NodeId()> controller;
    StreamOptions options;
  };
  MetadataWatch(const Surroundings& around, const v1::WatchMetadataRequest& request, WatchSink& sink, std::function<void()> on_gone);
  ~MetadataWatch() override;

  void Ready() override;
  void Tick();
  void OnMetadata() { Pump(); }
  void OnLeader(GroupId group);
  void End(const Status& status);

 private:
  void Pump();
  v1::WatchMetadataResponse Everything(const metadata::Image& image);
  void AddChanges(const metadata::Difference& difference, const metadata::Image& image, v1::WatchMetadataResponse* event);
  void AddLeaders(const metadata::Image& image, v1::WatchMetadataResponse* event);
  bool Wants(const metadata::Topic& topic) const;

  const Surroundings around_;
  const std::vector<v1::TopicRef> topics_;
  WatchSink& sink_;
  const std::function<void()> on_gone_;
  LogIndex seen_;
  bool began_ = false;
  NodeId controller_;
  std::set<GroupId> moved_;  // groups whose leader changed since the last message
  bool busy_ = false;
  bool ended_ = false;
  raft::Tick handed_at_ = 0;
};

}  // namespace flotilla::broker
