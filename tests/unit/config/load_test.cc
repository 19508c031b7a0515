#include "server/config/load.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>
#include <random>
#include <set>

#include "tests/support/scratch_directory.h"

namespace flotilla::config {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const Environment kHost{.hostname = "host1"};

std::vector<std::string> Messages(const LoadedConfig& loaded) {
  std::vector<std::string> messages;
  for (const ConfigError& problem : loaded.problems) messages.push_back(problem.ToString());
  return messages;
}

Environment With(std::map<std::string, std::string> variables) { return {.variables = std::move(variables), .hostname = "host1"}; }

TEST(LoadTest, EveryValueReachesItsField) {
  const LoadedConfig loaded = ParseConfig("f.yaml", R"(
node: {name: n1, rack: r1, data_dir: /data}
cluster: {name: orders, seeds: [10.0.0.1:9651, n2:9651], bootstrap: manual}
listen:
  client: 10.0.0.1:1
  peer: 10.0.0.1:9651
  http: ""
  advertise_client: a.example.org:10
  advertise_peer: "10.0.0.1:9651"
tls: {mode: off, insecure: true}
limits: {inflight_bytes: 32MiB, max_connections: 17, max_streams: 3, consumer_stall: 4m}
grpc: {stream_heartbeat: 6s}
raft: {tick: 10ms, heartbeat: 80ms, election_timeout: 900ms}
storage: {block_cache: 10MiB, write_buffer: 110MiB, wal_max: 120MiB, background_jobs: 13, direct_io: false, disk_reserve: 14MiB,
          slow_sync: 120ms, slow_for: 7s, well_for: 3m, log_families: 15}
log: {level: error, to: file, dir: /logs, verbosity: 2}
)",
                                          kHost);
  ASSERT_THAT(Messages(loaded), IsEmpty());
  constexpr uint64_t kMiB = 1 << 20;
  const Config expected{.node = {.name = "n1", .rack = "r1", .data_dir = "/data"},
                        .cluster = {.name = "orders", .seeds = {{"10.0.0.1", 9651}, {"n2", 9651}}, .bootstrap = Bootstrap::kManual},
                        .listen = {.client = {"10.0.0.1", 1},
                                   .peer = {"10.0.0.1", 9651},
                                   .http = std::nullopt,
                                   .advertise_client = Address{"a.example.org", 10},
                                   .advertise_peer = Address{"10.0.0.1", 9651}},
                        .tls = {.mode = TlsMode::kOff, .insecure = true},
                        .limits = {.inflight_bytes = 32 * kMiB, .max_connections = 17, .max_streams = 3, .consumer_stall = 4min},
                        .grpc = {.stream_heartbeat = 6s},
                        .raft = {.tick = 10ms, .heartbeat = 80ms, .election_timeout = 900ms},
                        .storage = {.block_cache_bytes = 10 * kMiB,
                                    .write_buffer_bytes = 110 * kMiB,
                                    .wal_bytes_max = 120 * kMiB,
                                    .background_jobs = 13,
                                    .direct_io = false,
                                    .disk_reserve_bytes = 14 * kMiB,
                                    .slow_sync = 120ms,
                                    .slow_for = 7s,
                                    .well_for = 3min,
                                    .log_families = 15},
                        .log = {.level = LogLevel::kError, .to = LogTarget::kFile, .dir = "/logs", .verbosity = 2}};
  EXPECT_EQ(loaded.config, expected);
  EXPECT_EQ(loaded.config.raft.heartbeat_ticks(), 8u);
  EXPECT_EQ(loaded.config.raft.election_ticks(), 90u);
}

