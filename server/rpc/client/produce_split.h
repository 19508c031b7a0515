// From what a client sent to what partitions append: finds the topic, checks every batch, and splits items without a partition by
// the keys of their records, as flotilla/v1/produce.proto says.
//
//   Result<broker::ProduceCommand> command = splitter.Split(std::move(request), *image);
//
// All the work per record is done here, on the thread that received the request. An item that goes to one partition keeps its
// buffer; only what is split is copied.
#pragma once

#include <cstdint>

#include "server/broker/client_api.h"
#include "server/metadata/image.h"
#include "server/partition/codec.h"
#include "server/rpc/client/produce_codec.h"
#include "storage/base/random.h"
#include "storage/base/status.h"

namespace flotilla::rpc::client {

// Whether the request names what is not in the image: a topic, or partitions of it. They may have been created through another
// node a moment ago; an image that is newer may have them.
bool NamesWhatIsNotThere(const RawProduce& request, const metadata::Image& image);

// Keeps the working memory of the codecs: one per thread.
class ProduceSplitter {
 public:
  // `seed` chooses where records go that nothing else decides.
  explicit ProduceSplitter(uint64_t seed) : random_(seed) {}

  // INVALID_ARGUMENT, LIMIT_EXCEEDED, TOPIC_NOT_FOUND: the request as a whole. What is wrong with an item is its refusal.
  Result<broker::ProduceCommand> Split(RawProduce request, const metadata::Image& image);

 private:
  struct Target;

  broker::ProduceItem SplitItem(RawItem item, const Target& target);
  Result<std::vector<broker::ProducePart>> Parts(RawItem item, const Target& target);
  Result<std::vector<broker::ProducePart>> ByKey(const RawItem& item, partition::PreparedBatch batch, const Target& target);

  partition::Decompressor decompressor_;
  Random random_;
};

}  // namespace flotilla::rpc::client
