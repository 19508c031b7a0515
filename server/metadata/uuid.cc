#include "server/metadata/uuid.h"

#include "storage/base/coding.h"

namespace flotilla {
namespace {

// Where the text has its dashes.
constexpr bool DashAt(size_t position) { return position == 8 || position == 13 || position == 18 || position == 23; }
constexpr size_t kTextBytes = 36;

int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Uuid Uuid::Random(flotilla::Random& random) {
  Uuid id;
  for (size_t i = 0; i < kBytes; i += sizeof(uint64_t)) {
    PutLittle<uint64_t>(random.Next(), reinterpret_cast<char*>(id.bytes_.data()) + i);
  }
  id.bytes_[6] = static_cast<uint8_t>((id.bytes_[6] & 0x0F) | 0x40);  // version 4
  id.bytes_[8] = static_cast<uint8_t>((id.bytes_[8] & 0x3F) | 0x80);  // variant of the RFC
  return id;
}

std::optional<Uuid> Uuid::FromBytes(std::string_view bytes) {
  if (bytes.size() != kBytes) return std::nullopt;
  Uuid id;
  std::memcpy(id.bytes_.data(), bytes.data(), kBytes);
  return id;
}

std::optional<Uuid> Uuid::FromText(std::string_view text) {
  if (text.size() != kTextBytes) return std::nullopt;
  Uuid id;
  size_t digits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (DashAt(i)) {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    const int digit = DigitOf(text[i]);
    if (digit < 0) return std::nullopt;
    uint8_t& byte = id.bytes_[digits / 2];
    byte = static_cast<uint8_t>(byte << 4 | digit);
    ++digits;
  }
  return id;
}

std::string Uuid::ToString() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(kTextBytes);
  for (const uint8_t byte : bytes_) {
    if (DashAt(text.size())) text += '-';
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0x0F];
  }
  return text;
}

std::ostream& operator<<(std::ostream& out, const Uuid& id) { return out << id.ToString(); }

}  // namespace flotilla
