#include "server/metadata/balance.h"

#include <iterator>
#include <utility>

#include "server/metadata/moves.h"
#include "server/metadata/request_memory.h"

namespace flotilla::metadata {

Result<Decision> DecideBalanceStart(const StartBalance& request, const Image& image, const Context& context) {
  FLOTILLA_RETURN_IF_ERROR(CheckInitialized(image));
  if (image.balancing) {
    return Refuse(Refusal::kBalanceUnderWay, "the cluster is being balanced already; see how it goes, or call it off first");
  }
  Decision decision{.records = {}, .outcome = {.cluster = image.cluster->id}};
  if (request.validate_only) return decision;
  Record out;
  record::BalancingChanged& record = *out.mutable_balancing_changed();
  record.set_active(true);
  record.set_at_ms(context.now_ms);
  record.set_planned_moves(request.planned_moves);
  decision.records.push_back(std::move(out));
  return decision;
}

Result<Decision> DecideBalanceCancellation(const CancelBalance& /*request*/, const Image& image, const Context& context) {
  FLOTILLA_RETURN_IF_ERROR(CheckInitialized(image));
  Decision decision{.records = {}, .outcome = {.cluster = image.cluster->id}};
  if (!image.balancing) {
    decision.outcome.repeated = true;
    return decision;
  }
  decision.records =
      CallOff(image, context.now_ms, [](const Partition& partition) { return partition.movement->cause == MoveCause::kBalance; });
  decision.records.push_back(BalanceOver(context.now_ms));
  return decision;
}

Record BalanceOver(int64_t now_ms) {
  Record out;
  out.mutable_balancing_changed()->set_active(false);
  out.mutable_balancing_changed()->set_at_ms(now_ms);
  return out;
}

}  // namespace flotilla::metadata
