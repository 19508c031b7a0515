#include "server/broker/metadata_watch.h"

#include <algorithm>
#include <utility>

#include "server/broker/describe.h"
#include "server/broker/limits.h"
#include "server/errors/refusal.h"

namespace flotilla::broker {

MetadataWatch::MetadataWatch(const Surroundings& around, const v1::WatchMetadataRequest& request, WatchSink& sink,
                             std::function<void()> on_gone)
    : around_(around),
      topics_(request.topics().begin(), request.topics().end()),
      sink_(sink),
      on_gone_(std::move(on_gone)),
      seen_(static_cast<uint64_t>(std::max<int64_t>(request.after_version(), 0))),
      handed_at_(around.time.now()) {
  if (request.after_version() < 0) {
    End(Status(Reason::kInvalidArgument, "after_version " + std::to_string(request.after_version()) + " is negative; versions begin at 0")
            .With("field", "after_version"));
    return;
  }
  if (topics_.size() > limits::kRequestItemsMax) {
    End(Status(Reason::kLimitExceeded, std::to_string(topics_.size()) + " topics; the limit is " +
                                           std::to_string(limits::kRequestItemsMax) + "; leave them out to watch all")
            .With("field", "topics")
            .With("limit", limits::kRequestItemsMax)
            .With("value", topics_.size()));
    return;
  }
  for (const v1::TopicRef& topic : topics_) {
    const Result<metadata::TopicSelector> selector = SelectorOf(topic);
    if (selector.ok()) continue;
    End(selector.status());
    return;
  }
  Pump();
}

MetadataWatch::~MetadataWatch() {
  if (on_gone_) on_gone_();
}

void MetadataWatch::Ready() {
  busy_ = false;
  Pump();
}

void MetadataWatch::OnLeader(GroupId group) {
  moved_.insert(group);
  Pump();
}

void MetadataWatch::Pump() {
  if (ended_ || busy_) return;
  // The client has seen what this node has yet to hear of.
  const bool behind = !began_ && seen_ > around_.metadata.image()->version;
  if (behind && around_.time.now() - handed_at_ < around_.time.Ticks(limits::kOwnImageWait)) return;
  const metadata::FeedUpdate update = around_.metadata.feed().After(seen_);
  const metadata::Image& image = *update.image;
  const NodeId controller = around_.controller();
  const bool anew = !began_ && (seen_.value() == 0 || update.reset || behind);
  if (began_ && !update.reset && update.changes.empty() && moved_.empty() && controller == controller_) return;
  v1::WatchMetadataResponse event;
  if (anew || update.reset) {
    event = Everything(image);
    moved_.clear();
  } else {
    for (const auto& change : update.changes) AddChanges(*change, image, &event);
    AddLeaders(image, &event);
    // A change of topics that nobody here watches.
    const bool empty = event.ByteSizeLong() == 0 && controller == controller_;
    seen_ = image.version;
    if (empty && began_) return;
  }
  began_ = true;
  seen_ = image.version;
  controller_ = controller;
  event.set_version(static_cast<int64_t>(image.version.value()));
  event.set_caught_up(true);
  event.set_controller_node_id(static_cast<int32_t>(controller.value()));
  busy_ = true;
  handed_at_ = around_.time.now();
  sink_.OnEvent(std::move(event));
}

v1::WatchMetadataResponse MetadataWatch::Everything(const metadata::Image& image) {
  v1::WatchMetadataResponse event;
  event.set_starts_over(true);
  image.nodes.ForEach([&](NodeId, const metadata::Shared<metadata::Node>& node) { *event.add_nodes() = DescribeNode(*node); });
  image.topic_names.ForEach([&](const metadata::TopicName&, const Uuid& id) {
    const metadata::Topic& topic = *image.FindTopic(id);
    if (Wants(topic)) *event.add_topics() = DescribeTopicMetadata(topic, around_.leaders);
  });
  return event;
}

void MetadataWatch::AddChanges(const metadata::Difference& difference, const metadata::Image& image, v1::WatchMetadataResponse* event) {
  for (const auto& node : difference.nodes) {
    if (node.after != nullptr) {
      *event->add_nodes() = DescribeNode(*node.after);
    } else {
      event->add_removed_node_ids(static_cast<int32_t>(node.before->id.value()));
    }
  }
  for (const auto& topic : difference.topics) {
    const metadata::Topic& shown = topic.after != nullptr ? *topic.after : *topic.before;
    if (!Wants(shown)) continue;
    const metadata::Topic* now = image.FindTopic(shown.id);
    if (topic.after != nullptr && now != nullptr) {
      *event->add_topics() = DescribeTopicMetadata(*now, around_.leaders);
    } else if (topic.after == nullptr) {
      event->add_removed_topic_ids(shown.id.ToString());
    }
  }
}

void MetadataWatch::AddLeaders(const metadata::Image& image, v1::WatchMetadataResponse* event) {
  for (const GroupId group : std::exchange(moved_, {})) {
    const metadata::PartitionKey* key = image.groups.Find(group);
    if (key == nullptr) continue;
    const metadata::Topic* topic = image.FindTopic(key->topic);
    if (topic == nullptr || !Wants(*topic)) continue;
    *event->add_leaders() = HintOf(image, RefOf(*topic), static_cast<int32_t>(key->partition), around_.leaders.Of(group));
  }
}

bool MetadataWatch::Wants(const metadata::Topic& topic) const {
  if (topics_.empty()) return true;
  return std::any_of(topics_.begin(), topics_.end(), [&topic](const v1::TopicRef& wanted) {
    if (!wanted.topic_id().empty()) return wanted.topic_id() == topic.id.ToString();
    const std::string& space = wanted.topic_namespace();
    return wanted.name() == topic.name &&
           (space.empty() ? topic.topic_namespace == metadata::kDefaultNamespace : space == topic.topic_namespace);
  });
}

void MetadataWatch::Tick() {
  if (ended_) return;
  const raft::Tick quiet = around_.time.now() - handed_at_;
  if (busy_) {
    if (quiet < around_.time.Ticks(around_.options.stall)) return;
    return End(Refuse(Refusal::kSlowConsumer, "nothing of this stream was read for " +
                                                  std::to_string(around_.options.stall / std::chrono::seconds(1)) +
                                                  " seconds; open it again with the version of the last message")
                   .With("limit_ms", std::to_string(around_.options.stall / std::chrono::milliseconds(1))));
  }
  Pump();
  if (busy_ || quiet < around_.time.Ticks(around_.options.heartbeat)) return;
  v1::WatchMetadataResponse event;
  event.set_version(static_cast<int64_t>(seen_.value()));
  event.mutable_heartbeat()->set_time_ms(around_.time.clock().WallMillis());
  busy_ = true;
  handed_at_ = around_.time.now();
  sink_.OnEvent(std::move(event));
}

void MetadataWatch::End(const Status& status) {
  if (std::exchange(ended_, true)) return;
  sink_.OnEnd(status);
}

}  // namespace flotilla::broker
