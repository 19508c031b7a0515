#include "server/metadata/uuid.h"

#include <gtest/gtest.h>

namespace flotilla {
namespace {

TEST(UuidTest, ItsTextLeadsBackToIt) {
  Random random(1);
  const Uuid id = Uuid::Random(random);
  const std::string text = id.ToString();
  EXPECT_EQ(text.size(), 36u);
  EXPECT_EQ(text[14], '4');  // version 4
  EXPECT_EQ(Uuid::FromText(text), id);
  EXPECT_EQ(Uuid::FromBytes(id.bytes()), id);
  EXPECT_NE(Uuid::Random(random), id);
}

TEST(UuidTest, WhatIsNoUuidIsNone) {
  EXPECT_FALSE(Uuid::FromText(""));
  EXPECT_FALSE(Uuid::FromText("6f9619ff-8b86-4d01-b42d-00cf4fc964f"));
  EXPECT_FALSE(Uuid::FromText("6f9619ff-8b86-4d01-b42d_00cf4fc964ff"));
  EXPECT_FALSE(Uuid::FromText("6f9619ff-8b86-4d01-b42d-00cf4fc964fg"));
  EXPECT_FALSE(Uuid::FromBytes("15 bytes long.."));
  EXPECT_TRUE(Uuid::FromText("6F9619FF-8B86-4D01-B42D-00CF4FC964FF"));
}

}  // namespace
}  // namespace flotilla
