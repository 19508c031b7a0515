#include "server/config/relations.h"

#include <algorithm>
#include <array>

#include "server/config/values.h"

namespace flotilla::config {
namespace {

struct Listener {
  std::string_view name;
  const Address* address;
};

std::vector<Listener> ListenersOf(const Config& config) {
  std::vector<Listener> listeners = {{"client", &config.listen.client}, {"peer", &config.listen.peer}};
  if (config.listen.http) listeners.push_back({"http", &*config.listen.http});
  return listeners;
}

std::string Named(const Listener& listener) { return "listen." + std::string(listener.name) + " " + ToString(*listener.address); }

class RelationCheck {
 public:
  explicit RelationCheck(const Config& config) : config_(config) {}

  std::vector<Finding> Run() {
    CheckPlainText();
    CheckPorts();
    CheckReachable("client", config_.listen.client, config_.listen.advertise_client);
    CheckReachable("peer", config_.listen.peer, config_.listen.advertise_peer);
    CheckSeeds();
    CheckLimits();
    CheckTimes();
    CheckStorage();
    CheckLog();
    return std::move(findings_);
  }

 private:
  void Refuse(std::string_view section, std::string_view name, std::string text) {
    findings_.push_back({.section = section, .name = name, .text = std::move(text)});
  }
  void Warn(std::string_view section, std::string_view name, std::string text) {
    findings_.push_back({.warning = true, .section = section, .name = name, .text = std::move(text)});
  }

  void CheckPlainText() {
    if (config_.tls.mode != TlsMode::kOff || config_.tls.insecure) return;
    for (const Listener& listener : ListenersOf(config_)) {
      if (IsLoopback(listener.address->host)) continue;
      Refuse("listen", listener.name,
             Named(listener) +
                 " is open to other machines without TLS: whoever reaches it can read and change everything; "
                 "listen on 127.0.0.1, or accept that by writing insecure: true under tls:");
    }
  }

  void CheckPorts() {
    const std::vector<Listener> listeners = ListenersOf(config_);
    for (size_t i = 0; i < listeners.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        const Address& a = *listeners[j].address;
        const Address& b = *listeners[i].address;
        const bool overlap = a.host == b.host || IsWildcard(a.host) || IsWildcard(b.host) || (IsLoopback(a.host) && IsLoopback(b.host));
        if (a.port == 0 || a.port != b.port || !overlap) continue;
        Refuse("listen", listeners[i].name, Named(listeners[i]) + " takes the port of " + Named(listeners[j]) + "; use another port");
      }
    }
  }

  const Address* RemoteSeed() const {
    const auto& seeds = config_.cluster.seeds;
    const auto remote = std::find_if(seeds.begin(), seeds.end(), [](const Address& s) { return !IsLoopback(s.host); });
    return remote == seeds.end() ? nullptr : &*remote;
  }

  // Other machines have to find this node by what it tells them.
  void CheckReachable(std::string_view name, const Address& listen, const std::optional<Address>& advertise) {
    const std::string advertise_name = "advertise_" + std::string(name);
    const Address* const remote = RemoteSeed();
    const Address told = AdvertisedAddress(config_, listen, advertise, listen.port);
    if (remote == nullptr || !IsLoopback(told.host)) return;
    const std::string why = ", where others find only themselves, and cluster.seeds has " + ToString(*remote) + " on another machine; ";
    if (advertise) {
      Refuse("listen", name == "client" ? "advertise_client" : "advertise_peer",
             "listen." + advertise_name + " is " + ToString(*advertise) + why +
                 "use a name or an address of this machine that "
                 "others reach");
    } else {
      Refuse("listen", name,
             "listen." + std::string(name) + " is " + ToString(listen) + ", so others are told " + ToString(told) + why +
                 "listen on 0.0.0.0:" + std::to_string(listen.port) + " or on an address of this machine, or set listen." + advertise_name);
    }
  }

  void CheckSeeds() {
    const auto& seeds = config_.cluster.seeds;
    if (seeds.empty()) return;
    const Address self = AdvertisedAddress(config_, config_.listen.peer, config_.listen.advertise_peer, config_.listen.peer.port);
    const auto same = [&](const Address& seed) {
      return seed.port == self.port && (seed.host == self.host || (IsLoopback(seed.host) && IsLoopback(self.host)));
    };
    const bool among_them = std::any_of(seeds.begin(), seeds.end(), same);
    if (config_.cluster.bootstrap == Bootstrap::kSingle && !(among_them && seeds.size() == 1)) {
      Refuse("cluster", "bootstrap",
             "cluster.bootstrap is single, which makes a cluster of this node alone, but cluster.seeds names others; use "
             "manual, or remove the seeds");
      return;
    }
    if (among_them) return;
    Warn(
        "cluster", "seeds",
        "cluster.seeds does not have this node, which others are told to find at " + ToString(self) +
            "; write the same list on every node that founds the cluster, so that any of them can; one that joins later need not be in it");
  }

  void CheckLimits() {
    const LimitsConfig& limits = config_.limits;
    if (config_.grpc.stream_heartbeat >= limits.consumer_stall) {
      Refuse("limits", "consumer_stall",
             "limits.consumer_stall is " + FormatDuration(limits.consumer_stall) + "; use more than grpc.stream_heartbeat, " +
                 FormatDuration(config_.grpc.stream_heartbeat) + ", or healthy streams are ended");
    }
  }

  void CheckTimes() {
    const RaftConfig& raft = config_.raft;
    const std::string tick = FormatDuration(raft.tick);
    CheckMultiple("heartbeat", raft.heartbeat);
    CheckMultiple("election_timeout", raft.election_timeout);
    if (raft.heartbeat * 3 < raft.election_timeout) return;
    Refuse("raft", "heartbeat",
           "raft.heartbeat is " + FormatDuration(raft.heartbeat) + "; use less than a third of raft.election_timeout, " +
               FormatDuration(raft.election_timeout) + ", so that one lost heartbeat does not cost a leader");
  }

  void CheckMultiple(std::string_view name, Duration duration) {
    if (duration % config_.raft.tick == Duration::zero()) return;
    Refuse("raft", name,
           "raft." + std::string(name) + " is " + FormatDuration(duration) + "; use a multiple of raft.tick, " +
               FormatDuration(config_.raft.tick));
  }

  void CheckStorage() {
    const StorageConfig& storage = config_.storage;
    if (storage.wal_bytes_max >= storage.write_buffer_bytes) return;
    Refuse("storage", "wal_max",
           "storage.wal_max is " + FormatSize(storage.wal_bytes_max) + "; use at least storage.write_buffer, " +
               FormatSize(storage.write_buffer_bytes) + ", which would never be filled");
  }

  void CheckLog() {
    if (config_.log.to == LogTarget::kFile && config_.log.dir.empty()) {
      Refuse("log", "dir", "log.to is file and log.dir is empty; write the directory, such as /var/log/flotilla");
    }
  }

  const Config& config_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> CheckRelations(const Config& config) { return RelationCheck(config).Run(); }

std::vector<Finding> CheckDevRelations(const Config& config) {
  std::vector<Finding> findings;
  for (const Listener& listener : ListenersOf(config)) {
    if (IsLoopback(listener.address->host)) continue;
    findings.push_back({.section = "listen",
                        .name = listener.name,
                        .text = Named(listener) + " is open to other machines, and --dev serves this one only; use 127.0.0.1, or "
                                                  "start with a configuration file"});
  }
  return findings;
}

}  // namespace flotilla::config
