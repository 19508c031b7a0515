#include "server/rpc/byte_buffer.h"

#include <grpcpp/support/byte_buffer.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/base/hand_over.h"

namespace flotilla::rpc {
namespace {

// gRPC's, until it has sent the bytes; it says so on a thread of its own.
struct Sent {
  Bytes bytes;
  HandOver handed;
};

void Release(void* owner) {
  auto* sent = static_cast<Sent*>(owner);
  sent->handed.Take();
  delete sent;
}

// gRPC copies what is this small into the slice itself, which is cheaper than an owner on the heap.
constexpr size_t kInlineBytesMax = 64;

grpc::Slice ToSlice(const Bytes& bytes) {
  if (bytes.size() <= kInlineBytesMax) return grpc::Slice(bytes.data(), bytes.size());
  auto* sent = new Sent{.bytes = bytes, .handed = {}};
  sent->handed.Give();
  return grpc::Slice(const_cast<char*>(bytes.data()), bytes.size(), Release, sent);
}

}  // namespace

grpc::ByteBuffer ToByteBuffer(EncodedMessage message) {
  std::vector<grpc::Slice> slices;
  slices.reserve(message.pieces.size());
  for (const Bytes& piece : message.pieces) slices.push_back(ToSlice(piece));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

grpc::ByteBuffer ToByteBuffer(const Bytes& bytes) {
  const grpc::Slice slice = ToSlice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

Bytes ToBytes(const grpc::ByteBuffer& buffer) {
  if (!buffer.Valid() || buffer.Length() == 0) return {};
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return {};
  if (slices.size() == 1) {
    const auto owner = std::make_shared<const grpc::Slice>(std::move(slices[0]));
    return Bytes(owner, {reinterpret_cast<const char*>(owner->begin()), owner->size()});
  }
  const size_t bytes = buffer.Length();
  const auto memory = std::make_shared_for_overwrite<char[]>(bytes);
  size_t position = 0;
  const Unwatched reading;
  for (const grpc::Slice& slice : slices) {
    std::memcpy(memory.get() + position, slice.begin(), slice.size());
    position += slice.size();
  }
  return Bytes(memory, {memory.get(), bytes});
}

}  // namespace flotilla::rpc
