// Arbitrary bytes as what a node sends: decoded or refused. What is decoded is also read by generated code, and survives being
// written and read again.
#include <variant>

#include "flotilla/internal/v1/raft.pb.h"
#include "server/rpc/peer_codec.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla;
using namespace flotilla::rpc;

FLOTILLA_FUZZ(input) {
  const Bytes bytes = Bytes::Copy(input);
  const Result<ChannelContent> content = DecodeChannelContent(bytes);
  if (!content.ok()) CHECK(content.status().reason() == Reason::kCorruptMessage);

  const Result<raft::PeerMessage> message = DecodePeerMessage(bytes);
  if (!message.ok()) {
    CHECK(message.status().reason() == Reason::kCorruptMessage);
    return;
  }
  internal::v1::PeerMessage generated;
  CHECK(generated.ParseFromArray(input.data(), static_cast<int>(input.size())));

  const std::string written = EncodePeerMessage(*message).Flatten();
  const Result<raft::PeerMessage> again = DecodePeerMessage(Bytes::Copy(written));
  CHECK(again.ok()) << again.status();
  CHECK(EncodePeerMessage(*again).Flatten() == written);
}
