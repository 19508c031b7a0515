#include "server/metadata/request_memory.h"

#include <algorithm>

#include "server/metadata/limits.h"

namespace flotilla::metadata {

void Fingerprint::AddByte(uint8_t byte) { hash_ = (hash_ ^ byte) * 0x100000001B3ULL; }

Fingerprint& Fingerprint::Add(uint64_t number) {
  for (int shift = 0; shift < 64; shift += 8) AddByte(static_cast<uint8_t>(number >> shift));
  return *this;
}

Fingerprint& Fingerprint::Add(std::string_view text) {
  Add(uint64_t{text.size()});  // so that "ab", "c" and "a", "bc" differ
  for (const char c : text) AddByte(static_cast<uint8_t>(c));
  return *this;
}

Fingerprint& Fingerprint::Add(const std::optional<int64_t>& number) {
  AddByte(number ? 1 : 0);
  return Add(static_cast<uint64_t>(number.value_or(0)));
}

Result<std::optional<Outcome>> Recall(const RequestTag& tag, uint64_t fingerprint, const Image& image) {
  if (tag.request_id.empty()) return std::optional<Outcome>();
  if (tag.request_id.size() > limits::kRequestIdBytesMax) {
    return Status(Reason::kLimitExceeded, "request_id " + Quoted(tag.request_id) + " has " + std::to_string(tag.request_id.size()) +
                                              " characters; the limit is " + std::to_string(limits::kRequestIdBytesMax))
        .With("field", "request_id")
        .With("limit", limits::kRequestIdBytesMax)
        .With("value", tag.request_id.size());
  }
  if (!std::all_of(tag.request_id.begin(), tag.request_id.end(), [](char c) { return c > 0x20 && c < 0x7F; })) {
    return Status(Reason::kInvalidArgument,
                  "request_id " + Quoted(tag.request_id) + " is not printable ASCII without space; a UUID is a good choice")
        .With("field", "request_id");
  }
  const RememberedRequest* request = image.FindRequest(tag.request_id);
  if (request == nullptr) return std::optional<Outcome>();
  if (request->fingerprint != fingerprint) {
    return Refuse(Refusal::kRequestIdReused,
                  "request_id " + Quoted(tag.request_id) + " was used for another request; draw a new one for each request")
        .With("request_id", tag.request_id);
  }
  const Topic* topic = image.FindTopic(request->topic);
  return std::optional<Outcome>(Outcome{.cluster = image.cluster->id,
                                        .node = request->node,
                                        .topic = request->topic,
                                        .config_version = topic == nullptr ? image.cluster_config_version : topic->config_version,
                                        .producer_id = request->producer.id,
                                        .producer_epoch = request->producer.epoch,
                                        .partition_count = request->partition_count,
                                        .repeated = true});
}

void Remember(const RequestTag& tag, uint64_t fingerprint, const Context& context, Decision* decision) {
  if (tag.validate_only) {
    decision->records.clear();
    return;
  }
  if (tag.request_id.empty()) return;
  Record out;
  record::RequestRemembered& record = *out.mutable_request_remembered();
  record.set_request_id(tag.request_id);
  record.set_fingerprint(fingerprint);
  record.set_done_at_ms(context.now_ms);
  if (!decision->outcome.topic.nil()) record.set_topic_id(std::string(decision->outcome.topic.bytes()));
  record.set_producer_id(decision->outcome.producer_id);
  record.set_producer_epoch(decision->outcome.producer_epoch);
  record.set_partition_count(decision->outcome.partition_count);
  record.set_node_id(decision->outcome.node.value());
  decision->records.push_back(std::move(out));
}

Status CheckInitialized(const Image& image) {
  if (image.cluster) return {};
  return Refuse(Refusal::kNotInitialized, "the cluster does not exist yet; run `flotilla cluster init` once, on any node");
}

}  // namespace flotilla::metadata
