// What people read when a file is wrong, word for word.
#include <gmock/gmock.h>

#include "server/config/load.h"

namespace flotilla::config {
namespace {

using ::testing::ElementsAreArray;

struct Case {
  const char* name;
  // Completed with cluster.name, unless it begins with "cluster" or with '!', which is taken away.
  const char* text;
  std::vector<std::string> messages;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.text; }

std::string Complete(const std::string& text) {
  return text.starts_with("cluster") || text.starts_with('!') ? text.substr(text.starts_with('!')) : text + "cluster: {name: orders}\n";
}

class MessagesTest : public testing::TestWithParam<Case> {};

TEST_P(MessagesTest, AreExactly) {
  std::vector<std::string> messages;
  for (const ConfigError& problem : ParseConfig("f.yaml", Complete(GetParam().text), {.hostname = "host1"}).problems) {
    messages.push_back(problem.ToString());
  }
  EXPECT_THAT(messages, ElementsAreArray(GetParam().messages));
}

const Case kFileCases[] = {
    {"NothingWrong", "listen:\n  client: 127.0.0.1:1\n", {}},
    {"UnknownSection", "limit:\n  max_streams: 1\n", {"f.yaml:1:1: unknown key limit; did you mean limits?"}},
    {"KeyWithoutItsSection", "max_streams: 1\n", {"f.yaml:1:1: unknown key max_streams; did you mean limits.max_streams?"}},
    {"SectionLikeNothing",
     "zookeeper: a\n",
     {"f.yaml:1:1: unknown key zookeeper; the sections are node, cluster, listen, tls, limits, grpc, raft, storage, log"}},
    {"UnknownKey", "limits:\n  max_stream: 1\n", {"f.yaml:2:3: unknown key limits.max_stream; did you mean limits.max_streams?"}},
    {"KeyOfAnotherSection", "node:\n  seeds: []\n", {"f.yaml:2:3: unknown key node.seeds; did you mean cluster.seeds?"}},
    {"KeyLikeNothing", "grpc:\n  xyzzyxyzzy: 1\n", {"f.yaml:2:3: unknown key grpc.xyzzyxyzzy; the keys of grpc are stream_heartbeat"}},
    {"DuplicateKey",
     "raft:\n  tick: 50ms\n  tick: 10ms\n",
     {"f.yaml:3:3: duplicate key raft.tick; it stands in line 2 already: keep one of them"}},
    {"DuplicateSection",
     "raft:\n  tick: 50ms\nlog: {}\nraft:\n  tick: 10ms\n",
     {"f.yaml:4:1: duplicate key raft; it stands in line 1 already: keep one of them"}},
    {"CountOutOfRange", "limits: {max_streams: 0}\n", {"f.yaml:1:23: limits.max_streams is \"0\"; use 1 to 1000000, such as 10000"}},
    {"CountOctal", "limits: {max_streams: 010}\n", {"f.yaml:1:23: limits.max_streams is \"010\"; write it without leading zeros: 10"}},
    {"CountNotANumber",
     "limits: {max_streams: many}\n",
     {"f.yaml:1:23: limits.max_streams is \"many\"; use a whole number in decimal digits, such as 42"}},
    {"CountBeyondItsField",
     "limits: {max_streams: 4294967297}\n",
     {"f.yaml:1:23: limits.max_streams is \"4294967297\"; use 1 to 1000000, such as 10000"}},
    {"SizeWithoutUnit",
     "storage: {block_cache: 64}\n",
     {"f.yaml:1:24: storage.block_cache is \"64\"; a size is a whole number and one of the units B, KiB, MiB, GiB or TiB, such as "
      "64MiB"}},
    {"SizeOutOfRange",
     "limits: {inflight_bytes: 1MiB}\n",
     {"f.yaml:1:26: limits.inflight_bytes is \"1MiB\"; use 8MiB to 64GiB, such as 256MiB"}},
    {"DurationWithoutUnit",
     "limits: {consumer_stall: 60}\n",
     {"f.yaml:1:26: limits.consumer_stall is \"60\"; a duration is a whole number and one of the units us, ms, s, m, h or d, such as "
      "500ms"}},
    {"DurationOutOfRange", "raft: {tick: 1us}\n", {"f.yaml:1:14: raft.tick is \"1us\"; use 5ms to 1s, such as 50ms"}},
    {"Bool", "tls: {insecure: yes}\n", {"f.yaml:1:17: tls.insecure is \"yes\"; use true or false"}},
    {"Choice", "log: {level: warn}\n", {"f.yaml:1:14: log.level is \"warn\"; use info, warning or error"}},
    {"ChoiceOfOne", "tls: {mode: required}\n", {"f.yaml:1:13: tls.mode is \"required\"; use off"}},
    {"Name", "node: {name: a b}\n", {"f.yaml:1:14: node.name is \"a b\"; use letters, digits, '.', '_' and '-', at most 249, or \"\""}},
    {"Path", "node: {data_dir: data}\n", {"f.yaml:1:18: node.data_dir is \"data\"; use an absolute path, such as /var/lib/flotilla"}},
    {"Address",
     "listen: {client: localhost}\n",
     {"f.yaml:1:18: listen.client is \"localhost\"; the port is missing; write host:port, such as 10.0.0.1:9650"}},
    {"EmptyListener",
     "listen: {peer: \"\"}\n",
     {"f.yaml:1:16: listen.peer is \"\"; the port is missing; write host:port, such as 10.0.0.1:9650"}},
    {"AdvertisedWildcard",
     "listen: {advertise_peer: \"0.0.0.0:9651\"}\n",
     {"f.yaml:1:26: listen.advertise_peer is \"0.0.0.0:9651\"; others cannot connect to 0.0.0.0; use a name or an address of the "
      "machine"}},
    {"SeedPortZero",
     "cluster: {name: a, seeds: [n:0]}\n",
     {"f.yaml:1:27: cluster.seeds has \"n:0\"; others cannot connect to port 0; use a port from 1 to 65535"}},
    {"SeedTwice", "cluster: {name: a, seeds: [n:1, n:1]}\n", {"f.yaml:1:27: cluster.seeds has \"n:1\" twice; leave one of them out"}},
    {"OneSeedWithoutBrackets",
     "cluster: {name: a, seeds: n:1}\n",
     {"f.yaml:1:27: cluster.seeds is one value; write a list, in brackets: [a, b]"}},
    {"ListForAValue", "log: {level: [info]}\n", {"f.yaml:1:14: log.level is a list; write one value: info, warning or error"}},
    {"MapForAValue",
     "log:\n  level:\n    a: 1\n",
     {"f.yaml:3:5: log.level holds keys of its own; write one value: info, warning or error"}},
    {"NoValue",
     "log:\n  level:\n",
     {"f.yaml:2:3: log.level has no value; write one (info, warning or error), or remove the line for the default"}},
    {"ValueForASection", "grpc: off\n", {"f.yaml:1:7: grpc is a section; write its keys below it, indented: stream_heartbeat"}},
    {"AllKeysOfASectionCommentedOut", "limits:\n  # max_streams: 1\n", {}},
    {"NoSections",
     "!- a\n",
     {"f.yaml:1:1: the file is no list of sections; begin with the name of one, such as \"listen:\"",
      "f.yaml: cluster.name is required; write it under cluster:"}},
    {"RequiredIsMissing", "!{}\n", {"f.yaml: cluster.name is required; write it under cluster:"}},
    {"RequiredIsEmpty", "cluster: {name: \"\"}\n", {"f.yaml:1:17: cluster.name is required; write it under cluster:"}},
    {"AllErrorsAtOnceInTheOrderOfTheFile",
     "log: {level: loud}\nraft: {tick: 0s}\nlimits: {max_streams: -1}\n",
     {"f.yaml:1:14: log.level is \"loud\"; use info, warning or error", "f.yaml:2:14: raft.tick is \"0s\"; use 5ms to 1s, such as 50ms",
      "f.yaml:3:23: limits.max_streams is \"-1\"; use a whole number in decimal digits, such as 42"}},
};
INSTANTIATE_TEST_SUITE_P(OfAFile, MessagesTest, testing::ValuesIn(kFileCases),
                         [](const auto& param_info) { return param_info.param.name; });

const Case kRelationCases[] = {
    {"PlainTextBeyondLoopback",
     "listen:\n  client: 0.0.0.0:9650\n",
     {"f.yaml:2:11: listen.client 0.0.0.0:9650 is open to other machines without TLS: whoever reaches it can read and change "
      "everything; listen on 127.0.0.1, or accept that by writing insecure: true under tls:"}},
    {"PlainTextAccepted", "listen: {client: 0.0.0.0:9650}\ntls: {insecure: true}\n", {}},
    {"PortsCollide",
     "listen: {peer: 127.0.0.1:9650}\n",
     {"f.yaml:1:16: listen.peer 127.0.0.1:9650 takes the port of listen.client 127.0.0.1:9650; use another port"}},
    {"PortsCollideWithAWildcard",
     "listen: {http: \"0.0.0.0:9651\"}\ntls: {insecure: true}\n",
     {"f.yaml:1:16: listen.http 0.0.0.0:9651 takes the port of listen.peer 127.0.0.1:9651; use another port"}},
    {"AnyFreePortCollidesWithNothing", "listen: {client: \"127.0.0.1:0\", peer: \"127.0.0.1:0\", http: \"127.0.0.1:0\"}\n", {}},
    {"OnePortOfTwoAddresses", "listen: {client: 10.0.0.1:9650, peer: 10.0.0.2:9650}\ntls: {insecure: true}\n", {}},
    {"LoopbackWithRemoteSeeds",
     "cluster:\n  name: a\n  seeds: [127.0.0.1:9651, 10.0.0.2:9651]\n",
     {"f.yaml: listen.client is 127.0.0.1:9650, so others are told 127.0.0.1:9650, where others find only themselves, and "
      "cluster.seeds has 10.0.0.2:9651 on another machine; listen on 0.0.0.0:9650 or on an address of this machine, or set "
      "listen.advertise_client",
      "f.yaml: listen.peer is 127.0.0.1:9651, so others are told 127.0.0.1:9651, where others find only themselves, and "
      "cluster.seeds has 10.0.0.2:9651 on another machine; listen on 0.0.0.0:9651 or on an address of this machine, or set "
      "listen.advertise_peer"}},
    {"AdvertisedLoopbackWithRemoteSeeds",
     "cluster: {name: a, seeds: [10.0.0.1:9651, 10.0.0.2:9651]}\ntls: {insecure: true}\n"
     "listen: {client: 10.0.0.1:9650, peer: 10.0.0.1:9651, advertise_client: localhost:9650}\n",
     {"f.yaml:3:72: listen.advertise_client is localhost:9650, where others find only themselves, and cluster.seeds has 10.0.0.1:9651 "
      "on another machine; use a name or an address of this machine that others reach"}},
    {"NotAmongTheSeeds",
     "cluster: {name: a, seeds: [n1:9651, n2:9651]}\nlisten: {client: 0.0.0.0:9650, peer: 0.0.0.0:9651}\ntls: {insecure: true}\n",
     {"f.yaml:1:27: warning: cluster.seeds does not have this node, which others are told to find at host1:9651; write the same list "
      "on every node that founds the cluster, so that any of them can; one that joins later need not be in it"}},
    {"SingleWithSeeds",
     "cluster:\n  name: a\n  bootstrap: single\n  seeds: [127.0.0.1:1]\n",
     {"f.yaml:3:14: cluster.bootstrap is single, which makes a cluster of this node alone, but cluster.seeds names others; use manual, "
      "or remove the seeds"}},
    {"SingleWithItself", "cluster: {name: a, bootstrap: single, seeds: [localhost:9651]}\n", {}},
    {"HeartbeatTooSlow",
     "raft: {heartbeat: 350ms}\n",
     {"f.yaml:1:19: raft.heartbeat is 350ms; use less than a third of raft.election_timeout, 1s, so that one lost heartbeat does not "
      "cost a leader"}},
    {"HeartbeatBetweenTicks", "raft:\n  heartbeat: 160ms\n", {"f.yaml:2:14: raft.heartbeat is 160ms; use a multiple of raft.tick, 50ms"}},
    {"ElectionBetweenTicks",
     "raft:\n  election_timeout: 1010ms\n",
     {"f.yaml:2:21: raft.election_timeout is 1010ms; use a multiple of raft.tick, 50ms"}},
    {"StallBelowHeartbeat",
     "limits: {consumer_stall: 10s}\n",
     {"f.yaml:1:26: limits.consumer_stall is 10s; use more than grpc.stream_heartbeat, 10s, or healthy streams are ended"}},
    {"WalBelowWriteBuffer",
     "storage: {wal_max: 128MiB}\n",
     {"f.yaml:1:20: storage.wal_max is 128MiB; use at least storage.write_buffer, 192MiB, which would never be filled"}},
    {"LogFileWithoutDirectory",
     "log: {to: file}\n",
     {"f.yaml: log.to is file and log.dir is empty; write the directory, such as /var/log/flotilla"}},
};
INSTANTIATE_TEST_SUITE_P(OfRelations, MessagesTest, testing::ValuesIn(kRelationCases),
                         [](const auto& param_info) { return param_info.param.name; });

}  // namespace
}  // namespace flotilla::config
