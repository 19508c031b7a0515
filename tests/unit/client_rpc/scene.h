// What the tests of the clients' edge share: a cluster's metadata with one topic, and streams in small slices.
#pragma once

#include <google/protobuf/io/zero_copy_stream_impl.h>

#include <memory>
#include <string>

#include "server/metadata/image.h"

namespace flotilla::rpc::client {

// "orders" with so many partitions.
inline metadata::Shared<metadata::Image> ImageWithOrders(uint32_t partitions) {
  auto topic = std::make_shared<metadata::Topic>();
  topic->id = *Uuid::FromText("6f9619ff-8b86-4d01-b42d-00cf4fc964ff");
  topic->topic_namespace = metadata::kDefaultNamespace;
  topic->name = "orders";
  for (uint32_t number = 0; number < partitions; ++number) {
    auto partition = std::make_shared<metadata::Partition>();
    partition->number = number;
    partition->group = GroupId{number + 1};
    topic->partitions.push_back(partition);
  }
  auto image = std::make_shared<metadata::Image>();
  image->topics = image->topics.With(topic->id, topic);
  image->topic_names = image->topic_names.With({topic->topic_namespace, topic->name}, topic->id);
  return image;
}

// Like a message that arrived in slices of so many bytes.
class Slices {
 public:
  explicit Slices(std::string bytes, int slice_bytes = 7)
      : bytes_(std::move(bytes)), stream_(bytes_.data(), static_cast<int>(bytes_.size()), slice_bytes) {}
  google::protobuf::io::ZeroCopyInputStream& stream() { return stream_; }
  size_t size() const { return bytes_.size(); }

 private:
  const std::string bytes_;
  google::protobuf::io::ArrayInputStream stream_;
};

}  // namespace flotilla::rpc::client
