// Arbitrary bytes as a produce request and as one of a stream, in small slices: read as generated code reads them, or refused; and
// what was read is split or refused, with every part checked and in ascending order of partitions.
#include <google/protobuf/io/zero_copy_stream_impl.h>

#include <algorithm>
#include <memory>

#include "flotilla/internal/v1/raw.pb.h"
#include "server/errors/refusal.h"
#include "server/rpc/client/produce_codec.h"
#include "server/rpc/client/produce_split.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla;
using namespace flotilla::rpc::client;

namespace {

// "t" with 5 partitions.
metadata::Image ImageWithTopic() {
  auto topic = std::make_shared<metadata::Topic>();
  topic->id = *Uuid::FromText("6f9619ff-8b86-4d01-b42d-00cf4fc964ff");
  topic->topic_namespace = metadata::kDefaultNamespace;
  topic->name = "t";
  for (uint32_t number = 0; number < 5; ++number) {
    auto partition = std::make_shared<metadata::Partition>();
    partition->number = number;
    topic->partitions.push_back(partition);
  }
  metadata::Image image;
  image.topics = image.topics.With(topic->id, topic);
  image.topic_names = image.topic_names.With({topic->topic_namespace, topic->name}, topic->id);
  return image;
}

google::protobuf::io::ArrayInputStream InSlices(std::string_view input) {
  return google::protobuf::io::ArrayInputStream(input.data(), static_cast<int>(input.size()), 5);
}

void CheckAgainstGenerated(std::string_view input, const RawProduce& read) {
  internal::v1::RawProduceRequest generated;
  if (!generated.ParseFromArray(input.data(), static_cast<int>(input.size()))) return;  // of UTF-8 in names it is stricter
  if (!read.refusal.ok()) return;
  CHECK_EQ(read.items.size(), static_cast<size_t>(generated.items_size()));
  CHECK_EQ(read.acks, static_cast<int>(generated.acks()));
  CHECK_EQ(read.partition_count, generated.partition_count());
  CHECK(read.topic.name == generated.topic().name());
  for (int i = 0; i < generated.items_size(); ++i) {
    const RawItem& item = read.items[static_cast<size_t>(i)];
    CHECK_EQ(item.partition.has_value(), generated.items(i).has_partition());
    CHECK_EQ(item.partition.value_or(0), generated.items(i).partition());
    CHECK_EQ(item.batch.has_value(), generated.items(i).has_batch());
    if (!item.batch || !item.refusal.ok()) continue;
    CHECK_EQ(item.batch->producer_id, generated.items(i).batch().producer_id());
    if (!item.batch->content) continue;
    const auto& batch = generated.items(i).batch();
    CHECK(item.batch->content->view() == (item.batch->compressed ? batch.compressed_records() : batch.records()));
  }
}

void CheckSplit(const broker::ProduceCommand& command, size_t items) {
  CHECK_EQ(command.items.size(), items);
  for (const broker::ProduceItem& item : command.items) {
    CHECK_EQ(item.parts.empty(), !item.refusal.ok());
    for (const broker::ProducePart& part : item.parts) {
      CHECK_LT(part.partition, 5u);
      CHECK_GT(part.batch.summary.records, 0u);
    }
    CHECK(std::is_sorted(item.parts.begin(), item.parts.end(), [](const auto& a, const auto& b) { return a.partition < b.partition; }));
  }
}

}  // namespace

FLOTILLA_FUZZ(input) {
  static const metadata::Image image = ImageWithTopic();
  static ProduceSplitter splitter(1);
  auto stream = InSlices(input);
  const Result<RawStreamRequest> streamed = ReadProduceStreamRequest(stream, input.size());
  if (!streamed.ok()) CHECK(streamed.status().reason() == Reason::kCorruptMessage || input.size() > 1 << 20);

  auto plain = InSlices(input);
  Result<RawProduce> request = ReadProduceRequest(plain, input.size());
  if (!request.ok()) return;
  CheckAgainstGenerated(input, *request);
  const size_t items = request->items.size();
  const Result<broker::ProduceCommand> command = splitter.Split(*std::move(request), image);
  if (command.ok()) CheckSplit(*command, items);
}
