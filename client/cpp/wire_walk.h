// A walk over the fields of a serialized message that is faster than parsing it, and copies nothing.
//
//   WireWalk walk(bytes);
//   while (walk.Next()) {
//     if (walk.field() == 2 && walk.is_bytes()) value = walk.bytes();
//   }
//   if (!walk.ok()) ...
#pragma once

#include <cstdint>
#include <string_view>

namespace flotilla::client {

class WireWalk {
 public:
  explicit WireWalk(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  // Reads the next field, whatever it is. False at the end or at something broken.
  bool Next() {
    if (at_ == end_ || !ok_) return false;
    uint64_t tag = 0;
    if (!Number(&tag) || tag >> 3 == 0 || tag > 0xffffffff) return Fail();
    field_ = static_cast<uint32_t>(tag >> 3);
    type_ = static_cast<uint32_t>(tag & 7);
    switch (type_) {
      case 0: return Number(&number_) || Fail();
      case 1: return Fixed(8) || Fail();
      case 2: {
        uint64_t length = 0;
        if (!Number(&length) || length > static_cast<uint64_t>(end_ - at_)) return Fail();
        bytes_ = std::string_view(at_, length);
        at_ += length;
        return true;
      }
      case 5: return Fixed(4) || Fail();
      default: return Fail();
    }
  }
  bool ok() const { return ok_; }
  uint32_t field() const { return field_; }
  bool is_number() const { return type_ == 0; }
  bool is_fixed32() const { return type_ == 5; }
  bool is_bytes() const { return type_ == 2; }
  int64_t number() const { return static_cast<int64_t>(number_); }  // varint or fixed
  std::string_view bytes() const { return bytes_; }

 private:
  bool Fail() {
    ok_ = false;
    return false;
  }
  bool Number(uint64_t* out) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && at_ != end_; shift += 7) {
      const auto byte = static_cast<uint8_t>(*at_++);
      value |= uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) {
        *out = value;
        return true;
      }
    }
    return false;
  }
  bool Fixed(unsigned count) {
    if (end_ - at_ < static_cast<std::ptrdiff_t>(count)) return false;
    number_ = 0;
    for (unsigned i = 0; i < count; ++i) number_ |= uint64_t{static_cast<uint8_t>(at_[i])} << (8 * i);
    at_ += count;
    return true;
  }

  const char* at_;
  const char* end_;
  bool ok_ = true;
  uint32_t field_ = 0;
  uint32_t type_ = 0;
  uint64_t number_ = 0;
  std::string_view bytes_;
};

}  // namespace flotilla::client
