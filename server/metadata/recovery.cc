#include "server/metadata/recovery.h"

namespace flotilla::metadata {

std::optional<Record> PlanRecovery(const Image& image, ReplicaId self, int64_t now_ms) {
  if (!image.cluster || self.incarnation == 0) return std::nullopt;
  const MetadataRecovery* known = image.recoveries.Find(self.node);
  if (known != nullptr && known->incarnation >= self.incarnation) return std::nullopt;
  Record out;
  record::MetadataRecovered& record = *out.mutable_metadata_recovered();
  record.set_node_id(self.node.value());
  record.set_incarnation(self.incarnation);
  record.set_next_node_id(image.next_node.value() + kNodesLeftOut);
  record.set_next_group_id(image.next_group.value() + kGroupsLeftOut);
  record.set_next_producer_id(image.next_producer + kProducersLeftOut);
  record.set_at_ms(now_ms);
  return out;
}

}  // namespace flotilla::metadata
