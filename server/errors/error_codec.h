// Status <-> flotilla.v1.Error, the form in which errors travel: in answers, in trailers, and between nodes.
//
//   v1::Error error = ToError(status);       // what stands in ProduceResult.error, or in flotilla-error-bin
//   Status again = ToStatus(error);          // at the other end: decide by reason() and RefusalOf() as if it were local
//
// The catalogue in errors.proto says which code a reason has and whether to retry. Where it differs from Status::code() it
// counts: NOT_LEADER and OUTCOME_UNKNOWN tell clients another thing than a replica. Pure functions; any thread.
#pragma once

#include <cstdint>

#include "flotilla/v1/errors.pb.h"
#include "storage/base/status.h"

namespace flotilla {

// `status` is not OK. The details become `metadata`, the first of a name counts; the detail "retry_after_ms" (decimal) is how
// long to wait, and DefaultRetryAfterMs of the reason where there is none.
v1::Error ToError(const Status& status);

// The same error again, nothing lost, as a Reason of storage/base or a Refusal. A reason of a newer peer, which has no name
// here, stays what it is for whom it is passed on to; until then it is a status with the Reason nearest to its code.
// An Error with code 0 and no reason, which nobody should send, becomes INTERNAL.
Status ToStatus(const v1::Error& error);

// The catalogue's entry for a status: of the refusal, else of the reason. UNSPECIFIED: of none that this version knows.
v1::ErrorReason ReasonOf(const Status& status);
// How long to wait where waiting helps and nobody said more, milliseconds. 0: no advice.
int64_t DefaultRetryAfterMs(v1::ErrorReason reason);

}  // namespace flotilla
