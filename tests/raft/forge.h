// Messages that no core sent: late, damaged, or of a replica that misbehaves.
#pragma once

#include "raft/core/messages.h"
#include "tests/raft/script.h"

namespace flotilla::raft::scenario {

//   2->1 Append term=3 prev=4@2 entries=5@3,6@3 base=4
// Its entries are data entries, the first one at offset `base`.
Message Forged(Words& words);

}  // namespace flotilla::raft::scenario
