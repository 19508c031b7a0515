// Arbitrary bytes as a row of the meta family: its key, then its value. Each kind is decoded or refused, and what was decoded is
// encoded to the same bytes. Input: size of the key (1 byte), key, value.
#include "storage/rocks/rows.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla;
using namespace flotilla::storage;

FLOTILLA_FUZZ(input) {
  if (input.empty()) return;
  const size_t key_size = std::min<size_t>(static_cast<uint8_t>(input[0]), input.size() - 1);
  const std::string_view key = input.substr(1, key_size);
  const std::string_view value = input.substr(1 + key_size);
  if (const auto row = DecodeNumber(key, value); row.ok()) CHECK(EncodeNumber(key, *row) == value);
  if (const auto row = DecodeBatch(value); row.ok()) CHECK(EncodeBatch(*row) == value);
  if (const auto row = DecodeIdentityRow(key, value); row.ok()) CHECK(EncodeIdentityRow(key, *row) == value);
  if (const auto row = DecodeHardState(key, value); row.ok()) CHECK(EncodeHardState(key, *row) == value);
  if (const auto row = DecodeBounds(key, value); row.ok()) CHECK(EncodeBounds(key, *row) == value);
  if (const auto row = DecodeTerms(key, value); row.ok()) CHECK(EncodeTerms(key, *row) == value);
  if (const auto row = DecodeIndexes(key, value); row.ok()) CHECK(EncodeIndexes(key, *row) == value);
  if (const auto row = DecodeSnapshot(key, value); row.ok()) CHECK(EncodeSnapshot(key, *row) == value);
  if (const auto chunk = DecodeChunk(key, value); chunk.ok()) CHECK(value.ends_with(*chunk));
  if (const auto place = ParseLogKey(key)) CHECK(LogKey(place->group, place->index) == key);
  if (const auto place = ParseMetaKey(key)) CHECK(MetaKey(place->group, place->kind) == key);
}
