// Who may do what: the one place that every call passes, and every topic that is written to or read from.
//
// Today everybody may do everything.
#pragma once

#include <string_view>

#include "storage/base/status.h"

namespace flotilla::rpc::client {

enum class Action {
  kCall,   // a unary call of the control services; the resource is the method, "/flotilla.v1.AdminService/CreateTopic"
  kWrite,  // append to a topic
  kRead,   // fetch from a topic, subscribe to it
  kWatch,  // follow the cluster's metadata
};

struct AccessRequest {
  // As the transport authenticated it. Empty: nobody in particular.
  std::string_view principal;
  Action action = Action::kCall;
  // A topic as it was named by the caller, by name or by id; or a method.
  std::string_view resource;
};

class Access {
 public:
  virtual ~Access() = default;
  // OK; UNAUTHENTICATED, PERMISSION_DENIED (principal, action, resource). Any thread; does not block.
  virtual Status Authorise(const AccessRequest& request) const = 0;
};

class AllowAll final : public Access {
 public:
  Status Authorise(const AccessRequest&) const override { return {}; }
};

}  // namespace flotilla::rpc::client
