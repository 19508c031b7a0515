// Balancing as people ask for it. It goes on by itself (move_plan.h), over all failovers, until the cluster
// is even or somebody calls it off. All may end in NOT_INITIALIZED.
#pragma once

#include <cstdint>
#include <vector>

#include "server/metadata/decision.h"

namespace flotilla::metadata {

struct StartBalance {
  // As planned when it was asked for; for people.
  uint64_t planned_moves = 0;
  bool validate_only = false;
};
// BALANCE_UNDER_WAY.
Result<Decision> DecideBalanceStart(const StartBalance& request, const Image& image, const Context& context);

struct CancelBalance {};
// Its moves that are under way are called off in the same batch. No records (Outcome::repeated) when it is
// not under way.
Result<Decision> DecideBalanceCancellation(const CancelBalance& request, const Image& image, const Context& context);

// The record that ends balancing when all is even.
Record BalanceOver(int64_t now_ms);

}  // namespace flotilla::metadata
