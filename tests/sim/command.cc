#include "tests/sim/command.h"

#include <cstring>
#include <string>
#include <utility>

namespace flotilla::sim {

Bytes EncodeCommand(const Command& command, size_t padding) {
  std::string payload(sizeof(Command) + padding, '.');
  std::memcpy(payload.data(), &command, sizeof(Command));
  return Bytes(std::move(payload));
}

std::optional<Command> DecodeCommand(std::string_view payload) {
  if (payload.size() < sizeof(Command)) return std::nullopt;
  Command command;
  std::memcpy(&command, payload.data(), sizeof(Command));
  return command;
}

}  // namespace flotilla::sim
