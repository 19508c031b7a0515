// RocksDB's clock for stores that fail on purpose: a background job that failed sleeps for a second before it gives its place
// free, and closing the database waits for that. Here it sleeps for a millisecond. Any thread.
#pragma once

#include <rocksdb/system_clock.h>

#include <cstdint>
#include <string>

namespace flotilla::storage {

// Without any data, and so not a SystemClockWrapper: RocksDB's threads call it, and ThreadSanitizer does not see what orders them.
class ImpatientClock final : public rocksdb::SystemClock {
 public:
  const char* Name() const override { return "ImpatientClock"; }
  void SleepForMicroseconds(int) override { Default()->SleepForMicroseconds(1000); }

  uint64_t NowMicros() override { return Default()->NowMicros(); }
  uint64_t NowNanos() override { return Default()->NowNanos(); }
  uint64_t CPUMicros() override { return Default()->CPUMicros(); }
  uint64_t CPUNanos() override { return Default()->CPUNanos(); }
  rocksdb::Status GetCurrentTime(int64_t* unix_time) override { return Default()->GetCurrentTime(unix_time); }
  std::string TimeToString(uint64_t time) override { return Default()->TimeToString(time); }
};

}  // namespace flotilla::storage
