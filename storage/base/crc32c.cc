#include "storage/base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace flotilla::crc32c {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;  // reversed

using Table = std::array<uint32_t, 256>;

// kSlices[k][b]: the register after byte b and k zero bytes.
constexpr std::array<Table, 8> MakeSlices() {
  std::array<Table, 8> slices{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    slices[0][byte] = crc;
  }
  for (size_t k = 1; k < slices.size(); ++k) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t crc = slices[k - 1][byte];
      slices[k][byte] = (crc >> 8) ^ slices[0][crc & 0xFF];
    }
  }
  return slices;
}
constexpr std::array<Table, 8> kSlices = MakeSlices();

inline uint64_t Load64(const char* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// The register (not inverted) after `size` more bytes, eight at a time (Kounavis and Berry, "slicing-by-8").
uint32_t RegisterPortable(uint32_t crc, const char* data, size_t size) {
  for (; size >= 8; data += 8, size -= 8) {
    const uint64_t word = Load64(data) ^ crc;
    crc = kSlices[7][word & 0xFF] ^ kSlices[6][(word >> 8) & 0xFF] ^ kSlices[5][(word >> 16) & 0xFF] ^ kSlices[4][(word >> 24) & 0xFF] ^
          kSlices[3][(word >> 32) & 0xFF] ^ kSlices[2][(word >> 40) & 0xFF] ^ kSlices[1][(word >> 48) & 0xFF] ^ kSlices[0][word >> 56];
  }
  for (; size > 0; ++data, --size) crc = (crc >> 8) ^ kSlices[0][(crc ^ static_cast<uint8_t>(*data)) & 0xFF];
  return crc;
}

#if defined(__x86_64__)

// The processor finishes one crc32 instruction per cycle, but each takes three: three independent lanes keep
// it busy. Lanes are joined by moving a register over a lane's length of zero bytes, which is linear, so four
// table look-ups do.
constexpr size_t kLongLane = 4096;
constexpr size_t kShortLane = 256;

class ZeroShift {
 public:
  explicit ZeroShift(size_t zeros) {
    std::array<uint32_t, 32> moved{};  // what each bit of the register becomes
    for (size_t bit = 0; bit < 32; ++bit) {
      uint32_t crc = 1U << bit;
      for (size_t i = 0; i < zeros; ++i) crc = (crc >> 8) ^ kSlices[0][crc & 0xFF];
      moved[bit] = crc;
    }
    for (size_t byte = 0; byte < 4; ++byte) {
      for (size_t value = 0; value < 256; ++value) {
        uint32_t sum = 0;
        for (size_t bit = 0; bit < 8; ++bit) {
          if ((value >> bit & 1) != 0) sum ^= moved[8 * byte + bit];
        }
        tables_[byte][value] = sum;
      }
    }
  }
  uint32_t operator()(uint32_t crc) const {
    return tables_[0][crc & 0xFF] ^ tables_[1][(crc >> 8) & 0xFF] ^ tables_[2][(crc >> 16) & 0xFF] ^ tables_[3][crc >> 24];
  }

 private:
  std::array<Table, 4> tables_;
};

struct Shifts {
  ZeroShift over_long{kLongLane};
  ZeroShift over_short{kShortLane};
};
const Shifts& GetShifts() {
  static const Shifts shifts;
  return shifts;
}

__attribute__((target("sse4.2"))) uint32_t ThreeLanes(uint64_t crc, const char* data, size_t lane, const ZeroShift& shift) {
  uint64_t second = 0;
  uint64_t third = 0;
  for (size_t i = 0; i < lane; i += 8) {
    crc = _mm_crc32_u64(crc, Load64(data + i));
    second = _mm_crc32_u64(second, Load64(data + lane + i));
    third = _mm_crc32_u64(third, Load64(data + 2 * lane + i));
  }
  const uint32_t joined = shift(static_cast<uint32_t>(crc)) ^ static_cast<uint32_t>(second);
  return shift(joined) ^ static_cast<uint32_t>(third);
}

__attribute__((target("sse4.2"))) uint32_t RegisterHardware(uint32_t crc, const char* data, size_t size) {
  if (size >= 3 * kShortLane) {
    const Shifts& shifts = GetShifts();
    for (; size >= 3 * kLongLane; data += 3 * kLongLane, size -= 3 * kLongLane) {
      crc = ThreeLanes(crc, data, kLongLane, shifts.over_long);
    }
    for (; size >= 3 * kShortLane; data += 3 * kShortLane, size -= 3 * kShortLane) {
      crc = ThreeLanes(crc, data, kShortLane, shifts.over_short);
    }
  }
  uint64_t wide = crc;
  for (; size >= 8; data += 8, size -= 8) wide = _mm_crc32_u64(wide, Load64(data));
  crc = static_cast<uint32_t>(wide);
  for (; size > 0; ++data, --size) crc = _mm_crc32_u8(crc, static_cast<uint8_t>(*data));
  return crc;
}

bool ProcessorHasCrc() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("sse4.2") != 0;
}

#else

bool ProcessorHasCrc() { return false; }
uint32_t RegisterHardware(uint32_t crc, const char* data, size_t size) { return RegisterPortable(crc, data, size); }

#endif

}  // namespace

bool HardwareAccelerated() {
  static const bool accelerated = ProcessorHasCrc();
  return accelerated;
}

uint32_t Extend(uint32_t crc, const char* data, size_t size) {
  return HardwareAccelerated() ? ~RegisterHardware(~crc, data, size) : ~RegisterPortable(~crc, data, size);
}

uint32_t ExtendPortable(uint32_t crc, const char* data, size_t size) { return ~RegisterPortable(~crc, data, size); }

}  // namespace flotilla::crc32c
