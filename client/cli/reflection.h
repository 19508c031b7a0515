// Descriptors from the broker itself, by gRPC's server reflection (v1alpha), and calls with bytes.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/descriptor_database.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/cli/session.h"
#include "client/cpp/connection.h"

namespace flotilla::cli {

// A connection to a broker that answers.
client::Result<std::shared_ptr<client::Connection>> ConnectAny(Session& session);

// Sends one message and takes all that come back, until the broker ends the stream, `on_message` returns false, `stop` returns
// true or time runs out. Serves unary methods too.
client::Error Exchange(client::Connection& connection, const std::string& method, std::string request, Duration timeout,
                       const std::function<bool(const Bytes&)>& on_message, const std::function<bool()>& stop);

class Reflection {
 public:
  Reflection(std::shared_ptr<client::Connection> connection, Duration timeout);

  client::Result<std::vector<std::string>> Services();
  // By its full name. Lives as long as this. NOT_FOUND; UNSUPPORTED: the broker has no reflection.
  client::Result<const google::protobuf::ServiceDescriptor*> FindService(const std::string& name);

 private:
  client::Result<std::string> Ask(std::string request);

  const std::shared_ptr<client::Connection> connection_;
  const Duration timeout_;
  google::protobuf::SimpleDescriptorDatabase files_;
  google::protobuf::DescriptorPool pool_;
};

}  // namespace flotilla::cli
