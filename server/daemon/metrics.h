// The node in numbers, for /metrics; and whether it is ready, for /readyz.
#pragma once

#include <atomic>

#include "server/broker/broker.h"
#include "server/http/metrics.h"
#include "server/http/readiness.h"
#include "server/rpc/client/client_server.h"
#include "server/rpc/peer/peer_server.h"
#include "storage/log/log_store.h"

namespace flotilla {

class NodeMetrics final : public http::MetricSource, public http::ReadinessSource {
 public:
  // References outlive this.
  NodeMetrics(const broker::Broker& broker, const storage::LogStore& store, const rpc::client::ClientServer& clients,
              const rpc::PeerServer& peers, std::string version)
      : broker_(broker), store_(store), clients_(clients), peers_(peers), version_(std::move(version)) {}

  void Collect(http::MetricWriter& writer) override;
  // Any thread.
  void ShowReload(bool ok) { reload_ok_.store(ok); }
  std::vector<http::ReadinessCheck> Checks() override;

 private:
  void CollectBroker(http::MetricWriter& writer) const;
  void CollectStore(http::MetricWriter& writer) const;
  void CollectConnections(http::MetricWriter& writer) const;
  void CollectClients(http::MetricWriter& writer) const;

  const broker::Broker& broker_;
  const storage::LogStore& store_;
  const rpc::client::ClientServer& clients_;
  const rpc::PeerServer& peers_;
  const std::string version_;
  std::atomic<bool> reload_ok_{true};
};

}  // namespace flotilla
