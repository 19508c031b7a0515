#include "server/metadata/producers.h"

#include <string>
#include <utility>

#include "server/metadata/request_memory.h"

namespace flotilla::metadata {
namespace {

uint64_t FingerprintOf(const InitProducer& request) {
  Fingerprint fingerprint("init_producer");
  const ProducerEpoch existing = request.existing.value_or(ProducerEpoch{});
  fingerprint.Add(existing.id).Add(uint64_t{existing.epoch}).Add(uint64_t{request.topic ? 1U : 0U});
  if (request.topic) fingerprint.Add(request.topic->name).Add(request.topic->id.bytes());
  return fingerprint.value();
}

Record Reserved(const Image& image, NodeId node, uint32_t count) {
  Record out;
  record::ProducerIdsReserved& record = *out.mutable_producer_ids_reserved();
  record.set_first_producer_id(image.next_producer);
  record.set_count(count);
  record.set_node_id(node.value());
  return out;
}

Status CheckLatest(const ProducerEpoch& caller, const Image& image) {
  const std::string name = "producer " + std::to_string(caller.id);
  if (caller.id == 0 || caller.id >= image.next_producer) {
    return Status(Reason::kInvalidArgument, name + " was never given to anybody; leave producer_id at 0 to get a new one")
        .With("field", "producer_id");
  }
  const RaisedProducer* raised = image.FindRaised(caller.id);
  if (raised != nullptr && raised->latest.epoch != caller.epoch) {
    return Refuse(Refusal::kFenced, name + " is at epoch " + std::to_string(raised->latest.epoch) + ", not " +
                                        std::to_string(caller.epoch) +
                                        "; somebody else goes on with it. Stop this one, or start it "
                                        "anew with a producer of its own")
        .With("producer_id", caller.id)
        .With("epoch", uint64_t{raised->latest.epoch});
  }
  if (caller.epoch < limits::kProducerEpochMax) return {};
  return Status(Reason::kLimitExceeded, name + " has no epoch above " + std::to_string(caller.epoch) +
                                            ", which is the limit; leave producer_id at 0 to get a new one")
      .With("field", "producer_epoch")
      .With("limit", uint64_t{limits::kProducerEpochMax})
      .With("value", uint64_t{caller.epoch});
}

Result<Decision> NewProducer(const Image& image) {
  return Decision{.records = {Reserved(image, NodeId{}, 1)}, .outcome = {.producer_id = image.next_producer, .producer_epoch = 0}};
}

Result<Decision> NewEpoch(const ProducerEpoch& caller, const Image& image, const Context& context) {
  FLOTILLA_RETURN_IF_ERROR(CheckLatest(caller, image));
  Record out;
  record::ProducerEpochRaised& record = *out.mutable_producer_epoch_raised();
  record.set_producer_id(caller.id);
  record.set_epoch(caller.epoch + 1);
  record.set_raised_at_ms(context.now_ms);
  return Decision{.records = {std::move(out)}, .outcome = {.producer_id = caller.id, .producer_epoch = caller.epoch + 1}};
}

Result<Decision> Init(const InitProducer& request, const Image& image, const Context& context) {
  const Topic* topic = nullptr;
  if (request.topic) {
    Result<const Topic*> selected = SelectTopic(*request.topic, image);
    if (!selected.ok()) return selected.status();
    topic = *selected;
  }
  Result<Decision> decision = request.existing ? NewEpoch(*request.existing, image, context) : NewProducer(image);
  if (!decision.ok()) return decision;
  if (request.tag.validate_only) decision->outcome = {};  // nobody gets that id
  if (topic == nullptr) return decision;
  decision->outcome.topic = topic->id;
  decision->outcome.config_version = topic->config_version;
  decision->outcome.partition_count = static_cast<uint32_t>(topic->partitions.size());
  return decision;
}

}  // namespace

Result<Decision> DecideProducer(const InitProducer& request, const Image& image, const Context& context) {
  return DecideOnce({request.tag, FingerprintOf(request)}, image, context, [&] { return Init(request, image, context); });
}

Result<Decision> DecideProducerIds(const ReserveProducerIds& request, const Image& image) {
  FLOTILLA_RETURN_IF_ERROR(CheckInitialized(image));
  if (request.count == 0) {
    return Status(Reason::kInvalidArgument, "no ids of producers; ask for at least 1").With("field", "count");
  }
  if (request.count > limits::kProducerIdBlock) {
    return Status(Reason::kLimitExceeded,
                  std::to_string(request.count) + " ids of producers at once; the limit is " + std::to_string(limits::kProducerIdBlock))
        .With("field", "count")
        .With("limit", uint64_t{limits::kProducerIdBlock})
        .With("value", uint64_t{request.count});
  }
  if (image.FindNode(request.node) == nullptr) {
    return Refuse(Refusal::kNodeNotFound, "node " + std::to_string(request.node.value()) + " is not part of the cluster")
        .With("node_id", request.node.value());
  }
  return Decision{.records = {Reserved(image, request.node, request.count)},
                  .outcome = {.cluster = image.cluster->id,
                              .node = request.node,
                              .producer_ids_first = image.next_producer,
                              .producer_ids_count = request.count}};
}

}  // namespace flotilla::metadata
