// Nodes and replicas that come and go, as the program's users see it; the broker's part is played by scripts.
#include <gmock/gmock.h>

#include <sstream>

#include "client/cli/admin_text.h"
#include "client/cli/exit_codes.h"
#include "client/cli/program.h"
#include "client/cli/text.h"
#include "flotilla/v1/admin.pb.h"
#include "flotilla/v1/cluster.pb.h"
#include "tests/unit/client/fake_broker.h"

namespace flotilla::cli {
namespace {

using flotilla::testing::FakeBroker;
using flotilla::testing::FakeLog;
using flotilla::testing::MakeError;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

v1::RaiseFeatureLevelResponse Level(int32_t before, int32_t after) {
  v1::RaiseFeatureLevelResponse response;
  response.set_previous_feature_level(before);
  response.set_feature_level(after);
  return response;
}

v1::Error NoSuchNode() { return MakeError(v1::ERROR_REASON_NODE_NOT_FOUND, 5, v1::RETRY_NEVER, "node 3 is not in the cluster"); }

v1::Node NodeIn(v1::NodeMode mode) {
  v1::Node node;
  node.set_node_id(3);
  node.set_name("n3");
  node.set_client_address("h3:9650");
  node.set_state(v1::NODE_STATE_ALIVE);
  node.set_mode(mode);
  node.set_replica_count(12);
  return node;
}

v1::GetNodeResponse Evacuating(v1::NodeMode mode, int32_t left, bool complete = false) {
  v1::GetNodeResponse response;
  *response.mutable_node() = NodeIn(mode);
  v1::Evacuation& evacuation = *response.mutable_evacuation();
  evacuation.set_leaders_left(left);
  if (mode == v1::NODE_MODE_DECOMMISSIONING) evacuation.set_replicas_left(left);
  evacuation.set_percent(100 - 10 * left);
  evacuation.set_remaining_ms(left * 60'000);
  evacuation.set_complete(complete);
  return response;
}

v1::GetNodeResponse InUse() {
  v1::GetNodeResponse response;
  *response.mutable_node() = NodeIn(v1::NODE_MODE_ACTIVE);
  return response;
}

template <typename Response>
Response With(const v1::Node& node) {
  Response response;
  *response.mutable_node() = node;
  return response;
}

v1::Move MoveOf(v1::MoveStage stage, int32_t percent) {
  v1::Move move;
  move.mutable_partition()->mutable_topic()->set_name("orders");
  move.mutable_partition()->mutable_topic()->set_topic_id("id-of-orders");
  move.mutable_partition()->set_partition(3);
  move.add_from_node_ids(1);
  move.add_to_node_ids(4);
  move.set_reason(v1::MOVE_REASON_REQUESTED);
  move.set_stage(stage);
  move.set_bytes_total(2 << 20);
  move.set_bytes_left((2 << 20) / 100 * (100 - percent));
  move.set_percent(percent);
  move.set_remaining_ms(-1);
  return move;
}

v1::ListMovesResponse Moves(std::vector<v1::Move> moves) {
  v1::ListMovesResponse response;
  for (v1::Move& move : moves) *response.add_moves() = std::move(move);
  return response;
}

class NodesCliTest : public ::testing::Test {
 protected:
  int Run(std::vector<std::string> arguments, const std::string& input = "", bool terminal = false) {
    std::istringstream in(input);
    std::ostringstream out_stream;
    std::ostringstream err_stream;
    arguments.insert(arguments.end(), {"-b", broker.address(), "--timeout", timeout});
    const int code =
        RunProgram(arguments, {.in = in, .out = out_stream, .err = err_stream, .in_is_terminal = terminal, .err_is_terminal = terminal});
    out = out_stream.str();
    err = err_stream.str();
    return code;
  }

  const std::shared_ptr<FakeLog> log = std::make_shared<FakeLog>();
  FakeBroker broker{log};
  std::string timeout = "20s";
  std::string out;
  std::string err;
};

TEST_F(NodesCliTest, AFoundingSaysWhatItWaitsFor) {
  v1::InitClusterResponse founded;
  founded.set_cluster_id("c1");
  broker.Script("InitCluster", MakeError(v1::ERROR_REASON_NO_LEADER, 14, v1::RETRY_SAFE, "seed n2:9651 does not answer"), founded);
  EXPECT_EQ(Run({"cluster", "init"}), kExitOk) << err;
  EXPECT_THAT(err, HasSubstr("waiting: "));
  EXPECT_THAT(err, HasSubstr("seed n2:9651 does not answer"));
  EXPECT_EQ(out, "c1\n");
}

TEST_F(NodesCliTest, AnUpgradeIsForGoodAndSoIsAskedFor) {
  broker.Script("RaiseFeatureLevel", Level(1, 2));
  EXPECT_EQ(Run({"cluster", "upgrade", "--dry-run"}), kExitOk) << err;
  EXPECT_EQ(out, "the cluster would go from feature level 1 to 2\n");
  EXPECT_THAT(broker.last_request(), HasSubstr("validate_only: true"));

  EXPECT_EQ(Run({"cluster", "upgrade"}), kExitUsage);
  EXPECT_THAT(err, HasSubstr("--yes"));
  EXPECT_THAT(broker.last_request(), HasSubstr("validate_only: true"));

  EXPECT_EQ(Run({"cluster", "upgrade", "--yes"}), kExitOk) << err;
  EXPECT_EQ(out, "the cluster went from feature level 1 to 2\n");
  EXPECT_THAT(broker.last_request(), HasSubstr("feature_level: 2"));
  EXPECT_THAT(broker.last_request(), Not(HasSubstr("validate_only")));
}

TEST_F(NodesCliTest, AnUpgradeWithNothingToDoSaysSo) {
  broker.Script("RaiseFeatureLevel", Level(2, 2));
  EXPECT_EQ(Run({"cluster", "upgrade"}), kExitOk) << err;
  EXPECT_EQ(out, "the cluster is at feature level 2, the highest that every node knows\n");
  EXPECT_NE(Run({"cluster", "upgrade", "--to", "0"}), kExitOk);
}

TEST_F(NodesCliTest, ADrainIsWatchedToItsEnd) {
  broker.Script("DrainNode", With<v1::DrainNodeResponse>(NodeIn(v1::NODE_MODE_DRAINING)));
  broker.Script("GetNode", Evacuating(v1::NODE_MODE_DRAINING, 2), Evacuating(v1::NODE_MODE_DRAINING, 0, true));
  EXPECT_EQ(Run({"node", "drain", "3", "--watch"}), kExitOk) << err;
  EXPECT_THAT(err, HasSubstr("node 3: 80%, leads 2, 2m00s to go"));
}

TEST_F(NodesCliTest, WhoOnlyChecksChangesNothing) {
  broker.Script("DrainNode", With<v1::DrainNodeResponse>(NodeIn(v1::NODE_MODE_ACTIVE)));
  EXPECT_EQ(Run({"node", "drain", "3", "--dry-run", "--watch"}), kExitOk) << err;
  EXPECT_THAT(broker.last_request(), HasSubstr("validate_only: true"));
  EXPECT_THAT(err, HasSubstr("could be drained"));
}

TEST_F(NodesCliTest, WhatDoesNotMoveEndsTheWatch) {
  timeout = "1s";
  broker.Script("DrainNode", With<v1::DrainNodeResponse>(NodeIn(v1::NODE_MODE_DRAINING)));
  v1::GetNodeResponse stuck = Evacuating(v1::NODE_MODE_DRAINING, 2);
  stuck.mutable_evacuation()->add_obstacles("orders/3: no other replica that could lead is in sync");
  broker.Script("GetNode", stuck);
  EXPECT_EQ(Run({"node", "drain", "3", "--watch"}), kExitTimeout);
  EXPECT_THAT(err, HasSubstr("nothing changed for 1s"));
  EXPECT_THAT(err, HasSubstr("orders/3: no other replica"));
}

TEST_F(NodesCliTest, ADrainThatIsCalledOffIsNoSuccess) {
  broker.Script("DrainNode", With<v1::DrainNodeResponse>(NodeIn(v1::NODE_MODE_DRAINING)));
  broker.Script("GetNode", InUse());
  EXPECT_EQ(Run({"node", "drain", "3", "--watch"}), kExitPrecondition);
  EXPECT_THAT(err, HasSubstr("called off"));
}

TEST_F(NodesCliTest, AWatchOutlivesALostLeader) {
  broker.Script("DrainNode", With<v1::DrainNodeResponse>(NodeIn(v1::NODE_MODE_DRAINING)));
  broker.Script("GetNode", MakeError(v1::ERROR_REASON_NO_LEADER, 14, v1::RETRY_SAFE, "nobody leads"),
                Evacuating(v1::NODE_MODE_DRAINING, 0, true));
  EXPECT_EQ(Run({"node", "drain", "3", "--watch"}), kExitOk) << err;
}

TEST_F(NodesCliTest, ANodeIsNotTakenOutUnasked) {
  broker.Script("GetNode", InUse());
  EXPECT_EQ(Run({"node", "decommission", "3"}), kExitUsage);
  EXPECT_THAT(err, HasSubstr("its 12 replicas are built on other nodes first"));
  EXPECT_THAT(err, HasSubstr("--yes"));
  EXPECT_EQ(Run({"node", "remove", "3"}), kExitUsage);
  EXPECT_EQ(Run({"node", "decommission", "3"}, "3\n", /*terminal=*/true), kExitUsage) << "its name is asked for";
  EXPECT_THAT(broker.last_request(), Not(HasSubstr("validate_only"))) << "only looked at";
}

TEST_F(NodesCliTest, ADecommissionEndsWhenTheNodeIsGone) {
  broker.Script("DecommissionNode", With<v1::DecommissionNodeResponse>(NodeIn(v1::NODE_MODE_DECOMMISSIONING)));
  // Asked before, then watched.
  broker.Script("GetNode", InUse(), Evacuating(v1::NODE_MODE_DECOMMISSIONING, 5), Evacuating(v1::NODE_MODE_DECOMMISSIONING, 0, true),
                NoSuchNode());
  EXPECT_EQ(Run({"node", "decommission", "3", "--watch"}, "n3\n", /*terminal=*/true), kExitOk) << err;
  EXPECT_THAT(err, HasSubstr("replicas left 5"));
  EXPECT_THAT(err, HasSubstr("node 3 is removed"));
}

TEST_F(NodesCliTest, ADeadNodeWithoutReplicasIsRemovedAtOnce) {
  v1::RemoveNodeResponse removed;
  removed.set_removed(true);
  broker.Script("GetNode", InUse());
  broker.Script("RemoveNode", removed);
  EXPECT_EQ(Run({"node", "remove", "3", "--yes", "--watch"}), kExitOk) << err;
  EXPECT_THAT(err, HasSubstr("node 3 is removed"));
}

TEST_F(NodesCliTest, ARefusalHasItsExitCodeAndAHint) {
  broker.Script("GetNode", InUse());
  broker.Script("RemoveNode", MakeError(v1::ERROR_REASON_NODE_ALIVE, 9, v1::RETRY_NEVER, "node 3 lives"));
  EXPECT_EQ(Run({"node", "remove", "3", "--yes"}), kExitPrecondition);
  EXPECT_THAT(err, HasSubstr("node decommission"));
  broker.Script("DrainNode", NoSuchNode());
  EXPECT_EQ(Run({"node", "drain", "3"}), kExitNotFound);
  EXPECT_EQ(Run({"node", "drain"}), kExitUsage);
}

TEST_F(NodesCliTest, SafeToStopIsAnExitCode) {
  v1::CheckSafeToStopResponse no;
  no.set_partitions_at_risk_count(1);
  v1::PartitionRef& ref = *no.add_partitions_at_risk();
  ref.mutable_topic()->set_name("orders");
  ref.set_partition(7);
  no.set_reason("1 of its partitions would have no majority in sync");
  v1::CheckSafeToStopResponse yes;
  yes.set_safe(true);
  broker.Script("CheckSafeToStop", no, yes);
  EXPECT_EQ(Run({"node", "safe-to-stop", "3"}), kExitPrecondition);
  EXPECT_EQ(out,
            "NODE  SAFE  LEADERS  AT-RISK  METADATA  REASON\n3     no    0        1        ok        1 of its partitions would have no "
            "majority in sync\n");
  EXPECT_THAT(err, HasSubstr("at risk: orders/7"));
  EXPECT_EQ(Run({"node", "safe-to-stop", "3"}), kExitOk);
  broker.Script("CheckSafeToStop", no, no, yes);
  EXPECT_EQ(Run({"node", "safe-to-stop", "3", "--wait"}), kExitOk) << err;
  timeout = "1s";
  broker.Script("CheckSafeToStop", no);
  EXPECT_EQ(Run({"node", "safe-to-stop", "3", "--wait"}), kExitPrecondition);
}

TEST_F(NodesCliTest, AMoveIsWatchedToItsEnd) {
  log->CreateTopic("orders", 4);
  v1::MovePartitionResponse begun;
  *begun.mutable_move() = MoveOf(v1::MOVE_STAGE_DECIDED, 0);
  broker.Script("MovePartition", begun);
  broker.Script("ListMoves", Moves({MoveOf(v1::MOVE_STAGE_COPYING, 40)}), Moves({}));
  broker.SetReplicas("orders", 3, {2, 3, 4});
  EXPECT_EQ(Run({"partition", "move", "orders/3", "--from", "1", "--to", "4", "--watch"}), kExitOk) << err;
  EXPECT_THAT(err, HasSubstr("orders/3: copying 40%, 1.2MiB left"));
  EXPECT_THAT(err, HasSubstr("orders/3: done"));
}

TEST_F(NodesCliTest, AMoveThatWasCalledOffIsNoSuccess) {
  log->CreateTopic("orders", 4);
  v1::MovePartitionResponse begun;
  *begun.mutable_move() = MoveOf(v1::MOVE_STAGE_DECIDED, 0);
  broker.Script("MovePartition", begun);
  broker.Script("ListMoves", Moves({}));
  broker.SetReplicas("orders", 3, {1, 2, 3});
  EXPECT_EQ(Run({"partition", "move", "orders/3", "--from", "1", "--watch"}), kExitPrecondition);
}

TEST_F(NodesCliTest, AMoveIsToldAsATable) {
  v1::Move stalled = MoveOf(v1::MOVE_STAGE_COPYING, 40);
  stalled.set_stalled("node 4 is dead");
  broker.Script("ListMoves", Moves({stalled}));
  EXPECT_EQ(Run({"partition", "moves"}), kExitOk) << err;
  EXPECT_EQ(out,
            "TOPIC   PARTITION  FROM  TO  REASON     STAGE    DONE  LEFT    TO-GO  STALLED\n"
            "orders  3          1     4   requested  copying  40%   1.2MiB  -      node 4 is dead\n");
}

TEST_F(NodesCliTest, AMoveNeedsToKnowWhatFrom) {
  EXPECT_EQ(Run({"partition", "move", "orders/3"}), kExitUsage);
  EXPECT_THAT(err, HasSubstr("--from"));
  EXPECT_EQ(Run({"partition", "move", "orders", "--from", "1"}), kExitUsage);
  EXPECT_THAT(err, HasSubstr("TOPIC/NUMBER"));
  EXPECT_EQ(Run({"partition", "move", "orders/3", "--from", "1", "--cancel"}), kExitUsage);
}

TEST_F(NodesCliTest, AReplicaIsNotDeletedUnasked) {
  EXPECT_EQ(Run({"partition", "rebuild", "orders/3", "--node", "2"}), kExitUsage);
  EXPECT_THAT(err, HasSubstr("--yes"));
  v1::RebuildReplicaResponse begun;
  *begun.mutable_move() = MoveOf(v1::MOVE_STAGE_DECIDED, 0);
  broker.Script("RebuildReplica", begun);
  EXPECT_EQ(Run({"partition", "rebuild", "orders/3", "--node", "2"}, "orders/3\n", /*terminal=*/true), kExitOk) << err;
}

TEST_F(NodesCliTest, BalancingIsPlannedBegunAndWatched) {
  v1::StartBalanceResponse plan;
  v1::PlannedMove& move = *plan.add_moves();
  move.mutable_partition()->mutable_topic()->set_name("orders");
  move.set_from_node_id(1);
  move.set_to_node_id(4);
  move.set_bytes(2 << 20);
  plan.set_move_count(1);
  plan.set_bytes_total(2 << 20);
  broker.Script("StartBalance", plan);
  EXPECT_EQ(Run({"cluster", "balance", "--plan"}), kExitOk) << err;
  EXPECT_EQ(out, "TOPIC   PARTITION  FROM  TO  SIZE\norders  0          1     4   2.0MiB\n");
  EXPECT_THAT(broker.last_request(), HasSubstr("validate_only: true"));
  v1::GetBalanceResponse running;
  running.set_active(true);
  running.set_moves_running(1);
  v1::GetBalanceResponse done;
  broker.Script("GetBalance", running, done);
  EXPECT_EQ(Run({"cluster", "balance", "--apply", "--watch"}), kExitOk) << err;
  EXPECT_THAT(err, HasSubstr("moves running 1"));
  EXPECT_EQ(Run({"cluster", "balance"}), kExitUsage) << "one of four";
  EXPECT_EQ(Run({"cluster", "balance", "--plan", "--apply"}), kExitUsage);
}

TEST_F(NodesCliTest, JsonStaysJson) {
  broker.Script("ListMoves", Moves({MoveOf(v1::MOVE_STAGE_COPYING, 40)}));
  EXPECT_EQ(Run({"partition", "moves", "-o", "json"}), kExitOk) << err;
  EXPECT_THAT(out, HasSubstr(R"("stage": "MOVE_STAGE_COPYING")"));
  EXPECT_THAT(err, IsEmpty());
  broker.Script("GetQuorum", v1::GetQuorumResponse());
  EXPECT_EQ(Run({"cluster", "quorum", "orders/3", "-o", "json"}), kExitOk) << err;
  EXPECT_THAT(broker.last_request(), HasSubstr("partition: 3"));
}

TEST_F(NodesCliTest, SettingsOfTheClusterAreShownAndChanged) {
  v1::GetConfigResponse config;
  v1::ConfigEntry& entry = *config.add_entries();
  entry.set_name("move_rate_bytes");
  entry.set_value("104857600");
  broker.Script("GetConfig", config);
  EXPECT_EQ(Run({"cluster", "config"}), kExitOk) << err;
  EXPECT_THAT(out, HasSubstr("move_rate_bytes  104857600"));
  EXPECT_THAT(broker.last_request(), HasSubstr("cluster: true"));
  broker.Script("UpdateConfig", v1::UpdateConfigResponse());
  EXPECT_EQ(Run({"cluster", "config", "--set", "move_rate_bytes=1048576"}), kExitOk) << err;
  EXPECT_THAT(broker.last_request(), HasSubstr("move_rate_bytes"));
}

TEST(NodesTextTest, PartitionsAreReadAsTheyAreWritten) {
  const auto ref = ParsePartition("a.b/12");
  ASSERT_TRUE(ref.has_value());
  EXPECT_EQ(ref->topic().name(), "a.b");
  EXPECT_EQ(ref->partition(), 12);
  EXPECT_EQ(PartitionText(*ref), "a.b/12");
  for (const char* wrong : {"", "/", "a", "a/", "/1", "a/x", "a/1x", "a/-1", "a/99999999999"}) EXPECT_FALSE(ParsePartition(wrong)) << wrong;
}

TEST(NodesTextTest, SpansAreShort) {
  EXPECT_EQ(SpanText(0), "0ms");
  EXPECT_EQ(SpanText(450), "450ms");
  EXPECT_EQ(SpanText(59'999), "59s");
  EXPECT_EQ(SpanText(200'000), "3m20s");
  EXPECT_EQ(SpanText(7'500'000), "2h05m");
  EXPECT_EQ(SpanText(100LL * 86'400'000), "100d00h");
}

}  // namespace
}  // namespace flotilla::cli
