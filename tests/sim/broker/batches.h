// Batches as clients write and read them. A record of ours carries its number.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "flotilla/v1/records.pb.h"
#include "server/partition/batch.h"

namespace flotilla::sim::broker {

v1::Record MakeRecord(uint64_t number, size_t padding);
// 0: it is none of ours.
uint64_t NumberIn(const v1::Record& record);

// What `codec` makes of the records goes into the batch.
void FillBatch(const v1::RecordSet& records, v1::Codec codec, v1::RecordBatch* batch);
// The records of a batch as the broker stores it. Nothing: these bytes are none.
std::optional<v1::RecordSet> RecordsIn(const partition::BatchHeader& header, std::string_view stored);

}  // namespace flotilla::sim::broker
