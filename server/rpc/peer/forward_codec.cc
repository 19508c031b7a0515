#include "server/rpc/peer/forward_codec.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "server/errors/error_codec.h"
#include "server/rpc/peer_codec.h"
#include "server/rpc/wire_reader.h"

// The fields of each message stand twice here, written and read; numbers and order are those of forward.proto
// and of the messages it uses.
namespace flotilla::rpc {
namespace {

using broker::ForwardAnswer;
using broker::ForwardAppend;
using broker::ForwardCancel;
using broker::ForwardFetch;
using broker::ForwardLocate;
using broker::ForwardRequest;
using partition::Acks;
using partition::BatchHeader;
using partition::Codec;
using partition::FetchedBatch;
using partition::FetchResult;
using partition::ProducerBatch;
using partition::ProduceResult;
using partition::RecordBuffer;
using partition::SequenceScope;
using partition::StartPosition;
using partition::TimestampType;

// Stands for a value in templates of WireWriter and WireReader: a type of this file alone, since another
// codec may have another idea of how the same type travels.
template <typename T>
struct Wire {
  T& value;
};
template <typename Out, typename T>
void PutMessage(Out& out, uint32_t field, const T& value) {
  out.Message(field, Wire<const T>{value});
}
template <typename T>
void ReadMessage(WireReader& in, T* value) {
  Wire<T> wire{*value};
  in.Message(&wire);
}

// --- Small parts

uint64_t Milliseconds(Duration duration) {
  return static_cast<uint64_t>(std::max<int64_t>(0, std::chrono::floor<std::chrono::milliseconds>(duration).count()));
}
Duration FromMilliseconds(uint64_t milliseconds) {
  constexpr uint64_t kDay = 24ull * 60 * 60 * 1000;  // longer is as good as for ever, and does not overflow
  return std::chrono::milliseconds(std::min(milliseconds, kDay));
}
uint64_t Clamped(size_t value) { return std::min<size_t>(value, std::numeric_limits<uint32_t>::max()); }

// What stands in front of a part's operation.
struct CallContext {
  NodeId origin;
  NodeId target;
  Bytes principal;
  Bytes client_address;
  uint64_t timeout_ms = 0;
};
template <typename Out>
void PutFields(Out& out, const CallContext& context) {
  out.Varint(1, context.origin.value());
  out.Varint(2, context.target.value());
  out.Payload(3, context.principal);
  out.Payload(4, context.client_address);
  out.Varint(5, context.timeout_ms);
}
void ReadFields(WireReader& in, CallContext* context) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: context->origin = NodeId{in.Varint()}; break;
      case 2: context->target = NodeId{in.Varint()}; break;
      case 3: context->principal = in.Slice(limits::kMiB); break;
      case 4: context->client_address = in.Slice(limits::kMiB); break;
      case 5: context->timeout_ms = in.Varint(); break;
      default: in.Skip();
    }
  }
}

template <typename Out>
struct PutPosition {
  Out& out;
  void operator()(const partition::Earliest&) const { out.AlwaysVarint(1, 1); }
  void operator()(const partition::Latest&) const { out.AlwaysVarint(1, 2); }
  void operator()(const Offset& offset) const { out.AlwaysVarint(2, offset.value()); }
  void operator()(const partition::AtTime& time) const { out.AlwaysVarint(3, static_cast<uint64_t>(time.timestamp_ms)); }
  void operator()(const partition::LastRecords& last) const { out.AlwaysVarint(4, last.count); }
};
template <typename Out>
void PutFields(Out& out, const StartPosition& position) {
  std::visit(PutPosition<Out>{out}, position);
}
StartPosition ReadPoint(uint64_t point) {
  if (point == 2) return partition::Latest{};
  return partition::Earliest{};
}
void ReadFields(WireReader& in, StartPosition* position) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: *position = ReadPoint(in.Varint()); break;
      case 2: *position = Offset{in.Varint()}; break;
      case 3: *position = partition::AtTime{.timestamp_ms = in.Signed()}; break;
      case 4: *position = partition::LastRecords{.count = in.Varint()}; break;
      default: in.Skip();
    }
  }
}

// --- Batches: RawRecordBatch, as the leader stores it or as a producer sends it

