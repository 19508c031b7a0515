// Measuring. In a closed loop a record waits until there is room for it, and the time it takes counts from when it is sent. In an
// open loop (--rate) records have their times whatever the broker does, and a record that had to wait for its turn has been slow:
// its time counts from when it should have been sent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "client/cpp/producer.h"

namespace flotilla::cli {

class Session;

struct PerfOptions {
  std::string topic;
  std::optional<uint64_t> count;
  std::optional<double> seconds;
  std::optional<double> rate;
  int record_bytes = 1024;
  int key_bytes = 0;
  std::string batch_bytes = "256KiB";
  std::string linger = "2ms";
  std::optional<uint64_t> outstanding;
  int in_flight = 5;
  std::string buffer_bytes = "64MiB";
  int producers = 1;
  std::optional<int32_t> partitions;
  std::optional<int32_t> replicas;
  client::Acks acks = client::Acks::kQuorum;
  bool idempotent = true;
  bool follow = false;
};

// Each returns the exit code.
int PerfProduce(Session& session, const PerfOptions& options);
int PerfConsume(Session& session, const PerfOptions& options);
int PerfEndToEnd(Session& session, const PerfOptions& options);

}  // namespace flotilla::cli
