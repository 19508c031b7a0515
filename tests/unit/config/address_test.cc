#include "server/config/address.h"

#include <gmock/gmock.h>

namespace flotilla::config {
namespace {

using ::testing::HasSubstr;

TEST(AddressTest, NamesIpv4AndBracketedIpv6AreRead) {
  for (const auto& [text, host, port] :
       {std::tuple("127.0.0.1:9650", "127.0.0.1", 9650), std::tuple("node-2.example_x.org:1", "node-2.example_x.org", 1),
        std::tuple("[::1]:65535", "::1", 65535), std::tuple("localhost:0", "localhost", 0)}) {
    const Result<Address> address = ParseAddress(text);
    ASSERT_TRUE(address.ok()) << text << ": " << address.status();
    EXPECT_EQ(address->host, host);
    EXPECT_EQ(address->port, port);
    EXPECT_EQ(ToString(*address), text);
  }
}

TEST(AddressTest, WhatIsNoAddressIsRefusedWithAdvice) {
  for (const auto& [text, advice] :
       {std::pair("", "the port is missing"), std::pair("host", "the port is missing"), std::pair("[::1]", "the port is missing"),
        std::pair(":9650", "the host is missing"), std::pair("::1:9650", "an IPv6 address stands in brackets"),
        std::pair("[::g]:9650", "between the brackets stands an IPv6 address"),
        std::pair("[]:9650", "between the brackets stands an IPv6 address"),
        std::pair("[:9650", "between the brackets stands an IPv6 address"), std::pair("a b:9650", "only letters, digits"),
        std::pair("http://a:9650", "an IPv6 address stands in brackets"), std::pair("256.0.0.1:9650", "no IPv4 address"),
        std::pair("10.1:9650", "no IPv4 address"), std::pair("a:", "a number up to 65535"), std::pair("a:65536", "a number up to 65535"),
        std::pair("a:-1", "a number up to 65535"), std::pair("a:+1", "a number up to 65535"), std::pair("a:1x", "a number up to 65535"),
        std::pair("a:0650", "without leading zeros")}) {
    const Result<Address> address = ParseAddress(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_THAT(std::string(address.status().message()), HasSubstr(advice)) << text;
  }
}

TEST(AddressTest, LoopbackAndWildcardAreTold) {
  for (const char* host : {"localhost", "127.0.0.1", "127.9.8.7", "::1", "0:0:0:0:0:0:0:1"}) EXPECT_TRUE(IsLoopback(host)) << host;
  for (const char* host : {"0.0.0.0", "::", "128.0.0.1", "localhost.example.org", ""}) EXPECT_FALSE(IsLoopback(host)) << host;
  for (const char* host : {"0.0.0.0", "::", "0:0::0"}) EXPECT_TRUE(IsWildcard(host)) << host;
  for (const char* host : {"127.0.0.1", "::1", "any", ""}) EXPECT_FALSE(IsWildcard(host)) << host;
}

}  // namespace
}  // namespace flotilla::config