TEST(LoadTest, TheDefaultsAreThoseOfTheManual) {
  const LoadedConfig loaded = ParseConfig("f.yaml", "cluster: {name: orders}\n", kHost);
  ASSERT_THAT(Messages(loaded), IsEmpty());
  const Config& config = loaded.config;
  EXPECT_EQ(config.node.data_dir, "/var/lib/flotilla");
  EXPECT_EQ(ToString(config.listen.client), "127.0.0.1:9650");
  EXPECT_EQ(ToString(config.listen.peer), "127.0.0.1:9651");
  EXPECT_EQ(ToString(config.listen.http.value()), "127.0.0.1:9652");
  EXPECT_EQ(config.cluster.bootstrap, Bootstrap::kManual);
  EXPECT_FALSE(config.tls.insecure);
  EXPECT_EQ(config.limits.inflight_bytes, 256u << 20);
  EXPECT_EQ(config.raft.tick, 50ms);
  EXPECT_EQ(config.raft.heartbeat_ticks(), 3u);
  EXPECT_EQ(config.raft.election_ticks(), 20u);
  EXPECT_TRUE(config.storage.direct_io);
}

TEST(LoadTest, ANodeWithoutANameTakesThatOfTheHost) {
  EXPECT_EQ(ParseConfig("f.yaml", "cluster: {name: a}\n", kHost).config.node.name, "host1");
  EXPECT_EQ(ParseConfig("f.yaml", "cluster: {name: a}\nnode: {name: n}\n", kHost).config.node.name, "n");
  EXPECT_THAT(Messages(ParseConfig("f.yaml", "cluster: {name: a}\n", {.hostname = "(none)"})),
              ElementsAre("f.yaml: node.name is empty and the name of this host is \"(none)\", which is no name; write node.name: "
                          "letters, digits, '.', '_' and '-', at most 249, or \"\""));
}

TEST(LoadTest, TheEnvironmentComesBeforeTheFile) {
  const LoadedConfig loaded = ParseConfig("f.yaml", "cluster: {name: a, seeds: [n9:1]}\nlisten: {client: 127.0.0.1:1}\n",
                                          With({{"FLOTILLA_LISTEN__CLIENT", "127.0.0.1:2"},
                                                {"FLOTILLA_CLUSTER__SEEDS", "127.0.0.1:9651,127.0.0.1:7"},
                                                {"FLOTILLA_NODE__RACK", ""},
                                                {"FLOTILLA_ADDRESS", "of another program"},
                                                {"PATH", "/bin"}}));
  ASSERT_THAT(Messages(loaded), IsEmpty());
  EXPECT_EQ(loaded.config.listen.client.port, 2);
  EXPECT_THAT(loaded.config.cluster.seeds, ElementsAre(Address{"127.0.0.1", 9651}, Address{"127.0.0.1", 7}));
}

TEST(LoadTest, AnEmptyVariableOfAListEmptiesIt) {
  const LoadedConfig loaded =
      ParseConfig("f.yaml", "cluster: {name: a, seeds: [127.0.0.1:9651]}\n", With({{"FLOTILLA_CLUSTER__SEEDS", ""}}));
  ASSERT_THAT(Messages(loaded), IsEmpty());
  EXPECT_THAT(loaded.config.cluster.seeds, IsEmpty());
}

TEST(LoadTest, WrongVariablesAreErrorsThatNameThem) {
  EXPECT_THAT(Messages(ParseConfig("f.yaml", "cluster: {name: a}\n",
                                   With({{"FLOTILLA_LISTEN__CLIENTS", "x"},
                                         {"FLOTILLA_LOG__LEVEL", "loud"},
                                         {"FLOTILLA_listen__client", "127.0.0.1:1"},
                                         {"FLOTILLA_QQQQ__WWWWWWWWWW", "x"}}))),
              ElementsAre("environment: unknown variable FLOTILLA_LISTEN__CLIENTS; did you mean FLOTILLA_LISTEN__CLIENT?",
                          "environment: FLOTILLA_LOG__LEVEL: log.level is \"loud\"; use info, warning or error",
                          "environment: unknown variable FLOTILLA_QQQQ__WWWWWWWWWW; see flotillad --print-default-config for all keys",
                          "environment: unknown variable FLOTILLA_listen__client; did you mean FLOTILLA_LISTEN__CLIENT?"));
}

