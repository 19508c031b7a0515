#include "server/rpc/credentials.h"

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

namespace flotilla::rpc {

PeerCredentials InsecurePeerCredentials() {
  return {.server = grpc::InsecureServerCredentials(), .client = grpc::InsecureChannelCredentials()};
}

}  // namespace flotilla::rpc
