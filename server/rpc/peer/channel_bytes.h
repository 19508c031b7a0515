// How both ends of a channel count: what is acknowledged are the bytes of bundles, as serialized
// PeerMessages.
#pragma once

#include <cstddef>

namespace flotilla::rpc {

// Of the bundle in an OpenChannelRequest of `request_bytes` bytes that holds nothing else: without one byte
// of tag and the length in front of it.
constexpr size_t BundleBytes(size_t request_bytes) {
  size_t length_bytes = 1;
  for (size_t largest = 0x7f; request_bytes > 1 + length_bytes + largest; largest = largest << 7 | 0x7f) ++length_bytes;
  return request_bytes > 1 + length_bytes ? request_bytes - 1 - length_bytes : 0;
}
static_assert(BundleBytes(2 + 127) == 127 && BundleBytes(3 + 128) == 128);
static_assert(BundleBytes(3 + 16383) == 16383 && BundleBytes(4 + 16384) == 16384);

}  // namespace flotilla::rpc
