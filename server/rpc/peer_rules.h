// What a decoded bundle has to fulfil before Raft sees it, beyond being well-formed.
#pragma once

#include "raft/node/transport.h"
#include "storage/base/status.h"

namespace flotilla::rpc {

// CORRUPT_MESSAGE naming group and index: a checksum is wrong, entries do not follow one another (index,
// term, offset), a piece of a snapshot is none, or a replica belongs to another node than the one that speaks
// for it.
Status CheckPeerMessage(const raft::PeerMessage& message);

}  // namespace flotilla::rpc
