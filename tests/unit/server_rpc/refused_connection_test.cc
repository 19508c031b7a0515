#include "server/rpc/refused_connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flotilla::rpc {
namespace {

using ::testing::HasSubstr;

const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const std::string kTrailers = "trailers";

std::string Frame(char type, char flags, char stream, const std::string& payload) {
  std::string frame = {'\0',  static_cast<char>(payload.size() >> 8), static_cast<char>(payload.size()), type, flags, '\0', '\0', '\0',
                       stream};
  return frame + payload;
}
const std::string kSettings = Frame(4, 0, 0, "");
const std::string kSettingsAck = Frame(4, 1, 0, "");
std::string Call(char stream) { return Frame(1, 4, stream, "headers"); }
std::string Answer(char stream) { return Frame(1, 5, stream, kTrailers); }

TEST(RefusedConnectionTest, EveryCallGetsTheTrailersOnItsOwnStream) {
  RefusedConnection connection(kTrailers);
  EXPECT_EQ(connection.Answer(kPreface + kSettings + Call(1) + Call(3)), kSettingsAck + Answer(1) + Answer(3));
  EXPECT_EQ(connection.Answer(kSettingsAck + Frame(0, 1, 1, "data") + Frame(8, 0, 0, "abcd")), "");
  EXPECT_EQ(connection.Answer(Call(5)), Answer(5));
}

TEST(RefusedConnectionTest, BytesMayComeOneByOne) {
  RefusedConnection connection(kTrailers);
  std::string answers;
  for (const char byte : kPreface + kSettings + Call(1)) {
    const std::optional<std::string> answer = connection.Answer({&byte, 1});
    ASSERT_TRUE(answer.has_value());
    answers += *answer;
  }
  EXPECT_EQ(answers, kSettingsAck + Answer(1));
}

TEST(RefusedConnectionTest, HeadersInSeveralFramesAreAnsweredAfterTheLast) {
  RefusedConnection connection(kTrailers);
  EXPECT_EQ(connection.Answer(kPreface + Frame(1, 0, 7, "head")), "");
  EXPECT_EQ(connection.Answer(Frame(9, 0, 7, "e")), "");
  EXPECT_EQ(connection.Answer(Frame(9, 4, 7, "rs")), Answer(7));
}

TEST(RefusedConnectionTest, PingsAreAnswered) {
  RefusedConnection connection(kTrailers);
  EXPECT_EQ(connection.Answer(kPreface + Frame(6, 0, 0, "12345678")), Frame(6, 1, 0, "12345678"));
  EXPECT_EQ(connection.Answer(Frame(6, 1, 0, "12345678")), "") << "an answer is none to be answered";
}

TEST(RefusedConnectionTest, WhatIsNoHttp2IsNotTalkedTo) {
  for (const std::string greeting : {"GET / HTTP/1.1\r\n", "\x16\x03\x01", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"}) {
    RefusedConnection connection(kTrailers);
    EXPECT_EQ(connection.Answer(greeting), std::nullopt) << greeting;
  }
}

TEST(RefusedConnectionTest, TooMuchIsNotListenedTo) {
  RefusedConnection large(kTrailers);
  EXPECT_EQ(large.Answer(kPreface + std::string("\x01\x00\x00\x00\x00\x00\x00\x00\x01", 9)), std::nullopt) << "a frame of 64 KiB";
  RefusedConnection many(kTrailers);
  ASSERT_TRUE(many.Answer(kPreface).has_value());
  int answered = 0;
  while (many.Answer(Call(1)) && answered < 10'000) ++answered;
  EXPECT_EQ(answered, 1000);
}

TEST(RefusedConnectionTest, TrailersHaveTheErrorInTheirOwnTermsAndInOurs) {
  const std::string text = "too many, 100 %\n" + std::string(200, 'x');
  const std::string block = RefusalTrailers(Status(Reason::kOverloaded, text));
  EXPECT_THAT(block, HasSubstr(std::string("\0\7:status\x03"
                                           "200",
                                           13)));
  EXPECT_THAT(block, HasSubstr("\x0bgrpc-status\x01"
                               "8"));
  EXPECT_THAT(block, HasSubstr("too many, 100 %25%0A"));
  EXPECT_THAT(block, HasSubstr(std::string("\x0cgrpc-message\x7f", 14))) << "a long string has a long length";
  EXPECT_THAT(block, HasSubstr("flotilla-error-bin"));
}

}  // namespace
}  // namespace flotilla::rpc
