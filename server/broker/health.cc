#include "server/broker/health.h"

#include <algorithm>
#include <utility>

#include "server/broker/describe.h"
#include "server/broker/group_view.h"

namespace flotilla::broker {
namespace {

constexpr size_t kProblemsMax = 100;
// Less free than this share of its disk: time to do something.
constexpr uint64_t kFreeShare = 10;

v1::HealthProblem Problem(v1::HealthStatus severity, std::string kind, std::string message) {
  v1::HealthProblem problem;
  problem.set_severity(severity);
  problem.set_kind(std::move(kind));
  problem.set_message(std::move(message));
  return problem;
}

void TellMode(const metadata::Node& node, std::vector<v1::HealthProblem>* problems) {
  if (node.mode == metadata::NodeMode::kActive) return;
  const std::string name = "node " + std::to_string(node.id.value()) + " (" + node.description.name + ")";
  const bool draining = node.mode == metadata::NodeMode::kDraining;
  problems->push_back(draining ? Problem(v1::HEALTH_STATUS_OK, "NODE_DRAINING", name + " is drained: it leads nothing that others can lead")
                               : Problem(v1::HEALTH_STATUS_OK, "NODE_DECOMMISSIONING",
                                         name + " is decommissioned: it goes when its replicas are elsewhere"));
  problems->back().set_node_id(static_cast<int32_t>(node.id.value()));
}

void JudgeNodes(const HealthView& view, v1::GetHealthResponse* health, std::vector<v1::HealthProblem>* problems) {
  view.image.nodes.ForEach([&](NodeId id, const metadata::Shared<metadata::Node>& node) {
    health->set_nodes(health->nodes() + 1);
    TellMode(*node, problems);
    if (node->alive) {
      health->set_nodes_alive(health->nodes_alive() + 1);
    } else {
      problems->push_back(Problem(v1::HEALTH_STATUS_WARNING, "NODE_DEAD",
                                  "node " + std::to_string(id.value()) + " (" + node->description.name + ", " +
                                      node->description.peer_address + ") is not heard from; start it again" +
                                      (node->mode == metadata::NodeMode::kDecommissioning ? ", or wait until it is decommissioned" : "")));
      problems->back().set_node_id(static_cast<int32_t>(id.value()));
    }
    const auto report = view.reports.find(id);
    if (report == view.reports.end() || !node->alive) return;
    const auto& [total, free] = std::pair{report->second.disk_total_bytes, report->second.disk_free_bytes};
    if (total != 0 && free < total / kFreeShare) {
      problems->push_back(Problem(v1::HEALTH_STATUS_WARNING, "DISK_NEARLY_FULL",
                                  "node " + std::to_string(id.value()) + " has " + std::to_string(free >> 20) + " MiB free of " +
                                      std::to_string(total >> 20) + " MiB; trim or delete topics, or enlarge the disk"));
      problems->back().set_node_id(static_cast<int32_t>(id.value()));
    }
    for (const std::string& warning : report->second.warnings) {
      // "INSECURE: text"
      const size_t colon = warning.find(": ");
      const bool named = colon != std::string::npos && colon > 0;
      problems->push_back(Problem(v1::HEALTH_STATUS_WARNING, named ? warning.substr(0, colon) : "NODE_WARNING",
                                  "node " + std::to_string(id.value()) + ": " + (named ? warning.substr(colon + 2) : warning)));
      problems->back().set_node_id(static_cast<int32_t>(id.value()));
    }
  });
}

void JudgePartitions(const HealthView& view, v1::GetHealthResponse* health, std::vector<v1::HealthProblem>* problems) {
  view.image.topics.ForEach([&](const Uuid&, const metadata::Shared<metadata::Topic>& topic) {
    std::vector<uint32_t> leaderless;
    std::vector<uint32_t> lagging;
    std::vector<uint32_t> stalled;
    std::string stalled_why;
    for (const auto& partition : topic->partitions) {
      health->set_partitions(health->partitions() + 1);
      if (view.leaders.Of(partition->group).node.value() == 0) {
        leaderless.push_back(partition->number);
        continue;
      }
      const auto group = view.groups.find(partition->group);
      if (group == view.groups.end()) continue;
      if (UnderReplicated(group->second, WantedReplicas({topic.get(), partition.get()}))) lagging.push_back(partition->number);
      if (group->second.stalled().empty()) continue;
      stalled.push_back(partition->number);
      if (stalled_why.empty()) stalled_why = group->second.stalled();
    }
    const auto tell = [&](const std::vector<uint32_t>& numbers, v1::HealthStatus severity, const char* kind, const std::string& text) {
      if (numbers.empty()) return;
      std::string list;
      for (size_t i = 0; i < std::min<size_t>(numbers.size(), 10); ++i) list += (i == 0 ? "" : ", ") + std::to_string(numbers[i]);
      if (numbers.size() > 10) list += ", ...";
      problems->push_back(Problem(
          severity, kind, "topic " + topic->name + ", partitions " + list + " (" + std::to_string(numbers.size()) + " in all): " + text));
      *problems->back().mutable_topic() = RefOf(*topic);
    };
    tell(leaderless, v1::HEALTH_STATUS_FAILED, "LEADERLESS",
         "no leader, neither written nor read; a majority of their replicas is missing");
    tell(lagging, v1::HEALTH_STATUS_WARNING, "UNDER_REPLICATED", "a replica is not in sync; one more failure may stop them");
    tell(stalled, v1::HEALTH_STATUS_WARNING, "MOVE_STALLED", "the change of their replicas does not get on: " + stalled_why);
    health->set_partitions_leaderless(health->partitions_leaderless() + static_cast<int32_t>(leaderless.size()));
    health->set_partitions_under_replicated(health->partitions_under_replicated() + static_cast<int32_t>(lagging.size()));
  });
}

void JudgeObstacles(const HealthView& view, std::vector<v1::HealthProblem>* problems) {
  if (view.obstacles.empty()) return;
  std::string list;
  for (size_t i = 0; i < std::min<size_t>(view.obstacles.size(), 10); ++i) list += (i == 0 ? "" : "; ") + view.obstacles[i];
  problems->push_back(
      Problem(v1::HEALTH_STATUS_WARNING, "DECOMMISSION_STALLED",
              std::to_string(view.obstacles.size()) + " replicas of nodes that are decommissioned have no place to go: " + list));
}

}  // namespace

v1::GetHealthResponse JudgeHealth(const HealthView& view) {
  v1::GetHealthResponse health;
  std::vector<v1::HealthProblem> problems;
  health.set_controller_node_id(static_cast<int32_t>(view.controller.value()));
  if (view.controller.value() == 0) {
    problems.push_back(
        Problem(v1::HEALTH_STATUS_FAILED, "NO_CONTROLLER",
                "nobody leads the metadata: a majority of its voters is missing, or an election is on; topics cannot be changed"));
  }
  JudgeNodes(view, &health, &problems);
  JudgePartitions(view, &health, &problems);
  JudgeObstacles(view, &problems);
  std::stable_sort(problems.begin(), problems.end(), [](const auto& a, const auto& b) { return a.severity() > b.severity(); });
  health.set_status(v1::HEALTH_STATUS_OK);
  for (const v1::HealthProblem& problem : problems) {
    // How the cluster was set up is shown for as long as it is so; it is no reason to wait for anything.
    if (problem.kind() == "INSECURE") continue;
    health.set_status(problem.severity());
    break;
  }
  if (problems.size() > kProblemsMax) problems.resize(kProblemsMax);
  for (v1::HealthProblem& problem : problems) *health.add_problems() = std::move(problem);
  return health;
}

}  // namespace flotilla::broker
