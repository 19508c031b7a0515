#include "tests/sim/broker/refusals.h"

namespace flotilla::sim::broker {

bool IsHonest(v1::ErrorReason reason) {
  switch (reason) {
    case v1::ERROR_REASON_NO_LEADER:
    case v1::ERROR_REASON_OUTCOME_UNKNOWN:
    case v1::ERROR_REASON_SHUTTING_DOWN:
    case v1::ERROR_REASON_NOT_INITIALIZED:
    case v1::ERROR_REASON_DEADLINE_EXCEEDED:
    case v1::ERROR_REASON_DISK_FULL:
    case v1::ERROR_REASON_STORAGE_FAILED:  // of a node that is about to stop
    case v1::ERROR_REASON_REPLICA_FAULTED:
    case v1::ERROR_REASON_OVERLOADED:
    case v1::ERROR_REASON_TOPIC_NOT_FOUND:
    case v1::ERROR_REASON_PARTITION_NOT_FOUND:
    case v1::ERROR_REASON_NODE_NOT_FOUND:
    case v1::ERROR_REASON_REPLICA_NOT_FOUND:
    case v1::ERROR_REASON_REPLICA_EXISTS:
    case v1::ERROR_REASON_NOT_ENOUGH_NODES:
    case v1::ERROR_REASON_MOVE_UNDER_WAY:
    case v1::ERROR_REASON_MOVE_NOT_FOUND:
    case v1::ERROR_REASON_QUORUM_AT_RISK:
    case v1::ERROR_REASON_NODE_ALIVE:
    case v1::ERROR_REASON_NODE_DECOMMISSIONING:
    case v1::ERROR_REASON_BALANCE_UNDER_WAY: return true;
    default: return false;
  }
}

}  // namespace flotilla::sim::broker