template <typename Out>
void PutTimestamp(Out& out, uint32_t field, int64_t timestamp_ms) {
  if (timestamp_ms != kNoTimestamp) out.AlwaysVarint(field, static_cast<uint64_t>(timestamp_ms));
}
template <typename Out>
void PutProducer(Out& out, const ProducerBatch& producer) {
  out.Varint(11, producer.producer_id);
  out.Varint(12, producer.epoch);
  out.Varint(13, producer.base_sequence);
  out.Varint(14, static_cast<uint64_t>(producer.scope));
}
template <typename Out>
void PutRecords(Out& out, Codec codec, const Bytes& records) {
  out.Payload(codec == Codec::kNone ? 15 : 16, records);
}

// False: not one of its fields.
bool ReadProducerField(WireReader& in, ProducerBatch* producer, uint64_t* scope) {
  switch (in.field()) {
    case 11: producer->producer_id = in.Varint(); return true;
    case 12: producer->epoch = in.Varint32(); return true;
    case 13: producer->base_sequence = in.Varint(); return true;
    case 14: *scope = in.Varint(); return true;
    default: return false;
  }
}
void TakeScope(WireReader& in, uint64_t scope, ProducerBatch* producer) {
  if (scope > static_cast<uint64_t>(SequenceScope::kTopic) || (scope == 0) != (producer->producer_id == 0)) {
    return in.Fail("a sequence scope of " + std::to_string(scope) + " with producer id " + std::to_string(producer->producer_id));
  }
  producer->scope = static_cast<SequenceScope>(scope);
}

template <typename Out>
void PutFields(Out& out, const FetchedBatch& batch) {
  out.Varint(1, batch.base_offset.value());
  out.Varint(2, batch.leader_epoch.value());
  out.Varint(3, static_cast<uint64_t>(batch.header.append_timestamp_ms));
  out.Varint(4, static_cast<uint64_t>(batch.header.timestamp_type));
  out.Varint(5, static_cast<uint64_t>(batch.header.codec));
  out.Varint(6, batch.record_count);
  out.Varint(7, batch.header.uncompressed_bytes);
  PutTimestamp(out, 8, batch.min_timestamp_ms);
  PutTimestamp(out, 9, batch.max_timestamp_ms);
  out.AlwaysFixed32(10, batch.header.crc32c);
  PutProducer(out, batch.header.producer);
  PutRecords(out, batch.header.codec, batch.records);
}
void ReadFields(WireReader& in, FetchedBatch* batch) {
  BatchHeader& header = batch->header;
  uint64_t timestamp_type = 0, codec = 0, scope = 0;
  while (in.Next()) {
    switch (in.field()) {
      case 1: batch->base_offset = Offset{in.Varint()}; break;
      case 2: batch->leader_epoch = Term{in.Varint()}; break;
      case 3: header.append_timestamp_ms = in.Signed(); break;
      case 4: timestamp_type = in.Varint(); break;
      case 5: codec = in.Varint(); break;
      case 6: batch->record_count = in.Varint32(); break;
      case 7: header.uncompressed_bytes = in.Varint32(); break;
      case 8: batch->min_timestamp_ms = in.Signed(); break;
      case 9: batch->max_timestamp_ms = in.Signed(); break;
      case 10: header.crc32c = in.Fixed32(); break;
      case 15:
      case 16: batch->records = in.Slice(partition::kBatchRecordsBytesMax); break;
      default:
        if (!ReadProducerField(in, &header.producer, &scope)) in.Skip();
    }
  }
  if (codec > UINT8_MAX || !partition::IsCodec(static_cast<uint32_t>(codec))) {
    return in.Fail("a stored batch of the unknown codec " + std::to_string(codec));
  }
  if (timestamp_type < 1 || timestamp_type > 2) {
    return in.Fail("a stored batch of the unknown timestamp type " + std::to_string(timestamp_type));
  }
  header.codec = static_cast<Codec>(codec);
  header.timestamp_type = static_cast<TimestampType>(timestamp_type);
  TakeScope(in, scope, &header.producer);
}

