#include "server/partition/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/errors/refusal.h"
#include "storage/base/random.h"
#include "tests/unit/partition/records.h"

namespace flotilla::partition {
namespace {

using testing::HasSubstr;

class CodecTest : public testing::TestWithParam<Codec> {
 protected:
  // What it decompresses to, or the complaint.
  std::string Decompress(const std::string& compressed, size_t bytes) {
    std::string out(bytes, '?');
    const Status status = decompressor_.Decompress(GetParam(), compressed, out.data(), out.size());
    if (status.ok()) return out;
    EXPECT_EQ(RefusalOf(status), Refusal::kCorruptRecords) << status;
    return std::string(status.message());
  }
  std::string Compressed(const std::string& bytes) { return Compress(GetParam(), bytes); }
  Decompressor decompressor_;
};

INSTANTIATE_TEST_SUITE_P(All, CodecTest, testing::Values(Codec::kLz4, Codec::kZstd),
                         [](const auto& codec) { return CodecName(codec.param); });

TEST_P(CodecTest, ComesBackAsItWas) {
  for (size_t size : {1u, 100u, 70'000u, 5'000'000u}) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * i >> 7);
    EXPECT_EQ(Decompress(Compressed(bytes), size), bytes);
  }
}

TEST_P(CodecTest, ABombEndsAtTheSizeItClaimed) {
  const std::string bomb = Compressed(std::string(32 << 20, 'x'));
  EXPECT_LT(bomb.size(), 200'000u);
  EXPECT_THAT(Decompress(bomb, 1000), HasSubstr("bytes, and uncompressed_bytes says 1000"));
}

TEST_P(CodecTest, ALargerClaimThanTheContentIsRefused) {
  EXPECT_THAT(Decompress(Compressed("abc"), 4), HasSubstr("holds 3 bytes, and uncompressed_bytes says 4"));
}

TEST_P(CodecTest, GarbageIsRefused) {
  EXPECT_THAT(Decompress("this is no frame of anything", 100), HasSubstr("compressed records: "));
  EXPECT_THAT(Decompress("", 100), HasSubstr("compressed records: "));
}

TEST_P(CodecTest, ACutFrameIsRefused) {
  const std::string whole = Compressed(std::string(1000, 'a') + "b");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(Decompress(whole.substr(0, size), 1001), HasSubstr("compressed records: ")) << size;
  }
}

TEST_P(CodecTest, WhatFollowsTheFrameIsRefused) {
  EXPECT_THAT(Decompress(Compressed("abc") + "x", 3), HasSubstr("compressed records: "));
  EXPECT_THAT(Decompress(Compressed("abc") + Compressed("def"), 6), HasSubstr("compressed records: "));
}

TEST_P(CodecTest, DamageIsRefusedOrHarmless) {
  const std::string good = Compressed(SetOf(50, "some text, some text"));
  const size_t size = SetOf(50, "some text, some text").size();
  Random random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string bad = good;
    bad[random.Below(bad.size())] ^= static_cast<char>(1 << random.Below(8));
    EXPECT_THAT(Decompress(bad, size).size(), testing::Gt(0u));
  }
  EXPECT_EQ(Decompress(good, size), SetOf(50, "some text, some text"));  // the context is as good as new
}

TEST(CodecSetTest, NoneIsAlwaysAccepted) {
  EXPECT_TRUE(CodecSet().Has(Codec::kNone));
  EXPECT_FALSE(CodecSet().Has(Codec::kLz4));
  EXPECT_TRUE(CodecSet().Add(Codec::kLz4).Has(Codec::kLz4));
  EXPECT_FALSE(CodecSet().Add(Codec::kLz4).Has(Codec::kZstd));
  EXPECT_TRUE(CodecSet::All().Has(Codec::kZstd));
}

TEST(CodecTest, ANumberThatIsNoCodecIsNamed) {
  EXPECT_EQ(*CodecOf(2), Codec::kLz4);
  for (uint32_t number : {0u, 4u, 77u}) {
    const Status status = CodecOf(number).status();
    EXPECT_EQ(RefusalOf(status), Refusal::kUnknownCodec);
    EXPECT_THAT(status.message(), HasSubstr("codec " + std::to_string(number) + " is not known here"));
  }
}

}  // namespace
}  // namespace flotilla::partition
