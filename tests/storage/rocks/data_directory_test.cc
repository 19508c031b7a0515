#include "storage/rocks/data_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "tests/support/scratch_directory.h"

namespace flotilla::storage {
namespace {

using testing::HasSubstr;

class DataDirectoryTest : public testing::Test {
 protected:
  Result<std::unique_ptr<DataDirectory>> Open(const DirectoryIdentity& expected = {}) { return DataDirectory::Open(path_, expected); }
  std::string IdentityText() {
    std::ostringstream text;
    text << std::ifstream(path_ + "/IDENTITY").rdbuf();
    return text.str();
  }
  void WriteIdentity(const std::string& text) { std::ofstream(path_ + "/IDENTITY") << text; }

  ScratchDirectory scratch_;
  const std::string path_ = scratch_ / "data";
};

TEST_F(DataDirectoryTest, TheNodeUuidIsMadeOnce) {
  const std::string first = (*Open())->identity().node_uuid;
  EXPECT_EQ(first.size(), 36U);
  EXPECT_EQ((*Open())->identity().node_uuid, first);
}

TEST_F(DataDirectoryTest, TheClusterIsSetOnce) {
  {
    auto directory = Open();
    EXPECT_EQ((*directory)->identity().cluster_id, "");
    EXPECT_TRUE((*directory)->SetClusterId("orders").ok());
    EXPECT_TRUE((*directory)->SetClusterId("orders").ok());
    EXPECT_EQ((*directory)->SetClusterId("billing").reason(), Reason::kDirectoryMismatch);
  }
  EXPECT_EQ((*Open())->identity().cluster_id, "orders");
}

TEST_F(DataDirectoryTest, AnotherClusterIsRefusedWithBothNames) {
  ASSERT_TRUE(Open({.cluster_id = "orders", .node_uuid = ""}).ok());
  const Status refused = Open({.cluster_id = "billing", .node_uuid = ""}).status();
  EXPECT_EQ(refused.reason(), Reason::kDirectoryMismatch);
  EXPECT_THAT(std::string(refused.message()), testing::AllOf(HasSubstr("orders"), HasSubstr("billing")));
}

TEST_F(DataDirectoryTest, ADirectoryWithSomebodyElsesFilesIsRefusedAndLeftAlone) {
  ASSERT_EQ(::mkdir(path_.c_str(), 0750), 0);
  std::ofstream(path_ + "/holiday.jpg") << "a beach";
  const Status refused = Open().status();
  EXPECT_EQ(refused.reason(), Reason::kDirectoryMismatch);
  EXPECT_THAT(std::string(refused.message()), testing::AllOf(HasSubstr(path_), HasSubstr("holiday.jpg")));
  EXPECT_NE(::access((path_ + "/LOCK").c_str(), F_OK), 0);
}

TEST_F(DataDirectoryTest, WhatAFileSystemPutsIntoEveryDirectoryIsNobodys) {
  ASSERT_EQ(::mkdir(path_.c_str(), 0750), 0);
  ASSERT_EQ(::mkdir((path_ + "/lost+found").c_str(), 0700), 0);
  EXPECT_TRUE(Open().ok());
}

TEST_F(DataDirectoryTest, AnotherNodeIsRefused) {
  ASSERT_TRUE(Open({.cluster_id = "", .node_uuid = "node-a"}).ok());
  EXPECT_EQ(Open({.cluster_id = "", .node_uuid = "node-b"}).status().reason(), Reason::kDirectoryMismatch);
}

TEST_F(DataDirectoryTest, ASecondOwnerIsRefusedWithThePidOfTheFirst) {
  const auto owner = Open();
  const Status refused = Open().status();
  EXPECT_EQ(refused.reason(), Reason::kDirectoryLocked);
  EXPECT_EQ(refused.Detail("pid"), std::to_string(::getpid()));
}

TEST_F(DataDirectoryTest, AnotherFormatIsRefused) {
  ASSERT_TRUE(Open().ok());
  std::string text = IdentityText();
  text.replace(text.find("format: 1"), 9, "format: 2");
  WriteIdentity(text);
  EXPECT_EQ(Open().status().reason(), Reason::kDirectoryMismatch);
}

TEST_F(DataDirectoryTest, AnEditedIdentityIsDataLoss) {
  ASSERT_TRUE(Open({.cluster_id = "orders", .node_uuid = ""}).ok());
  std::string text = IdentityText();
  text.replace(text.find("orders"), 6, "Orders");
  WriteIdentity(text);
  EXPECT_EQ(Open().status().reason(), Reason::kDataLoss);
}

TEST_F(DataDirectoryTest, AMissingIdentityBesideDataIsDataLoss) {
  ASSERT_TRUE(Open().ok());
  std::ofstream(path_ + "/EVIDENCE") << "something";
  ::unlink((path_ + "/IDENTITY").c_str());
  EXPECT_EQ(Open().status().reason(), Reason::kDataLoss);
}

TEST_F(DataDirectoryTest, WithoutPermissionTheErrorNamesThePath) {
  ASSERT_TRUE(Open().ok());
  const Status refused = DataDirectory::Open(scratch_ / "missing/data", {}).status();
  EXPECT_EQ(refused.reason(), Reason::kDirectoryUnusable);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("missing/data"));
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  ASSERT_EQ(::chmod(path_.c_str(), 0500), 0);
  ::unlink((path_ + "/LOCK").c_str());
  EXPECT_EQ(Open().status().reason(), Reason::kDirectoryUnusable);
}

TEST_F(DataDirectoryTest, ALineBreakInAnIdIsRefused) {
  EXPECT_EQ(Open({.cluster_id = "a\nb", .node_uuid = ""}).status().reason(), Reason::kInvalidArgument);
}

}  // namespace
}  // namespace flotilla::storage
