// 16 bytes that name something for ever: a cluster, a node's disk, a topic.
//
//   Uuid id = Uuid::Random(random);
//   LOG(INFO) << id;                            // 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
//   std::optional<Uuid> again = Uuid::FromText(id.ToString());
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>

#include "storage/base/random.h"

namespace flotilla {

class Uuid {
 public:
  static constexpr size_t kBytes = 16;

  constexpr Uuid() = default;  // nil: names nothing

  // A version 4 UUID (RFC 4122, §4.4).
  static Uuid Random(Random& random);
  // Exactly 16 bytes, else nothing.
  static std::optional<Uuid> FromBytes(std::string_view bytes);
  // 8-4-4-4-12 hexadecimal digits, else nothing.
  static std::optional<Uuid> FromText(std::string_view text);

  bool nil() const { return *this == Uuid(); }
  std::string_view bytes() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }
  std::string ToString() const;

  constexpr auto operator<=>(const Uuid&) const = default;

 private:
  std::array<uint8_t, kBytes> bytes_{};
};

std::ostream& operator<<(std::ostream& out, const Uuid& id);

}  // namespace flotilla

template <>
struct std::hash<flotilla::Uuid> {
  size_t operator()(const flotilla::Uuid& id) const { return std::hash<std::string_view>{}(id.bytes()); }
};
