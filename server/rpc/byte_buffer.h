// gRPC's buffers and ours, without copies where memory allows it.
#pragma once

#include <cstddef>

#include "server/rpc/wire_writer.h"
#include "storage/base/bytes.h"

namespace grpc {
class ByteBuffer;
}  // namespace grpc

namespace flotilla::rpc {

// One slice per piece; gRPC holds on to the pieces' memory until they are written.
grpc::ByteBuffer ToByteBuffer(EncodedMessage message);
grpc::ByteBuffer ToByteBuffer(const Bytes& bytes);
// All of it in one piece. What came in one slice is shared, what came in many (more than some 8 KiB did) is
// copied once.
Bytes ToBytes(const grpc::ByteBuffer& buffer);

}  // namespace flotilla::rpc
