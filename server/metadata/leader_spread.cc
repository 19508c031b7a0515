#include "server/metadata/leader_spread.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace flotilla::metadata {
namespace {

class Spreader {
 public:
  explicit Spreader(ClusterModel* model) : model_(*model) {
    handovers_.resize(count() * count());
    for (size_t number = 0; number < model_.partitions().size(); ++number) {
      const ClusterModel::PartitionRow& row = model_.partitions()[number];
      if (row.settled && Leads(row.preferred)) Offer(number);
    }
  }

  // One chain of handovers from a node that should lead too many to one that should lead too few; false: all
  // is even.
  bool Step() {
    std::vector<size_t> heaviest_first;
    for (size_t node = 0; node < count(); ++node) {
      if (Leads(node)) heaviest_first.push_back(node);
    }
    std::stable_sort(heaviest_first.begin(), heaviest_first.end(), [&](size_t a, size_t b) { return Load(a) > Load(b); });
    for (const size_t from : heaviest_first) {
      if (HandOver(from)) return true;
    }
    return false;
  }

 private:
  size_t count() const { return model_.nodes().size(); }
  bool Leads(size_t node) const { return model_.nodes()[node].node->takes_leaders(); }
  uint64_t Load(size_t node) const { return model_.nodes()[node].leaders; }

  // Partitions that `from` should lead and `to` could; also some that are led elsewhere by now.
  std::vector<size_t>& Handovers(size_t from, size_t to) { return handovers_[from * count() + to]; }

  void Offer(size_t number) {
    const ClusterModel::PartitionRow& row = model_.partitions()[number];
    for (const size_t node : row.wanted) {
      if (node != row.preferred && Leads(node)) Handovers(row.preferred, node).push_back(number);
    }
  }

  std::optional<size_t> PartitionFor(size_t from, size_t to) {
    std::vector<size_t>& partitions = Handovers(from, to);
    while (!partitions.empty() && model_.partitions()[partitions.back()].preferred != from) partitions.pop_back();
    return partitions.empty() ? std::nullopt : std::optional(partitions.back());
  }

  // Breadth first, so that chains are short.
  bool HandOver(size_t from) {
    std::vector<std::optional<size_t>> reached_from(count());
    std::vector<size_t> reached = {from};
    size_t lightest = from;
    for (size_t i = 0; i < reached.size(); ++i) {
      for (size_t to = 0; to < count(); ++to) {
        if (to == from || reached_from[to] || !PartitionFor(reached[i], to)) continue;
        reached_from[to] = reached[i];
        reached.push_back(to);
        if (Load(to) < Load(lightest)) lightest = to;
      }
    }
    if (Load(from) < Load(lightest) + 2) return false;
    for (size_t to = lightest; to != from; to = *reached_from[to]) {
      const size_t partition = *PartitionFor(*reached_from[to], to);
      model_.Prefer(partition, to);
      Offer(partition);
    }
    return true;
  }

  ClusterModel& model_;
  std::vector<std::vector<size_t>> handovers_;
};

}  // namespace

std::vector<PlannedLeader> SpreadLeaders(ClusterModel model) {
  std::vector<size_t> before;
  for (const ClusterModel::PartitionRow& row : model.partitions()) before.push_back(row.preferred);
  Spreader spreader(&model);
  while (spreader.Step()) {
  }
  std::vector<PlannedLeader> changes;
  for (size_t number = 0; number < before.size(); ++number) {
    const ClusterModel::PartitionRow& row = model.partitions()[number];
    if (row.preferred != before[number]) changes.push_back({row.partition->group, model.nodes()[row.preferred].node->id});
  }
  return changes;
}

}  // namespace flotilla::metadata
