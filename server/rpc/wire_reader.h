// Walks over the protobuf wire format of bytes that may be damaged, without copying.
//
//   void Read(WireReader& in, EntryId* out) {
//     while (in.Next()) {
//       switch (in.field()) {
//         case 1: out->term = Term{in.Varint()}; break;
//         default: in.Skip();                       // of a newer version
//       }
//     }
//   }
//   ...
//   if (!in.ok()) return in.status();               // one question at the end, not one per field
//
// After the first failure Next() is false and every value is zero or empty.
#pragma once

#include <google/protobuf/io/coded_stream.h>

#include <cstdint>
#include <limits>
#include <string>

#include "storage/base/bytes.h"
#include "storage/base/status.h"

namespace flotilla::rpc {

class WireReader {
 public:
  static constexpr uint64_t kCountMax = uint64_t{1} << 62;

  // `what` names the bytes in errors, and lives on. `buffer` holds less than 2 GiB.
  WireReader(const char* what, const Bytes& buffer)
      : what_(what), buffer_(buffer), in_(reinterpret_cast<const uint8_t*>(buffer.data()), static_cast<int>(buffer.size())) {
    in_.PushLimit(static_cast<int>(buffer.size()));
  }
  // The same over `bytes` bytes in several pieces, which live on. A Slice is a copy then.
  WireReader(const char* what, google::protobuf::io::ZeroCopyInputStream& pieces, size_t bytes)
      : what_(what), scattered_(true), in_(&pieces) {
    in_.PushLimit(static_cast<int>(bytes));
  }

  // Goes to the next field of the message that is being read. False at its end.
  bool Next() {
    if (!ok() || in_.BytesUntilLimit() == 0) return false;
    uint64_t tag = 0;
    if (!ShortNumber(&tag) || tag >> 3 == 0) Fail("a broken tag");
    field_ = static_cast<uint32_t>(tag >> 3);
    type_ = static_cast<uint32_t>(tag & 7);
    return ok();
  }
  uint32_t field() const { return field_; }

  // Each reads the value of the current field.
  uint64_t Varint() {
    uint64_t value = 0;
    if (Expect(kVarint) && !in_.ReadVarint64(&value)) Fail("a broken number");
    return ok() ? value : 0;
  }
  uint32_t Varint32() {
    const uint64_t value = Varint();
    if (value <= std::numeric_limits<uint32_t>::max()) return static_cast<uint32_t>(value);
    Fail("the number " + std::to_string(value) + " does not fit into 32 bits");
    return 0;
  }
  // A number that counts up from 0 and to which more is added, such as a term or an index: nothing real comes near to where that wraps.
  uint64_t Count() {
    const uint64_t value = Varint();
    if (value <= kCountMax) return value;
    Fail("the number " + std::to_string(value) + " is above " + std::to_string(kCountMax));
    return 0;
  }
  int64_t Signed() { return static_cast<int64_t>(Varint()); }
  bool Bool() { return Varint() != 0; }
  uint32_t Fixed32() {
    uint32_t value = 0;
    if (Expect(kFixed32) && !in_.ReadLittleEndian32(&value)) Fail("a number that is cut off");
    return ok() ? value : 0;
  }
  // Shares the buffer.
  Bytes Slice(size_t bytes_max) {
    const int length = Length();
    if (ok() && static_cast<size_t>(length) > bytes_max) {
      Fail(std::to_string(length) + " bytes, the limit is " + std::to_string(bytes_max));
    }
    if (!ok()) return {};
    if (scattered_) return Bytes(Copied(length));
    const int position = in_.CurrentPosition();
    in_.Skip(length);
    return buffer_.Slice(static_cast<size_t>(position), static_cast<size_t>(length));
  }
  // Copies the bytes to where allocate(size) says: once, however many pieces they are in.
  template <typename Allocate>
  void CopyTo(size_t bytes_max, Allocate allocate) {
    const int length = Length();
    if (ok() && static_cast<size_t>(length) > bytes_max) {
      Fail(std::to_string(length) + " bytes, the limit is " + std::to_string(bytes_max));
    }
    if (ok() && !in_.ReadRaw(allocate(static_cast<size_t>(length)), length)) Fail("bytes that are cut off");
  }
  // A message in the message. Depth is that of the calls: what is not known is skipped, not entered.
  template <typename T>
  void Message(T* out) {
    const int length = Length();
    if (!ok()) return;
    const auto limit = in_.PushLimit(length);
    Read(*this, out);  // of the namespace of this class
    in_.PopLimit(limit);
  }
  // One element of a repeated number, or, packed, many.
  template <typename OnNumber>
  void Varints(OnNumber on_number) {
    if (type_ == kVarint) return on_number(Varint());
    const int length = Length();
    if (!ok()) return;
    const auto limit = in_.PushLimit(length);
    while (ok() && in_.BytesUntilLimit() > 0) {
      uint64_t value = 0;
      if (!in_.ReadVarint64(&value)) {
        Fail("a broken number");
      } else {
        on_number(value);
      }
    }
    in_.PopLimit(limit);
  }
  void Skip() {
    uint64_t ignored = 0;
    switch (type_) {
      case kVarint:
        if (!in_.ReadVarint64(&ignored)) Fail("a broken number");
        return;
      case kFixed64: return SkipBytes(8);
      case kFixed32: return SkipBytes(4);
      case kLengthDelimited: return SkipBytes(Length());
      default: Fail("wire type " + std::to_string(type_) + ", which proto3 does not have");
    }
  }

  // The bytes are not what they should be: `problem` says why. The first one is kept.
  void Fail(const std::string& problem) {
    if (!ok()) return;
    status_ = Status(Reason::kCorruptMessage, std::string(what_) + ", byte " + std::to_string(in_.CurrentPosition()) + ", field " +
                                                  std::to_string(field_) + ": " + problem);
  }
  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }

 private:
  enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

  bool Expect(WireType type) {
    if (type_ != type) Fail("wire type " + std::to_string(type_) + ", not " + std::to_string(type));
    return ok();
  }
  // Tags and lengths have 32 bits and at most 5 bytes, here as in generated code.
  bool ShortNumber(uint64_t* value) {
    const int position = in_.CurrentPosition();
    return in_.ReadVarint64(value) && in_.CurrentPosition() - position <= 5 && *value <= std::numeric_limits<uint32_t>::max();
  }
  // Of a length-delimited field; not more than what is left of the message around it.
  int Length() {
    uint64_t length = 0;
    if (!Expect(kLengthDelimited)) return 0;
    if (!ShortNumber(&length)) {
      Fail("a broken length");
    } else if (length > static_cast<uint64_t>(in_.BytesUntilLimit())) {
      Fail("a length of " + std::to_string(length) + ", with " + std::to_string(in_.BytesUntilLimit()) + " bytes left");
    }
    return ok() ? static_cast<int>(length) : 0;
  }
  std::string Copied(int length) {
    std::string bytes;
    if (!in_.ReadString(&bytes, length)) Fail("bytes that are cut off");
    return bytes;
  }
  void SkipBytes(int count) {
    if (ok() && (count > in_.BytesUntilLimit() || !in_.Skip(count))) Fail("a value that is cut off");
  }

  const char* const what_;
  const Bytes buffer_;
  const bool scattered_ = false;
  google::protobuf::io::CodedInputStream in_;
  uint32_t field_ = 0;
  uint32_t type_ = 0;
  Status status_;
};

}  // namespace flotilla::rpc
