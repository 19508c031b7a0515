#include "storage/rocks/crc_interposition.h"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "storage/base/crc32c.h"

// The library's own function, as its (unpublished) header declares it.
namespace rocksdb::crc32c {
uint32_t Extend(uint32_t crc, const char* data, size_t size);
uint32_t Extend(uint32_t crc, const char* data, size_t size) { return flotilla::crc32c::Extend(crc, data, size); }
}  // namespace rocksdb::crc32c

namespace flotilla::storage {
namespace {

constexpr size_t kTrialBytes = 1 << 20;
constexpr int kTrials = 5;

// The linkers' name of the function above (Itanium C++ ABI); the library finds it by the same search.
bool LibraryCallsOurs() {
  void* found = ::dlsym(RTLD_DEFAULT, "_ZN7rocksdb6crc32c6ExtendEjPKcm");
  return found == reinterpret_cast<void*>(&rocksdb::crc32c::Extend);
}

Status CheckValues(const std::string& data) {
  // RFC 3720, B.4: "123456789" is the check value of every catalogue.
  if (crc32c::Value("123456789") != 0xE3069283U) {
    return Status(Reason::kStorageFailed, "CRC-32C of the check string is wrong; this build or processor is broken");
  }
  for (const size_t size : {0, 1, 7, 64, 767, 768, 4096, 12287, 12288, 100003}) {
    for (const size_t start : {0, 1, 5}) {
      if (crc32c::Extend(7, data.data() + start, size) == crc32c::ExtendPortable(7, data.data() + start, size)) continue;
      return Status(Reason::kStorageFailed,
                    "CRC-32C by instruction and by table differ for " + std::to_string(size) + " bytes; this build or processor is broken");
    }
  }
  return {};
}

}  // namespace

Result<CrcCheck> CheckCrc() {
  std::string data(kTrialBytes, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 131 + (i >> 8));
  FLOTILLA_RETURN_IF_ERROR(CheckValues(data));

  // The best of a few: on a machine in use any one of them may have lost its processor.
  std::chrono::duration<double, std::nano> took = std::chrono::hours(1);
  uint32_t crc = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    const auto start = std::chrono::steady_clock::now();
    crc = crc32c::Value(data);
    took = std::min<std::chrono::duration<double, std::nano>>(took, std::chrono::steady_clock::now() - start);
  }
  CHECK_EQ(crc, rocksdb::crc32c::Extend(0, data.data(), data.size()));
  return CrcCheck{.supplied = LibraryCallsOurs(),
                  .accelerated = crc32c::HardwareAccelerated(),
                  .gigabytes_per_second = static_cast<double>(data.size()) / took.count()};
}

}  // namespace flotilla::storage
