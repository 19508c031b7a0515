// The rules that hold in every run, whatever fails. Each is a class of its own; a test in invariants_test.cc
// feeds each one a history that breaks it.
//
//   election safety            a term has one leader (Raft §5.2)
//   one vote per term          over crashes, by what left the node (§5.2)
//   durable before sent        a vote or an acknowledgement leaves after it is on the disk (Figure 2)
//   monotonic                  term, commit, applied and log start of a life of a replica never go back
//   log matching               equal index and term: equal logs up to there (§5.3)
//   leader completeness        a leader has everything committed in earlier terms (§5.4.3)
//   committed never changes    all replicas agree on what is committed (§5.4)
//   commit is durable          a quorum of the configuration in force has it on its disks, and the leader's
//   term stands in it offsets are dense          an entry's offsets begin where those before it end
//   configuration rules        one change at a time, the last one in the log is in force (§6)
//   state machine safety       each index once, in order, the same entry and the same state everywhere
//   acknowledged is applied    a proposal answered OK is committed where the answer says
//   refused never appears      a proposal answered NOT_LEADER, or refused at once, is not in the log
//   applied once               a command is committed at most once
//   linearizable reads         a read sees everything that was committed when it began (thesis §6.4)
//   bounded memory             no queue grows past its limit
//   damage is never served     no damaged entry is sent or applied
//   honest faults              a replica gives up only when something was done to it
#pragma once

#include <memory>
#include <vector>

#include "tests/sim/chronicle.h"

namespace flotilla::sim {

using Invariants = std::vector<std::unique_ptr<Invariant>>;

// `verdict` outlives them.
Invariants ElectionInvariants(Verdict& verdict);
Invariants LogInvariants(Verdict& verdict);
Invariants MachineInvariants(Verdict& verdict);
Invariants AllInvariants(Verdict& verdict);

}  // namespace flotilla::sim