// The batch in front of an append's other fields.
struct OutgoingBatch {
  const ForwardAppend& append;
};
template <typename Out>
void PutFields(Out& out, const OutgoingBatch& outgoing) {
  const partition::PreparedBatch& batch = outgoing.append.batch;
  out.Varint(5, static_cast<uint64_t>(batch.codec));
  out.Varint(6, batch.summary.records);
  out.Varint(7, batch.uncompressed_bytes);
  out.AlwaysFixed32(10, batch.crc32c);
  PutProducer(out, outgoing.append.producer);
  PutRecords(out, batch.codec, batch.records.AsBytes());
}
struct IncomingBatch {
  std::optional<RecordBuffer> records;
  partition::BatchClaims claims;
  uint32_t codec = 0;
  ProducerBatch producer;
};
void ReadFields(WireReader& in, IncomingBatch* batch) {
  uint64_t scope = 0;
  const auto allocate = [&](size_t bytes) { return batch->records.emplace(bytes).data(); };
  while (in.Next()) {
    switch (in.field()) {
      case 5: batch->codec = in.Varint32(); break;
      case 6: batch->claims.record_count = in.Varint32(); break;
      case 7: batch->claims.uncompressed_bytes = in.Varint32(); break;
      case 10: batch->claims.crc32c = in.Fixed32(); break;
      case 15:
      case 16: in.CopyTo(partition::kBatchRecordsBytesMax, allocate); break;
      default:
        if (!ReadProducerField(in, &batch->producer, &scope)) in.Skip();
    }
  }
  TakeScope(in, scope, &batch->producer);
}

// --- Operations

template <typename Out>
void PutFields(Out& out, const ForwardAppend& append) {
  PutMessage(out, 1, OutgoingBatch{append});
  out.Varint(2, static_cast<uint64_t>(append.acks) + 1);
  if (append.expected_next_offset) out.AlwaysVarint(3, append.expected_next_offset->value());
  if (append.after) out.AlwaysVarint(4, *append.after);
}
struct IncomingAppend {
  IncomingBatch batch;
  Acks acks = Acks::kQuorum;
  std::optional<Offset> expected_next_offset;
  std::optional<uint64_t> after;
};
Acks ReadAcks(WireReader& in) {
  const uint64_t number = in.Varint();
  if (number > 3) in.Fail("unknown acks " + std::to_string(number));
  return number == 2 ? Acks::kLeader : number == 3 ? Acks::kNone : Acks::kQuorum;
}
void ReadFields(WireReader& in, IncomingAppend* append) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: ReadMessage(in, &append->batch); break;
      case 2: append->acks = ReadAcks(in); break;
      case 3: append->expected_next_offset = Offset{in.Varint()}; break;
      case 4: append->after = in.Varint(); break;
      default: in.Skip();
    }
  }
}

template <typename Out>
void PutFields(Out& out, const ForwardFetch& fetch) {
  PutMessage(out, 1, fetch.start);
  out.Varint(2, Clamped(fetch.min_bytes));
  out.Varint(3, Clamped(Milliseconds(fetch.max_wait)));
  out.Varint(4, Clamped(fetch.max_bytes));
}
void ReadFields(WireReader& in, ForwardFetch* fetch) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: ReadMessage(in, &fetch->start); break;
      case 2: fetch->min_bytes = in.Varint32(); break;
      case 3: fetch->max_wait = FromMilliseconds(in.Varint32()); break;
      case 4: fetch->max_bytes = in.Varint32(); break;
      default: in.Skip();
    }
  }
}

template <typename Out>
void PutFields(Out& /*out*/, const ForwardCancel& /*cancel*/) {}
void ReadFields(WireReader& in, ForwardCancel* /*cancel*/) {
  while (in.Next()) in.Skip();
}

template <typename Out>
struct PutOperation {
  Out& out;
  void operator()(const ForwardAppend& append) const { PutMessage(out, 5, append); }
  void operator()(const ForwardFetch& fetch) const { PutMessage(out, 6, fetch); }
  void operator()(const ForwardLocate& locate) const { PutMessage(out, 7, locate.position); }
  void operator()(const ForwardCancel& cancel) const { PutMessage(out, 8, cancel); }
};

// --- A part

CallContext ContextOf(const ForwardRequest& request) {
  return {.origin = request.origin,
          .target = request.target,
          .principal = Bytes::Static(request.principal),
          .client_address = Bytes::Static(request.client_address),
          .timeout_ms = std::max<uint64_t>(1, Milliseconds(request.timeout))};
}

