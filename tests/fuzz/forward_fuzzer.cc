// Arbitrary bytes as a forwarded part of a call and as its answer, in small slices: read or refused, by generated code too; and what
// was read is written and reads as the same.
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "flotilla/internal/v1/forward.pb.h"
#include "server/rpc/peer/forward_codec.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla;
using namespace flotilla::rpc;

namespace {

partition::Decompressor& ThisThreads() {
  static partition::Decompressor decompressor;
  return decompressor;
}

Result<DecodedForward> DecodeInSlices(std::string_view input) {
  google::protobuf::io::ArrayInputStream pieces(input.data(), static_cast<int>(input.size()), 5);
  return DecodeForwardRequest(pieces, input.size(), ThisThreads());
}

void Request(std::string_view input) {
  const Result<DecodedForward> read = DecodeInSlices(input);
  if (!read.ok()) {
    CHECK(read.status().reason() == Reason::kCorruptMessage) << read.status();
    return;
  }
  if (!read->refusal.ok()) return;
  internal::v1::ForwardStreamRequest generated;
  if (generated.ParseFromArray(input.data(), static_cast<int>(input.size()))) CHECK_EQ(generated.id(), read->request.id);
  const std::string written = EncodeForwardRequest(read->request).Flatten();
  const Result<DecodedForward> again = DecodeInSlices(written);
  CHECK(again.ok()) << again.status();
  CHECK(again->refusal.ok()) << again->refusal;
  // A fetch of 0 bytes at least is one of 1, as from a sender that does not say.
  const std::string normal = EncodeForwardRequest(again->request).Flatten();
  CHECK(EncodeForwardRequest(DecodeInSlices(normal)->request).Flatten() == normal);
}

void Answer(std::string_view input) {
  const Result<broker::ForwardAnswer> read = DecodeForwardAnswer(Bytes::Copy(input));
  if (!read.ok()) CHECK(read.status().reason() == Reason::kCorruptMessage) << read.status();
}

}  // namespace

FLOTILLA_FUZZ(input) {
  Request(input);
  Answer(input);
}
