// File descriptors, which clients' connections and the store's files share: without one a connection is refused, but a store that
// cannot open a file has failed, and its node stops. So connections get what is certainly left over.
#pragma once

#include <cstddef>
#include <cstdint>

namespace flotilla {

// Raises the process's limit as far as it may; what it is now.
uint64_t RaiseDescriptorLimit();

// How many of `wanted` connections of clients fit into `descriptors`: at least a few, however small that is.
size_t ConnectionsWithin(uint64_t descriptors, size_t wanted);

}  // namespace flotilla
