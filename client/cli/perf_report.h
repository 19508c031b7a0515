// What a measurement found, for people and for programs.
#pragma once

#include <cstdint>
#include <string>

#include "client/cli/histogram.h"
#include "client/cli/session.h"

namespace flotilla::cli {

struct PerfReport {
  std::string what;  // "produce"
  uint64_t records = 0;
  uint64_t bytes = 0;  // keys and values
  uint64_t failed = 0;
  double seconds = 0;
  // Nanoseconds; null when no times were taken.
  const Histogram* latency = nullptr;
  client::Error first_error;
};

// To the standard output. Returns the exit code: 0, partial, or that of the error when nothing worked.
int Report(Session& session, const PerfReport& report);

}  // namespace flotilla::cli
