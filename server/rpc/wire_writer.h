// Writes the protobuf wire format in pieces: what frames the payloads is written, the payloads themselves are
// shared.
//
// A message is described once, by a function template, and visited twice: by WireSize, since a length stands
// in front of what it counts, and by WireWriter. Both must see the same fields.
//
//   template <typename Out>
//   void Put(Out& out, const EntryId& id) {
//     out.Varint(1, id.term.value());
//     out.Varint(2, id.index.value());
//   }
//
// As proto3 has it, numbers that are 0 and bytes that are empty are left out.
#pragma once

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "storage/base/bytes.h"

namespace flotilla::rpc {

// A message ready to be sent: the bytes of `pieces` in order.
struct EncodedMessage {
  std::vector<Bytes> pieces;
  size_t bytes = 0;

  // All of it in one string, for tests and for transports that cannot gather.
  std::string Flatten() const {
    std::string flat;
    flat.reserve(bytes);
    for (const Bytes& piece : pieces) flat += piece.view();
    return flat;
  }
};

class WireSize {
 public:
  void Varint(uint32_t field, uint64_t value) {
    if (value != 0) AlwaysVarint(field, value);
  }
  void AlwaysVarint(uint32_t field, uint64_t value) { bytes_ += Tag(field) + Number(value); }
  void Fixed32(uint32_t field, uint32_t value) {
    if (value != 0) AlwaysFixed32(field, value);
  }
  void AlwaysFixed32(uint32_t field, uint32_t value) { bytes_ += Tag(field) + sizeof value; }
  void Payload(uint32_t field, const Bytes& payload) {
    if (!payload.empty()) bytes_ += Tag(field) + Number(payload.size()) + payload.size();
  }
  template <typename T>
  void Message(uint32_t field, const T& message) {
    const size_t inner = Of(message);
    bytes_ += Tag(field) + Number(inner) + inner;
  }
  template <typename Items>
  void Packed(uint32_t field, const Items& items) {
    if (!items.empty()) bytes_ += Tag(field) + Number(PackedBytes(items)) + PackedBytes(items);
  }

  template <typename T>
  static size_t Of(const T& message) {
    WireSize size;
    Put(size, message);
    return size.bytes_;
  }
  template <typename Items>
  static size_t PackedBytes(const Items& items) {
    size_t bytes = 0;
    for (const auto& item : items) bytes += Number(item.value());
    return bytes;
  }

 private:
  static size_t Number(uint64_t value) { return google::protobuf::io::CodedOutputStream::VarintSize64(value); }
  static size_t Tag(uint32_t field) { return Number(uint64_t{field} << 3); }

  size_t bytes_ = 0;
};

class WireWriter {
 public:
  // What one Put writes, or one Message; large payloads in it are shared.
  explicit WireWriter(size_t bytes) : bytes_(bytes) {}

  void Varint(uint32_t field, uint64_t value) {
    if (value != 0) AlwaysVarint(field, value);
  }
  void AlwaysVarint(uint32_t field, uint64_t value) {
    Number(uint64_t{field} << 3);
    Number(value);
  }
  void Fixed32(uint32_t field, uint32_t value) {
    if (value != 0) AlwaysFixed32(field, value);
  }
  void AlwaysFixed32(uint32_t field, uint32_t value) {
    Number(uint64_t{field} << 3 | 5);
    uint8_t little[sizeof value];
    google::protobuf::io::CodedOutputStream::WriteLittleEndian32ToArray(value, little);
    Append(little, sizeof little);
  }
  void Payload(uint32_t field, const Bytes& payload) {
    if (payload.empty()) return;
    Number(uint64_t{field} << 3 | 2);
    Number(payload.size());
    if (payload.size() < kSharedBytesMin) return Append(payload.data(), payload.size());
    EndFrame();
    encoded_.pieces.push_back(payload);
    encoded_.bytes += payload.size();
  }
  template <typename T>
  void Message(uint32_t field, const T& message) {
    Number(uint64_t{field} << 3 | 2);
    Number(WireSize::Of(message));
    Put(*this, message);
  }
  template <typename Items>
  void Packed(uint32_t field, const Items& items) {
    if (items.empty()) return;
    Number(uint64_t{field} << 3 | 2);
    Number(WireSize::PackedBytes(items));
    for (const auto& item : items) Number(item.value());
  }

  EncodedMessage Finish() {
    EndFrame();
    return std::move(encoded_);
  }

 private:
  // Copying less is cheaper than a piece of its own, which costs an iovec and two reference counts on its
  // way.
  static constexpr size_t kSharedBytesMin = 1024;

  void Number(uint64_t value) {
    uint8_t bytes[10];
    const uint8_t* end = google::protobuf::io::CodedOutputStream::WriteVarint64ToArray(value, bytes);
    Append(bytes, static_cast<size_t>(end - bytes));
  }
  void Append(const uint8_t* bytes, size_t count) { Append(reinterpret_cast<const char*>(bytes), count); }
  void Append(const char* bytes, size_t count) {
    if (frame_.size() + count > frame_.capacity()) Grow(count);
    frame_.append(bytes, count);
  }
  // What frames a large payload is small; what grows beyond that is likely to hold all that is left.
  void Grow(size_t count) {
    const size_t rest = bytes_ - encoded_.bytes;
    frame_.reserve(std::max(frame_.size() + count, frame_.capacity() < kSharedBytesMin ? std::min(rest, kSharedBytesMin) : rest));
  }
  void EndFrame() {
    if (frame_.empty()) return;
    encoded_.bytes += frame_.size();
    encoded_.pieces.emplace_back(std::exchange(frame_, {}));
  }

  const size_t bytes_;
  std::string frame_;
  EncodedMessage encoded_;
};

}  // namespace flotilla::rpc