TEST(LoadTest, ARelationNamesTheVariableThatBrokeIt) {
  EXPECT_THAT(Messages(ParseConfig("f.yaml", "cluster: {name: a}\n", With({{"FLOTILLA_RAFT__HEARTBEAT", "160ms"}}))),
              ElementsAre("environment: FLOTILLA_RAFT__HEARTBEAT: raft.heartbeat is 160ms; use a multiple of raft.tick, 50ms"));
}

TEST(LoadTest, AFileThatCannotBeReadIsAnError) {
  const ScratchDirectory scratch;
  EXPECT_THAT(Messages(LoadConfig(scratch / "none.yaml", kHost)),
              ElementsAre(scratch / "none.yaml" + ": cannot be read: No such file or directory; flotillad --print-default-config "
                                                  "writes one to begin with"));
  EXPECT_THAT(Messages(LoadConfig(scratch.path(), kHost)), ElementsAre(scratch.path() + ": is a directory; name the file"));
  ASSERT_EQ(mkfifo((scratch / "pipe").c_str(), 0600), 0);
  EXPECT_FALSE(LoadConfig(scratch / "pipe", kHost).ok());
}

TEST(LoadTest, AFileIsReadFromTheDisk) {
  const ScratchDirectory scratch;
  std::ofstream(scratch / "f.yaml") << "cluster:\n  name: orders\nlog:\n  level: loud\n";
  EXPECT_THAT(Messages(LoadConfig(scratch / "f.yaml", kHost)),
              ElementsAre(scratch / "f.yaml" + ":4:10: log.level is \"loud\"; use info, warning or error"));
  std::ofstream(scratch / "f.yaml") << "cluster:\n  name: orders\n";
  EXPECT_EQ(LoadConfig(scratch / "f.yaml", kHost).config.cluster.name, "orders");
}

TEST(DevConfigTest, IsOneNodeOnLoopbackThatFoundsItsCluster) {
  const Config config = DevConfig("/tmp/flotilla");
  EXPECT_EQ(config.node.data_dir, "/tmp/flotilla");
  EXPECT_EQ(config.cluster.name, "dev");
  EXPECT_EQ(config.cluster.bootstrap, Bootstrap::kSingle);
  EXPECT_EQ(ToString(config.listen.client), "127.0.0.1:9650");
  EXPECT_EQ(ToString(config.listen.peer), "127.0.0.1:9651");
  EXPECT_EQ(ToString(config.listen.http.value()), "127.0.0.1:9652");
}

TEST(DevConfigTest, HearsTheEnvironmentButStaysOnLoopback) {
  EXPECT_EQ(LoadDevConfig("/d", With({{"FLOTILLA_LISTEN__CLIENT", "127.0.0.1:0"}})).config.listen.client.port, 0);
  EXPECT_THAT(Messages(LoadDevConfig("/d", With({{"FLOTILLA_LISTEN__CLIENT", "0.0.0.0:9650"}, {"FLOTILLA_TLS__INSECURE", "true"}}))),
              ElementsAre("environment: FLOTILLA_LISTEN__CLIENT: listen.client 0.0.0.0:9650 is open to other machines, and --dev serves "
                          "this one only; use 127.0.0.1, or start with a configuration file"));
  EXPECT_THAT(Messages(LoadDevConfig("d", kHost)), ElementsAre("node.data_dir is \"d\"; use an absolute path, such as /var/lib/flotilla"));
}

TEST(AdvertisedAddressTest, IsWhatIsWrittenElseWhereTheNodeListens) {
  Config config = DevConfig("/d");
  config.node.name = "n1";
  EXPECT_EQ(ToString(AdvertisedAddress(config, {"10.0.0.1", 0}, std::nullopt, 7)), "10.0.0.1:7");
  EXPECT_EQ(ToString(AdvertisedAddress(config, {"0.0.0.0", 0}, std::nullopt, 7)), "n1:7");
  EXPECT_EQ(ToString(AdvertisedAddress(config, {"::", 0}, Address{"lb", 1}, 7)), "lb:1");
}

