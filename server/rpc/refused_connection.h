// What a connection above the limit gets: every call that it begins is answered with the same error, until it is closed. Closing it
// at once would tell a client nothing: it would go on trying to connect until its time is over.
//
//   RefusedConnection connection(trailers);          // RefusalTrailers(status)
//   send(connection.Begin());
//   while (receive(&bytes)) {
//     const std::optional<std::string> answer = connection.Answer(bytes);
//     if (!answer) break;                             // no HTTP/2, or too much of it
//     send(*answer);
//   }
//   send(RefusedConnection::End());
//
// As much HTTP/2 as that takes, and no more: frames, but nothing of what is in them. No sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/status.h"

namespace flotilla::rpc {

// A whole answer of gRPC as a block of headers: `refusal` as its status and its trailer flotilla-error-bin.
std::string RefusalTrailers(const Status& refusal);

class RefusedConnection {
 public:
  // `trailers` outlive this.
  explicit RefusedConnection(const std::string& trailers) : trailers_(trailers) {}

  static std::string Begin();
  std::optional<std::string> Answer(std::string_view received);
  static std::string End();

 private:
  struct Frame {
    uint8_t type = 0;
    uint8_t flags = 0;
    uint32_t stream = 0;
    std::string_view payload;
  };
  // False: it is too much.
  bool AnswerFrame(const Frame& frame, std::string* answer);

  const std::string& trailers_;
  bool greeted_ = false;
  uint32_t open_headers_ = 0;  // the stream whose headers are not complete
  size_t answers_ = 0;
  std::string unread_;
};

}  // namespace flotilla::rpc
