#include "server/rpc/refused_connection.h"

#include <algorithm>

#include "server/errors/error_codec.h"

namespace flotilla::rpc {
namespace {

// RFC 9113.
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr size_t kFrameHeaderBytes = 9;
constexpr size_t kPayloadBytesMax = 16'384;  // what a peer may send unless it was told otherwise
enum Type : uint8_t { kHeaders = 1, kSettings = 4, kPing = 6, kGoAway = 7, kContinuation = 9 };
constexpr uint8_t kAck = 0x1;
constexpr uint8_t kEndStream = 0x1;
constexpr uint8_t kEndHeaders = 0x4;
constexpr uint32_t kEnhanceYourCalm = 0xb;

// Whoever begins more calls on one such connection has not listened.
constexpr size_t kAnswersMax = 1000;

void PutNumber(uint32_t number, int bytes, std::string* out) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out->push_back(static_cast<char>(number >> shift));
}

void PutFrame(Type type, uint8_t flags, uint32_t stream, std::string_view payload, std::string* out) {
  PutNumber(static_cast<uint32_t>(payload.size()), 3, out);
  out->push_back(static_cast<char>(type));
  out->push_back(static_cast<char>(flags));
  PutNumber(stream, 4, out);
  out->append(payload);
}

uint32_t NumberAt(std::string_view bytes, size_t at, size_t size) {
  uint32_t number = 0;
  for (size_t i = 0; i < size; ++i) number = number << 8 | static_cast<uint8_t>(bytes[at + i]);
  return number;
}

// A string of HPACK without Huffman: its length, the first 7 bits in one byte (RFC 7541, 5.1 and 5.2).
void PutString(std::string_view text, std::string* out) {
  constexpr size_t kPrefixMax = 0x7f;
  if (text.size() < kPrefixMax) {
    out->push_back(static_cast<char>(text.size()));
  } else {
    out->push_back(static_cast<char>(kPrefixMax));
    size_t rest = text.size() - kPrefixMax;
    for (; rest >= 0x80; rest >>= 7) out->push_back(static_cast<char>(0x80 | (rest & 0x7f)));
    out->push_back(static_cast<char>(rest));
  }
  out->append(text);
}

// A field that changes no table (RFC 7541, 6.2.2).
void PutField(std::string_view name, std::string_view value, std::string* out) {
  out->push_back('\0');
  PutString(name, out);
  PutString(value, out);
}

// As gRPC wants it in grpc-message.
std::string PercentEncoded(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      encoded += c;
      continue;
    }
    const auto byte = static_cast<uint8_t>(c);
    encoded += {'%', kHex[byte >> 4], kHex[byte & 0xf]};
  }
  return encoded;
}

std::string Base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    const uint32_t bits = NumberAt(bytes, i, count) << (8 * (3 - count));
    for (size_t digit = 0; digit < 4; ++digit) text += digit <= count ? kDigits[bits >> (18 - 6 * digit) & 0x3f] : '=';
  }
  return text;
}

}  // namespace

std::string RefusalTrailers(const Status& refusal) {
  const v1::Error error = ToError(refusal);
  std::string block;
  PutField(":status", "200", &block);
  PutField("content-type", "application/grpc", &block);
  PutField("grpc-status", std::to_string(error.code()), &block);
  PutField("grpc-message", PercentEncoded(error.message()), &block);
  PutField("flotilla-error-bin", Base64(error.SerializeAsString()), &block);
  return block;
}

std::string RefusedConnection::Begin() {
  std::string bytes;
  PutFrame(kSettings, 0, 0, "", &bytes);
  return bytes;
}

std::string RefusedConnection::End() {
  std::string last_stream_and_error;
  PutNumber(0, 4, &last_stream_and_error);
  PutNumber(kEnhanceYourCalm, 4, &last_stream_and_error);
  std::string bytes;
  PutFrame(kGoAway, 0, 0, last_stream_and_error, &bytes);
  return bytes;
}

std::optional<std::string> RefusedConnection::Answer(std::string_view received) {
  unread_.append(received);
  std::string_view rest = unread_;
  if (!greeted_) {
    const size_t compared = std::min(rest.size(), kPreface.size());
    if (rest.substr(0, compared) != kPreface.substr(0, compared)) return std::nullopt;
    if (compared < kPreface.size()) return "";
    rest.remove_prefix(kPreface.size());
    greeted_ = true;
  }
  std::string answer;
  while (rest.size() >= kFrameHeaderBytes) {
    const size_t length = NumberAt(rest, 0, 3);
    if (length > kPayloadBytesMax) return std::nullopt;
    if (rest.size() < kFrameHeaderBytes + length) break;
    const Frame frame{.type = static_cast<uint8_t>(rest[3]),
                      .flags = static_cast<uint8_t>(rest[4]),
                      .stream = NumberAt(rest, 5, 4) & 0x7fff'ffff,
                      .payload = rest.substr(kFrameHeaderBytes, length)};
    if (!AnswerFrame(frame, &answer)) return std::nullopt;
    rest.remove_prefix(kFrameHeaderBytes + length);
  }
  unread_.erase(0, unread_.size() - rest.size());
  return answer;
}

bool RefusedConnection::AnswerFrame(const Frame& frame, std::string* answer) {
  switch (frame.type) {
    case kSettings:
      if ((frame.flags & kAck) == 0) PutFrame(kSettings, kAck, 0, "", answer);
      return true;
    case kPing:
      if ((frame.flags & kAck) == 0 && frame.payload.size() == 8) PutFrame(kPing, kAck, 0, frame.payload, answer);
      return true;
    case kHeaders: open_headers_ = frame.stream; break;
    case kContinuation: break;
    default: return true;
  }
  if ((frame.flags & kEndHeaders) == 0 || open_headers_ == 0) return true;
  if (++answers_ > kAnswersMax) return false;
  PutFrame(kHeaders, kEndHeaders | kEndStream, open_headers_, trailers_, answer);
  open_headers_ = 0;
  return true;
}

}  // namespace flotilla::rpc
