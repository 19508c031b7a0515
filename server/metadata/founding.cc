#include "server/metadata/founding.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "server/metadata/limits.h"
#include "server/metadata/node_rules.h"

namespace flotilla::metadata {
namespace {

NodeId IdAt(size_t position) { return NodeId{position + 1}; }

Status CheckFounders(std::span<const FounderAnswer> answers) {
  if (answers.empty()) {
    return Status(Reason::kInvalidArgument, "no nodes to found a cluster with; name at least one").With("field", "nodes");
  }
  if (answers.size() > limits::kNodesMax) {
    return Status(Reason::kLimitExceeded,
                  std::to_string(answers.size()) + " founders; the limit is " + std::to_string(limits::kNodesMax) + " nodes")
        .With("field", "nodes")
        .With("limit", limits::kNodesMax)
        .With("value", answers.size());
  }
  std::set<Uuid> uuids;
  std::set<std::string> addresses;
  for (const FounderAnswer& answer : answers) {
    const NodeDescription& node = answer.description;
    if (answer.cluster) {
      return Refuse(Refusal::kAlreadyInitialized,
                    node.peer_address + " belongs to cluster " + answer.cluster->ToString() + " already; a cluster is initialised once")
          .With("cluster_id", answer.cluster->ToString())
          .With("address", node.peer_address);
    }
    FLOTILLA_RETURN_IF_ERROR(CheckDescription(node));
    if (!uuids.insert(node.uuid).second) {
      return Status(Reason::kInvalidArgument, "two founders have the UUID " + node.uuid.ToString() + "; was a data directory copied?")
          .With("field", "node_uuid");
    }
    if (!addresses.insert(node.peer_address).second) {
      return Status(Reason::kInvalidArgument, "two founders have the address " + node.peer_address + "; give each an address of its own")
          .With("field", "peer_address");
    }
  }
  return {};
}

// The newest level that all of them know; 0: there is none.
uint32_t CommonFeatureLevel(std::span<const FounderAnswer> answers) {
  FeatureRange common = answers.front().description.features;
  for (const FounderAnswer& answer : answers) {
    common.min = std::max(common.min, answer.description.features.min);
    common.max = std::min(common.max, answer.description.features.max);
  }
  return common.min <= common.max ? common.max : 0;
}

// One node of each rack in turn, in the order given, so that voters stand in as many racks as there are.
std::vector<size_t> SpreadOverRacks(std::span<const FounderAnswer> answers, size_t count) {
  std::map<std::string, size_t> chosen_in_rack;
  std::vector<bool> chosen(answers.size());
  std::vector<size_t> order;
  while (order.size() < count) {
    size_t best = answers.size();
    size_t best_crowd = 0;
    for (size_t i = 0; i < answers.size(); ++i) {
      if (chosen[i]) continue;
      const std::string& rack = answers[i].description.rack;
      const size_t crowd = rack.empty() ? 0 : chosen_in_rack[rack];
      if (best != answers.size() && crowd >= best_crowd) continue;
      best = i;
      best_crowd = crowd;
    }
    chosen[best] = true;
    ++chosen_in_rack[answers[best].description.rack];
    order.push_back(best);
  }
  return order;
}

}  // namespace

size_t MetadataVoterCount(size_t nodes) {
  const size_t count = std::min(nodes, limits::kMetadataVotersMax);
  return count % 2 == 1 || count == 0 ? count : count - 1;
}

NodeId Founding::IdOf(const Uuid& node) const {
  for (size_t i = 0; i < founders.size(); ++i) {
    if (founders[i].uuid == node) return IdAt(i);
  }
  return NodeId{};
}

Result<Founding> PlanFounding(const Uuid& cluster, std::span<const FounderAnswer> answers) {
  FLOTILLA_RETURN_IF_ERROR(CheckFounders(answers));
  Founding founding{.cluster = cluster, .feature_level = CommonFeatureLevel(answers), .founders = {}, .configuration = {}};
  if (founding.feature_level == 0) {
    return Refuse(Refusal::kProtocolMismatch, "no feature level that all founders know; install the same version on all of them");
  }
  const std::vector<size_t> voters = SpreadOverRacks(answers, MetadataVoterCount(answers.size()));
  for (size_t i = 0; i < answers.size(); ++i) {
    founding.founders.push_back(answers[i].description);
    const ReplicaId replica{IdAt(i), 0};
    const bool votes = std::find(voters.begin(), voters.end(), i) != voters.end();
    (votes ? founding.configuration.voters : founding.configuration.learners).push_back(replica);
  }
  founding.configuration.Normalize();
  return founding;
}

Result<Decision> DecideFounding(const Founding& founding, const Image& image, const Context& context) {
  Decision decision{.records = {}, .outcome = {.cluster = founding.cluster}};
  if (image.cluster) {
    if (image.cluster->id != founding.cluster) {
      return Refuse(Refusal::kAlreadyInitialized,
                    "the cluster is " + image.cluster->id.ToString() + "; it is not initialised again as " + founding.cluster.ToString())
          .With("cluster_id", image.cluster->id.ToString())
          .With("requested_id", founding.cluster.ToString());
    }
    decision.outcome.repeated = true;
    return decision;
  }
  Record out;
  record::ClusterInitialized& initialized = *out.mutable_cluster_initialized();
  initialized.set_cluster_id(std::string(founding.cluster.bytes()));
  initialized.set_initialized_at_ms(context.now_ms);
  initialized.set_feature_level(founding.feature_level);
  decision.records.push_back(std::move(out));
  for (size_t i = 0; i < founding.founders.size(); ++i) {
    decision.records.push_back(RegistrationOf(IdAt(i), founding.founders[i], context.now_ms));
  }
  return decision;
}

}  // namespace flotilla::metadata