TEST(ReloadTest, KeysThatNeedARestartAreNamed) {
  const auto load = [](const std::string& text) { return ParseConfig("f.yaml", "cluster: {name: a}\n" + text, kHost); };
  std::vector<std::string> names;
  for (const Key* key : NeedRestart(load(""), load("log: {level: error}\nlimits: {max_streams: 1}\nraft: {tick: 50ms}\n"))) {
    names.push_back(key->path());
  }
  EXPECT_THAT(names, ElementsAre("limits.max_streams"));
}

TEST(SchemaTest, TheKeysOfASectionStandTogetherAndAreDifferent) {
  std::set<std::string> paths;
  for (const Key& key : Keys()) {
    EXPECT_TRUE(paths.insert(key.path()).second) << key.path();
    EXPECT_EQ(FindKey(key.section, key.name), &key);
    EXPECT_FALSE(key.help.empty()) << key.path();
  }
}

TEST(SchemaTest, EveryKeyThatIsMisspeltOrHasAValueThatCannotBeIsNamedWithItsPlace) {
  for (const Key& key : Keys()) {
    const std::string section = std::string(key.section);
    const std::string name = std::string(key.name);
    const auto problems = [&](const std::string& line) {
      const std::string others = section == "cluster" ? "" : "cluster: {name: a}\n";
      return Messages(ParseConfig("f.yaml", section + ":\n  " + line + "\n" + others, kHost));
    };
    const size_t value_column = name.size() + 5;
    const auto at = [&](size_t column) { return "f.yaml:2:" + std::to_string(column) + ": " + key.path(); };
    EXPECT_THAT(problems(name + "x: 1"), Contains("f.yaml:2:3: unknown key " + key.path() + "x; did you mean " + key.path() + "?"));
    EXPECT_THAT(problems(name + ": {deep: 1}"), Contains(StartsWith(at(value_column))));
    if (std::holds_alternative<TargetListKey>(key.kind)) {
      EXPECT_THAT(problems(name + ": one"), Contains(StartsWith(at(value_column))));
      EXPECT_THAT(problems(name + ": [\"!?\"]"), Contains(AllOf(StartsWith(at(value_column)), HasSubstr("!?"))));
    } else {
      EXPECT_THAT(problems(name + ": \"!?\""), Contains(AllOf(StartsWith(at(value_column)), HasSubstr("!?"))));
    }
  }
}

// Valid pieces in any order, cut anywhere, with noise: an answer comes, and whoever is told that all is well has what can
// be printed and read again.
TEST(LoadTest, GarbageIsAnsweredWithErrors) {
  static constexpr const char* kPieces[] = {
      "listen", ":",   " ",    "\n",   "\n  ", "client",  "127.0.0.1:9650", "[", "]",  "{",  "}",        ",",    "- ",
      "\"",     "'",   "#",    "&a",   "*a",   "<<",      "!!str",          "|", ">",  "?",  "%",        "@",    "`",
      "---",    "...", "raft", "tick", "50ms", "cluster", "name",           "a", "\t", "\r", "\xc3\xa4", "\x80", "0"};
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    std::string text = "cluster: {name: a}\n";
    for (unsigned i = random() % 40; i > 0; --i) text += kPieces[random() % std::size(kPieces)];
    const LoadedConfig loaded = ParseConfig("f.yaml", text, kHost);
    ASSERT_EQ(loaded.settings.size(), Keys().size()) << text;
    for (const ConfigError& problem : loaded.problems) ASSERT_FALSE(problem.text.empty()) << text;
  }
}

}  // namespace
}  // namespace flotilla::config
