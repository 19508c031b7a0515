#include "server/config/config.h"

namespace flotilla::config {

Address AdvertisedAddress(const Config& config, const Address& listen, const std::optional<Address>& advertise, uint16_t bound_port) {
  if (advertise) return *advertise;
  return {.host = IsWildcard(listen.host) ? config.node.name : listen.host, .port = bound_port};
}

}  // namespace flotilla::config
