// Arbitrary bytes as a slot of the evidence file. Input: size of the node's UUID (1 byte), UUID, slot.
#include "storage/rocks/evidence.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla::storage;

FLOTILLA_FUZZ(input) {
  if (input.empty()) return;
  const size_t uuid_size = std::min<size_t>(static_cast<uint8_t>(input[0]), input.size() - 1);
  const std::string_view uuid = input.substr(1, uuid_size);
  const std::string_view slot = input.substr(1 + uuid_size);
  if (const auto number = DecodeEvidenceSlot(slot, uuid)) CHECK(EncodeEvidenceSlot(*number, uuid) == slot);
}
