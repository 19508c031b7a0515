// RocksDB's clock for stores that fail on purpose: a background job that failed sleeps for a second before it gives its place
// free, and closing the database waits for that. Here it sleeps for a millisecond. Any thread.
#pragma once

#include <rocksdb/system_clock.h>

namespace flotilla::storage {

class ImpatientClock final : public rocksdb::SystemClockWrapper {
 public:
  ImpatientClock() : SystemClockWrapper(rocksdb::SystemClock::Default()) {}
  const char* Name() const override { return "ImpatientClock"; }
  void SleepForMicroseconds(int) override { target_->SleepForMicroseconds(1000); }
};

}  // namespace flotilla::storage
