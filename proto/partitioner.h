// Where a record goes when nobody chose its partition. Client and broker need the same answer, in every
// language: flotilla/v1/records.proto has the rule in words, with test vectors.
//
//   int32_t partition = PartitionForKey(record.key(), topic.partition_count());
#pragma once

#include <cstdint>
#include <string_view>

namespace flotilla {

// 32-bit MurmurHash2 with Kafka's seed, as Kafka's default partitioner uses it.
uint32_t Murmur2(std::string_view bytes);

// A record with a key; an empty key is one. `partition_count` is at least 1.
int32_t PartitionForKey(std::string_view key, int32_t partition_count);

// The records without a key of one item of an idempotent producer. Depends on nothing but the item, so that a
// second attempt goes the same way.
struct ProducerItem {
  int64_t producer_id = 0;
  int64_t base_sequence = 0;
};
int32_t PartitionForItem(ProducerItem item, int32_t partition_count);

}  // namespace flotilla
