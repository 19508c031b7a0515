// Chance from a seed: the same seed gives the same numbers on every machine. xoshiro256** (Blackman and Vigna, 2018),
// seeded by splitmix64. Not for secrets.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace flotilla {

class Random {
 public:
  explicit constexpr Random(uint64_t seed) {
    for (uint64_t& word : state_) word = SplitMix(seed);
  }

  constexpr uint64_t Next() {
    const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  // Evenly from [0, bound); 0 for bound 0.
  constexpr uint64_t Below(uint64_t bound) { return static_cast<uint64_t>((static_cast<Wide>(Next()) * bound) >> 64); }
  // Evenly from [low, high], low <= high.
  constexpr uint64_t Between(uint64_t low, uint64_t high) { return low + Below(high - low + 1); }
  // True once in `n` on average; never for 0.
  constexpr bool OneIn(uint64_t n) { return n != 0 && Below(n) == 0; }
  // True with probability p of [0, 1].
  constexpr bool Chance(double p) { return static_cast<double>(Next() >> 11) * 0x1.0p-53 < p; }
  // A generator of its own, so that one consumer's draws do not shift another's.
  constexpr Random Fork() { return Random(Next()); }

 private:
  __extension__ using Wide = unsigned __int128;

  static constexpr uint64_t SplitMix(uint64_t& seed) {
    uint64_t z = (seed += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  std::array<uint64_t, 4> state_{};
};

}  // namespace flotilla
