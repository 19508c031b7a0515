// CRC-32C (Castagnoli), by the processor where it can, by table where it cannot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace flotilla::crc32c {

// The CRC of `crc`'s bytes followed by `data`. Extend(0, x) is the CRC of x.
uint32_t Extend(uint32_t crc, const char* data, size_t size);
inline uint32_t Value(std::string_view data) { return Extend(0, data.data(), data.size()); }
// Whether the processor's instruction is in use.
bool HardwareAccelerated();
// The portable version, whatever the processor can; for checking the other one.
uint32_t ExtendPortable(uint32_t crc, const char* data, size_t size);

}  // namespace flotilla::crc32c
