// Arbitrary bytes from a connection above the limit: what it is answered does not depend on how the bytes come in pieces, and is
// bounded.
#include <algorithm>
#include <optional>
#include <string>

#include "server/rpc/refused_connection.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla;
using namespace flotilla::rpc;

namespace {

struct Talk {
  std::string answers;
  bool broken_off = false;
};

Talk TalkInPieces(std::string_view input, size_t piece_bytes) {
  static const std::string trailers = RefusalTrailers(Status(Reason::kOverloaded, "10 connections open; the limit is 10"));
  RefusedConnection connection(trailers);
  Talk talk;
  while (!input.empty()) {
    const std::optional<std::string> answer = connection.Answer(input.substr(0, piece_bytes));
    input.remove_prefix(std::min(input.size(), piece_bytes));
    if (!answer) {
      talk.broken_off = true;
      return talk;
    }
    talk.answers += *answer;
  }
  CHECK_LE(talk.answers.size(), 1000 * (trailers.size() + 9) + 64 * 1024 * 2);
  return talk;
}

}  // namespace

FLOTILLA_FUZZ(input) {
  if (input.empty() || input.size() > 64 * 1024) return;
  const Talk whole = TalkInPieces(input, input.size());
  const Talk pieces = TalkInPieces(input, 1 + static_cast<uint8_t>(input.back()) % 32);
  CHECK_EQ(whole.broken_off, pieces.broken_off);
  if (!whole.broken_off) CHECK(whole.answers == pieces.answers);
}
