// Arbitrary bytes as a stored batch, as a compressed record set, as a trim, and as a checkpoint: decoded or
// refused, and what was decoded is encoded to the same bytes.
#include <algorithm>

#include "server/partition/batch.h"
#include "server/partition/partition_machine.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla;
using namespace flotilla::partition;

namespace {

void Header(std::string_view input) {
  const Result<BatchHeader> header = DecodeBatchHeader(input);
  if (!header.ok()) return;
  char again[kBatchHeaderBytes];
  EncodeBatchHeader(*header, again);
  CHECK(std::string_view(again, sizeof again) == input.substr(0, kBatchHeaderBytes));
}

// The first three bytes are what a sender claims: codec and size.
void Prepare(std::string_view input, Decompressor& decompressor) {
  if (input.size() < 3) return;
  const auto byte = [&](size_t at) { return static_cast<uint8_t>(input[at]); };
  const auto codec = static_cast<Codec>(1 + byte(0) % 3);
  const uint32_t bytes = codec == Codec::kNone ? 0 : byte(1) << 8 | byte(2);
  const Result<PreparedBatch> batch = PrepareBatch(
      RecordBuffer::CopyOf(input.substr(3)),
      {.codec = codec, .crc32c = {}, .record_count = codec == Codec::kNone ? 0u : 1u, .uncompressed_bytes = bytes}, decompressor);
  if (batch.ok()) CHECK_GT(batch->summary.records, 0u);
}

void State(std::string_view input) {
  const Result<Offset> trim = DecodeTrim(input);
  if (trim.ok()) CHECK(EncodeTrim(*trim).view() == input);
  const Result<Checkpoint> checkpoint = DecodeCheckpoint(input, {});
  if (checkpoint.ok()) CHECK(EncodeCheckpoint(*checkpoint).view() == input);
}

}  // namespace

FLOTILLA_FUZZ(input) {
  static Decompressor decompressor;
  Header(input);
  Prepare(input, decompressor);
  State(input);
}
