#include "server/config/print.h"

#include <gmock/gmock.h>

#include <fstream>
#include <iterator>

namespace flotilla::config {
namespace {

using ::testing::HasSubstr;

TEST(PrintTest, TheDefaultFileReadsBackAsTheDefaults) {
  const Environment host{.hostname = "host1"};
  const LoadedConfig printed = ParseConfig("f.yaml", PrintDefaultConfig(), host);
  // What has no default is all that is missing.
  ASSERT_EQ(printed.problems.size(), 1u);
  EXPECT_THAT(printed.problems[0].ToString(), HasSubstr("cluster.name is required; write it under cluster:"));
  EXPECT_EQ(printed.config, ParseConfig("f.yaml", "", host).config);
  for (const Setting& setting : printed.settings) {
    if (setting.key->path() == "node.name") continue;  // taken from the host
    EXPECT_EQ(setting.source, Setting::Source::kFile) << setting.key->path() << " is not printed";
  }
}

TEST(PrintTest, TheFileThatIsShippedIsTheDefaultFile) {
  std::ifstream file(FLOTILLA_SHIPPED_CONFIG);
  ASSERT_TRUE(file.is_open()) << FLOTILLA_SHIPPED_CONFIG;
  const std::string shipped{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(shipped, PrintDefaultConfig()) << "write it anew: flotillad --print-default-config > deploy/flotilla.yaml";
}

TEST(PrintTest, TheDefaultFileExplainsEachKey) {
  const std::string text = PrintDefaultConfig();
  for (const Key& key : Keys()) EXPECT_THAT(text, HasSubstr("  " + std::string(key.name) + ": ")) << key.path();
  EXPECT_THAT(text, HasSubstr("  # Lines below this level are left out. (info, warning or error) [reload]\n  level: info\n"));
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    EXPECT_LE(end - begin, 100u) << text.substr(begin, end - begin);
    begin = end + 1;
  }
}

TEST(PrintTest, TheEffectiveConfigSaysWhereEachValueComesFrom) {
  const LoadedConfig loaded = ParseConfig("/etc/f.yaml", "cluster:\n  name: a\n  seeds: [127.0.0.1:9651, \"[::1]:9651\"]\n",
                                          {.variables = {{"FLOTILLA_LOG__LEVEL", "error"}}, .hostname = "host1"});
  ASSERT_TRUE(loaded.ok());
  const std::string text = PrintConfig(loaded);
  const auto line = [&](const std::string& key) {
    const size_t begin = text.find("  " + key + ": ");
    return text.substr(begin, text.find('\n', begin) - begin);
  };
  EXPECT_THAT(line("seeds"), testing::MatchesRegex("  seeds: \\[127.0.0.1:9651, \"\\[::1\\]:9651\"\\] +# /etc/f.yaml:3"));
  EXPECT_THAT(line("level"), testing::MatchesRegex("  level: error +# environment FLOTILLA_LOG__LEVEL"));
  EXPECT_THAT(line("tick"), testing::MatchesRegex("  tick: 50ms +# default"));
  EXPECT_EQ(ParseConfig("again.yaml", text, {.hostname = "host1"}).config, loaded.config);
}

}  // namespace
}  // namespace flotilla::config
