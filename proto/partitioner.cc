#include "proto/partitioner.h"

#include <array>
#include <cassert>
#include <cstddef>

namespace flotilla {
namespace {

uint32_t Byte(std::string_view bytes, size_t at) { return static_cast<unsigned char>(bytes[at]); }

// The sign bit is cut off rather than negated: the absolute value of the smallest number would stay negative.
int32_t Spread(uint32_t hash, int32_t partition_count) {
  assert(partition_count > 0);
  return static_cast<int32_t>(hash & 0x7fffffffU) % partition_count;
}

void PutBig64(int64_t number, char* at) {
  for (int i = 0; i < 8; ++i) at[i] = static_cast<char>(static_cast<uint64_t>(number) >> (56 - 8 * i));
}

}  // namespace

uint32_t Murmur2(std::string_view bytes) {
  constexpr uint32_t kSeed = 0x9747b28cU;
  constexpr uint32_t kMultiplier = 0x5bd1e995U;
  constexpr int kShift = 24;

  uint32_t hash = kSeed ^ static_cast<uint32_t>(bytes.size());
  while (bytes.size() >= 4) {
    uint32_t word = Byte(bytes, 0) | Byte(bytes, 1) << 8 | Byte(bytes, 2) << 16 | Byte(bytes, 3) << 24;
    word *= kMultiplier;
    word ^= word >> kShift;
    word *= kMultiplier;
    hash *= kMultiplier;
    hash ^= word;
    bytes.remove_prefix(4);
  }
  if (!bytes.empty()) {
    for (size_t i = 0; i < bytes.size(); ++i) hash ^= Byte(bytes, i) << (8 * i);
    hash *= kMultiplier;
  }
  hash ^= hash >> 13;
  hash *= kMultiplier;
  hash ^= hash >> 15;
  return hash;
}

int32_t PartitionForKey(std::string_view key, int32_t partition_count) { return Spread(Murmur2(key), partition_count); }

int32_t PartitionForItem(ProducerItem item, int32_t partition_count) {
  std::array<char, 16> bytes;
  PutBig64(item.producer_id, bytes.data());
  PutBig64(item.base_sequence, bytes.data() + 8);
  return Spread(Murmur2({bytes.data(), bytes.size()}), partition_count);
}

}  // namespace flotilla
