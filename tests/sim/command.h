// What the clients of the simulation propose. Every command has an id that no other one has, so that one
// which is lost, applied twice, or applied although it was refused can be told.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "storage/base/bytes.h"

namespace flotilla::sim {

struct Command {
  uint64_t id = 0;
  uint64_t producer = 0;  // with `sequence` what a partition drops repeats by
  uint64_t sequence = 0;
  uint64_t key = 0;  // of a register; of a trim: the index that the log shall start after
  bool operator==(const Command&) const = default;
};

// `padding` bytes follow.
Bytes EncodeCommand(const Command& command, size_t padding);
// Nothing: not a command.
std::optional<Command> DecodeCommand(std::string_view payload);

}  // namespace flotilla::sim
