#pragma once

namespace flotilla {

// Of the software; the formats have versions of their own.
inline constexpr char kVersion[] = "0.1.0";

}  // namespace flotilla
