// A fuzzer in ten lines: FLOTILLA_FUZZ(input) { ... } gets arbitrary bytes as a std::string_view and CHECKs what must hold.
// Add it to CMakeLists.txt here, and a few inputs that decode to corpus/<name>/.
#pragma once

#include <glog/logging.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#define FLOTILLA_FUZZ(input)                                                   \
  static void FuzzOneInput(std::string_view input);                            \
  extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);     \
  extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {    \
    FuzzOneInput(std::string_view(reinterpret_cast<const char*>(data), size)); \
    return 0;                                                                  \
  }                                                                            \
  static void FuzzOneInput(std::string_view input)