template <typename Out>
void PutFields(Out& out, const ForwardRequest& request) {
  out.Varint(1, request.id);
  PutMessage(out, 2, ContextOf(request));
  out.Payload(3, Bytes::Copy(request.topic.bytes()));
  out.Varint(4, request.partition);
  std::visit(PutOperation<Out>{out}, request.operation);
}

struct IncomingPart {
  uint64_t id = 0;
  CallContext context;
  Bytes topic;
  uint32_t partition = 0;
  std::variant<std::monostate, IncomingAppend, ForwardFetch, ForwardLocate, ForwardCancel> operation;
};
void ReadFields(WireReader& in, IncomingPart* part) {
  while (in.Next()) {
    switch (in.field()) {
      case 1: part->id = in.Varint(); break;
      case 2: ReadMessage(in, &part->context); break;
      case 3: part->topic = in.Slice(Uuid::kBytes); break;
      case 4: part->partition = in.Varint32(); break;
      case 5: ReadMessage(in, &part->operation.emplace<IncomingAppend>()); break;
      case 6: ReadMessage(in, &part->operation.emplace<ForwardFetch>()); break;
      case 7: ReadMessage(in, &part->operation.emplace<ForwardLocate>().position); break;
      case 8: ReadMessage(in, &part->operation.emplace<ForwardCancel>()); break;
      default: in.Skip();
    }
  }
}

const char* const kRequestName = "forwarded call";
const char* const kAnswerName = "answer to a forwarded call";

Status CheckSize(const char* what, size_t bytes) {
  if (bytes <= limits::kPeerMessageBytesMax) return {};
  return Status(Reason::kCorruptMessage, std::string(what) + " of " + std::to_string(bytes) + " bytes; the limit is " +
                                             std::to_string(limits::kPeerMessageBytesMax));
}

Result<ForwardAppend> Prepare(IncomingAppend append, partition::Decompressor& decompressor) {
  const Result<Codec> codec = append.batch.codec == 0 ? Codec::kNone : partition::CodecOf(append.batch.codec);
  if (!codec.ok()) return codec.status();
  append.batch.claims.codec = *codec;
  if (!append.batch.records) append.batch.records.emplace(0);
  Result<partition::PreparedBatch> batch = partition::PrepareBatch(*std::move(append.batch.records), append.batch.claims, decompressor);
  if (!batch.ok()) return batch.status();
  return ForwardAppend{.batch = *std::move(batch),
                       .producer = append.batch.producer,
                       .after = append.after,
                       .acks = append.acks,
                       .expected_next_offset = append.expected_next_offset};
}

// What the parts of an operation become; those that need no checking are what they were read as.
struct Finish {
  DecodedForward& decoded;
  partition::Decompressor& decompressor;
  void operator()(std::monostate) const {}
  void operator()(IncomingAppend append) const {
    Result<ForwardAppend> prepared = Prepare(std::move(append), decompressor);
    if (!prepared.ok()) {
      decoded.refusal = prepared.status();
      return;
    }
    decoded.request.operation = *std::move(prepared);
  }
  template <typename Operation>
  void operator()(Operation operation) const {
    decoded.request.operation = std::move(operation);
  }
};

// --- Answers

struct LeaderHint {
  NodeId node;
  Term epoch;
};
template <typename Out>
void PutFields(Out& out, const LeaderHint& leader) {
  out.Varint(3, leader.node.value());
  out.Varint(5, leader.epoch.value());
}
void ReadFields(WireReader& in, LeaderHint* leader) {
  while (in.Next()) {
    switch (in.field()) {
      case 3: leader->node = NodeId{in.Varint()}; break;
      case 5: leader->epoch = Term{in.Varint()}; break;
      default: in.Skip();
    }
  }
}

// A ProduceResult: Placement. Where nothing was appended it is not sent.
template <typename Out>
void PutFields(Out& out, const ProduceResult& result) {
  out.AlwaysVarint(3, result.base_offset.value());
  out.Varint(4, result.record_count);
  out.Varint(5, result.deduplicated);
  out.Varint(6, static_cast<uint64_t>(result.append_timestamp_ms));
}
void ReadFields(WireReader& in, ProduceResult* result) {
  while (in.Next()) {
    switch (in.field()) {
      case 3: result->base_offset = Offset{in.Varint()}; break;
      case 4: result->record_count = in.Varint32(); break;
      case 5: result->deduplicated = in.Bool(); break;
      case 6: result->append_timestamp_ms = in.Signed(); break;
      default: in.Skip();
    }
  }
}

