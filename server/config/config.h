// What a node is told: plain values, checked. Which keys there are, their ranges, defaults and meaning stand in schema.cc,
// in one table; a Config comes from it (load.h) and is never put together by hand.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/config/address.h"
#include "storage/base/clock.h"

namespace flotilla::config {

enum class Bootstrap : uint8_t { kManual, kSingle };
enum class TlsMode : uint8_t { kOff };
enum class LogLevel : uint8_t { kInfo, kWarning, kError };
enum class LogTarget : uint8_t { kStderr, kFile };

struct NodeConfig {
  std::string name;  // filled in: the host's name when nothing was written
  std::string rack;
  std::string data_dir;
  bool operator==(const NodeConfig&) const = default;
};

struct ClusterConfig {
  std::string name;
  std::vector<Address> seeds;  // peer addresses, this node's own may be among them
  Bootstrap bootstrap = Bootstrap::kManual;
  bool operator==(const ClusterConfig&) const = default;
};

struct ListenConfig {
  Address client;
  Address peer;
  std::optional<Address> http;  // nothing: no HTTP
  // What others are told; nothing: derived, see AdvertisedAddress.
  std::optional<Address> advertise_client;
  std::optional<Address> advertise_peer;
  bool operator==(const ListenConfig&) const = default;
};

struct TlsConfig {
  TlsMode mode = TlsMode::kOff;
  bool insecure = false;
  bool operator==(const TlsConfig&) const = default;
};

struct LimitsConfig {
  uint64_t inflight_bytes = 0;
  uint32_t max_connections = 0;
  uint32_t max_streams = 0;
  Duration consumer_stall{};
  bool operator==(const LimitsConfig&) const = default;
};

struct GrpcConfig {
  Duration stream_heartbeat{};
  bool operator==(const GrpcConfig&) const = default;
};

struct RaftConfig {
  Duration tick{};
  Duration heartbeat{};         // a multiple of tick
  Duration election_timeout{};  // a multiple of tick; elections begin after one to two of it
  uint32_t heartbeat_ticks() const { return static_cast<uint32_t>(heartbeat / tick); }
  uint32_t election_ticks() const { return static_cast<uint32_t>(election_timeout / tick); }
  bool operator==(const RaftConfig&) const = default;
};

struct StorageConfig {
  uint64_t block_cache_bytes = 0;
  uint64_t write_buffer_bytes = 0;
  uint64_t wal_bytes_max = 0;
  uint32_t background_jobs = 0;
  bool direct_io = false;
  uint64_t disk_reserve_bytes = 0;
  Duration slow_sync{};  // these three: broker::DiskFitness
  Duration slow_for{};
  Duration well_for{};
  uint32_t log_families = 0;
  bool operator==(const StorageConfig&) const = default;
};

struct LogConfig {
  LogLevel level = LogLevel::kInfo;
  LogTarget to = LogTarget::kStderr;
  std::string dir;
  uint32_t verbosity = 0;
  bool operator==(const LogConfig&) const = default;
};

struct Config {
  NodeConfig node;
  ClusterConfig cluster;
  ListenConfig listen;
  TlsConfig tls;
  LimitsConfig limits;
  GrpcConfig grpc;
  RaftConfig raft;
  StorageConfig storage;
  LogConfig log;
  bool operator==(const Config&) const = default;
};

// What others are told of a listener: what the config says, else where it listens, with node.name in the place of a
// wildcard. `bound_port` is the port that the listener got, for those that asked for any with port 0.
Address AdvertisedAddress(const Config& config, const Address& listen, const std::optional<Address>& advertise, uint16_t bound_port);

}  // namespace flotilla::config
