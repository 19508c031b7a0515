// How the program ends. Scripts depend on these numbers.
#pragma once

namespace flotilla::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitCannotConnect = 3;
inline constexpr int kExitNotFound = 4;
inline constexpr int kExitPrecondition = 5;
inline constexpr int kExitDenied = 6;
inline constexpr int kExitTimeout = 7;
inline constexpr int kExitPartial = 8;  // some of many failed
inline constexpr int kExitUnhealthy = 9;
inline constexpr int kExitInterrupted = 130;

}  // namespace flotilla::cli