// A FetchResult: RawFetchedPartition.
template <typename Out>
void PutFields(Out& out, const FetchResult& result) {
  out.Varint(4, result.start_offset.value());
  for (const FetchedBatch& batch : result.batches) PutMessage(out, 5, batch);
  out.Varint(6, result.next_offset.value());
  out.Varint(7, result.log_start_offset.value());
  out.Varint(8, result.high_watermark.value());
  out.Varint(9, result.next_offset == result.high_watermark);
}
void ReadFields(WireReader& in, FetchResult* result) {
  while (in.Next()) {
    switch (in.field()) {
      case 4: result->start_offset = Offset{in.Varint()}; break;
      case 5: ReadMessage(in, &result->batches.emplace_back()); break;
      case 6: result->next_offset = Offset{in.Varint()}; break;
      case 7: result->log_start_offset = Offset{in.Varint()}; break;
      case 8: result->high_watermark = Offset{in.Varint()}; break;
      default: in.Skip();
    }
  }
}

// A FetchResult as the answer to a lookup: ListOffsetsResult, and the PartitionOffsets in it.
struct FoundOffsets {
  Offset offset;
  Offset log_start_offset;
  Offset high_watermark;
};
template <typename Out>
void PutFields(Out& out, const FoundOffsets& found) {
  out.Varint(3, found.offset.value());
  out.Varint(4, found.log_start_offset.value());
  out.Varint(5, found.high_watermark.value());
}
void ReadFields(WireReader& in, FoundOffsets* found) {
  while (in.Next()) {
    switch (in.field()) {
      case 3: found->offset = Offset{in.Varint()}; break;
      case 4: found->log_start_offset = Offset{in.Varint()}; break;
      case 5: found->high_watermark = Offset{in.Varint()}; break;
      default: in.Skip();
    }
  }
}
struct Lookup {
  FoundOffsets offsets;
  Term leader_epoch;
};
template <typename Out>
void PutFields(Out& out, const Lookup& lookup) {
  PutMessage(out, 2, lookup.offsets);
  out.Varint(3, lookup.leader_epoch.value());
}
void ReadFields(WireReader& in, Lookup* lookup) {
  while (in.Next()) {
    switch (in.field()) {
      case 2: ReadMessage(in, &lookup->offsets); break;
      case 3: lookup->leader_epoch = Term{in.Varint()}; break;
      default: in.Skip();
    }
  }
}
Lookup LookupOf(const FetchResult& result) {
  return {.offsets = {.offset = result.start_offset, .log_start_offset = result.log_start_offset, .high_watermark = result.high_watermark},
          .leader_epoch = result.leader_epoch};
}
FetchResult ResultOf(const Lookup& lookup) {
  FetchResult result;
  result.start_offset = lookup.offsets.offset;
  result.next_offset = lookup.offsets.offset;
  result.log_start_offset = lookup.offsets.log_start_offset;
  result.high_watermark = lookup.offsets.high_watermark;
  result.leader_epoch = lookup.leader_epoch;
  return result;
}

template <typename Out>
struct PutResult {
  Out& out;
  Asked asked;
  void operator()(std::monostate) const {}
  void operator()(const ProduceResult& result) const { PutMessage(out, 4, result); }
  void operator()(const FetchResult& result) const {
    if (asked == Asked::kLocate) return PutMessage(out, 6, LookupOf(result));
    PutMessage(out, 5, result);
  }
};

// An answer with its error as it travels, encoded once.
struct OutgoingAnswer {
  const ForwardAnswer& answer;
  Asked asked;
  Bytes error;
};
template <typename Out>
void PutFields(Out& out, const OutgoingAnswer& outgoing) {
  const ForwardAnswer& answer = outgoing.answer;
  out.Varint(1, answer.id);
  out.Payload(2, outgoing.error);
  const LeaderHint leader{.node = answer.leader, .epoch = answer.leader_epoch};
  if (leader.node.value() != 0 || leader.epoch.value() != 0) PutMessage(out, 3, leader);
  std::visit(PutResult<Out>{out, outgoing.asked}, answer.result);
}

