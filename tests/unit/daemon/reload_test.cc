#include "server/daemon/reload.h"

#include <glog/logging.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace flotilla {
namespace {

using ::testing::HasSubstr;

class ReloadTest : public ::testing::Test {
 protected:
  ReloadTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "reload-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    file_ = directory_ + "/flotilla.yaml";
  }
  ~ReloadTest() override { std::filesystem::remove_all(directory_); }

  config::LoadedConfig Write(const std::string& text) const {
    std::ofstream(file_) << text;
    return config::LoadConfig(file_, environment_);
  }

  const config::Environment environment_{.variables = {}, .hostname = "host"};
  std::string directory_;
  std::string file_;
};

TEST_F(ReloadTest, LevelAndVerbosityChange) {
  const Reloader reloader(Write("cluster:\n  name: c\n"));
  Write("cluster:\n  name: c\nlog:\n  level: error\n  verbosity: 3\n");
  const Reloaded result = reloader.Reload(environment_);
  EXPECT_TRUE(result.ok) << result.text;
  EXPECT_EQ(FLAGS_minloglevel, google::GLOG_ERROR);
  EXPECT_EQ(FLAGS_v, 3);
}

TEST_F(ReloadTest, AWrongFileChangesNothingAndSaysSo) {
  const Reloader reloader(Write("cluster:\n  name: c\n"));
  FLAGS_minloglevel = google::GLOG_WARNING;
  Write("cluster:\n  name: c\nlog:\n  level: loud\n  verbosity: 4\n");
  const Reloaded result = reloader.Reload(environment_);
  EXPECT_FALSE(result.ok);
  EXPECT_THAT(result.text, HasSubstr(file_));
  EXPECT_EQ(FLAGS_minloglevel, google::GLOG_WARNING);
  EXPECT_NE(FLAGS_v, 4);
}

TEST_F(ReloadTest, AFileThatIsGoneChangesNothing) {
  const Reloader reloader(Write("cluster:\n  name: c\n"));
  std::filesystem::remove(file_);
  EXPECT_FALSE(reloader.Reload(environment_).ok);
}

TEST_F(ReloadTest, WhatNeedsARestartIsNamed) {
  const Reloader reloader(Write("cluster:\n  name: c\n"));
  Write("cluster:\n  name: c\nlimits:\n  max_streams: 77\n");
  const Reloaded result = reloader.Reload(environment_);
  EXPECT_TRUE(result.ok);
  EXPECT_THAT(result.text, HasSubstr("limits.max_streams"));
}

}  // namespace
}  // namespace flotilla
