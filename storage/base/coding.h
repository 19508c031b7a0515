// Numbers as bytes. Little-endian in values, big-endian in keys, where the order of bytes is the order of
// numbers.
//
//   std::string row;
//   AppendLittle<uint64_t>(7, &row);
//   ByteReader in(row);
//   uint64_t seven = in.Little<uint64_t>();
//   if (!in.ok() || !in.AtEnd()) ...  // one question at the end, not one per field
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace flotilla {

static_assert(std::endian::native == std::endian::little, "the codecs copy numbers as the processor holds them");

template <typename T>
inline void PutLittle(T value, char* at) {
  static_assert(std::is_integral_v<T>);
  std::memcpy(at, &value, sizeof value);
}
template <typename T>
inline T GetLittle(const char* at) {
  static_assert(std::is_integral_v<T>);
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <typename T>
inline void AppendLittle(std::type_identity_t<T> value, std::string* out) {
  char bytes[sizeof(T)];
  PutLittle<T>(value, bytes);
  out->append(bytes, sizeof bytes);
}

inline void PutBig64(uint64_t value, char* at) { PutLittle<uint64_t>(__builtin_bswap64(value), at); }
inline uint64_t GetBig64(const char* at) { return __builtin_bswap64(GetLittle<uint64_t>(at)); }
inline void AppendBig64(uint64_t value, std::string* out) { AppendLittle<uint64_t>(__builtin_bswap64(value), out); }
inline void AppendBig32(uint32_t value, std::string* out) { AppendLittle<uint32_t>(__builtin_bswap32(value), out); }

// Walks over bytes that may be damaged. After the first read past the end everything reads as zero and ok()
// is false.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  template <typename T>
  T Little() {
    if (!Has(sizeof(T))) return T{};
    const T value = GetLittle<T>(rest_.data());
    rest_.remove_prefix(sizeof(T));
    return value;
  }
  // `count` bytes.
  std::string_view Take(uint64_t count) {
    if (!Has(count)) return {};
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  // A length as 32 bits and so many bytes.
  std::string_view TakeSized() { return Take(Little<uint32_t>()); }

  bool ok() const { return ok_; }
  bool AtEnd() const { return rest_.empty(); }
  size_t remaining() const { return rest_.size(); }

 private:
  bool Has(uint64_t count) {
    if (ok_ && rest_.size() >= count) return true;
    ok_ = false;
    rest_ = {};
    return false;
  }
  std::string_view rest_;
  bool ok_ = true;
};

inline void AppendSized(std::string_view bytes, std::string* out) {
  AppendLittle<uint32_t>(static_cast<uint32_t>(bytes.size()), out);
  out->append(bytes);
}

}  // namespace flotilla