// Nothing long-lived is made of an answer, but a slow reader may wait with few records of a large one.
void CopySmallShare(size_t received_bytes, ForwardAnswer* answer) {
  auto* result = std::get_if<FetchResult>(&answer->result);
  if (result == nullptr) return;
  size_t records_bytes = 0;
  for (const FetchedBatch& batch : result->batches) records_bytes += batch.records.size();
  if (records_bytes >= received_bytes / limits::kSharedBufferShare) return;
  for (FetchedBatch& batch : result->batches) batch.records = Bytes::Copy(batch.records.view());
}

template <typename Out, typename T>
void Put(Out& out, const Wire<T>& wire) {
  PutFields(out, wire.value);
}
template <typename T>
void Read(WireReader& in, Wire<T>* wire) {
  ReadFields(in, &wire->value);
}
template <typename T>
EncodedMessage Encode(const T& value) {
  const Wire<const T> wire{value};
  WireWriter out(WireSize::Of(wire));
  Put(out, wire);
  return out.Finish();
}

}  // namespace

EncodedMessage EncodeForwardRequest(const ForwardRequest& request) { return Encode(request); }

Result<DecodedForward> DecodeForwardRequest(google::protobuf::io::ZeroCopyInputStream& pieces, size_t bytes,
                                            partition::Decompressor& decompressor) {
  FLOTILLA_RETURN_IF_ERROR(CheckSize(kRequestName, bytes));
  WireReader in(kRequestName, pieces, bytes);
  IncomingPart part;
  ReadFields(in, &part);
  const std::optional<Uuid> topic = part.topic.empty() ? Uuid() : Uuid::FromBytes(part.topic.view());
  if (!topic) in.Fail("a topic id of " + std::to_string(part.topic.size()) + " bytes, not 16");
  if (std::holds_alternative<std::monostate>(part.operation)) {
    in.Fail("a part without an operation, or with one of a newer version");
  }
  if (!in.ok()) return in.status();
  DecodedForward decoded{.request = {.id = part.id,
                                     .origin = part.context.origin,
                                     .target = part.context.target,
                                     .principal = std::string(part.context.principal.view()),
                                     .client_address = std::string(part.context.client_address.view()),
                                     .timeout = FromMilliseconds(part.context.timeout_ms),
                                     .topic = *topic,
                                     .partition = part.partition,
                                     .operation = ForwardCancel{}},
                         .refusal = {}};
  std::visit(Finish{decoded, decompressor}, std::move(part.operation));
  return decoded;
}

EncodedMessage EncodeForwardAnswer(const ForwardAnswer& answer, Asked asked) {
  return Encode(OutgoingAnswer{
      .answer = answer, .asked = asked, .error = answer.status.ok() ? Bytes() : Bytes(ToError(answer.status).SerializeAsString())});
}

Result<ForwardAnswer> DecodeForwardAnswer(const Bytes& encoded) {
  FLOTILLA_RETURN_IF_ERROR(CheckSize(kAnswerName, encoded.size()));
  WireReader in(kAnswerName, encoded);
  ForwardAnswer answer;
  Bytes error;
  LeaderHint leader;
  Lookup lookup;
  while (in.Next()) {
    switch (in.field()) {
      case 1: answer.id = in.Varint(); break;
      case 2: error = in.Slice(limits::kMiB); break;
      case 3: ReadMessage(in, &leader); break;
      case 4: ReadMessage(in, &answer.result.emplace<ProduceResult>()); break;
      case 5: ReadMessage(in, &answer.result.emplace<FetchResult>()); break;
      case 6:
        ReadMessage(in, &lookup);
        answer.result = ResultOf(lookup);
        break;
      default: in.Skip();
    }
  }
  v1::Error parsed;
  if (!error.empty() && !parsed.ParseFromArray(error.data(), static_cast<int>(error.size()))) in.Fail("a broken error");
  if (!in.ok()) return in.status();
  if (!error.empty()) answer.status = ToStatus(parsed);
  answer.leader = leader.node;
  answer.leader_epoch = leader.epoch;
  CopySmallShare(encoded.size(), &answer);
  return answer;
}

}  // namespace flotilla::rpc
