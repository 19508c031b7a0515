// What people may be told who administer a cluster that is hurt.
#pragma once

#include "flotilla/v1/errors.pb.h"

namespace flotilla::sim::broker {

// A request that is not nonsense in its form may be answered with it: it says why not, or that nobody knows. What only one kind of
// request may be told is known to whoever asks.
bool IsHonest(v1::ErrorReason reason);

}  // namespace flotilla::sim::broker
