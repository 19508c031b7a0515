#include "storage/base/ids.h"

namespace flotilla {

std::string ToString(const ReplicaId& id) {
  if (!id.valid()) return "-";
  std::string text = std::to_string(id.node.value());
  if (id.incarnation != 0) text += "." + std::to_string(id.incarnation);
  return text;
}

std::ostream& operator<<(std::ostream& out, const ReplicaId& id) { return out << ToString(id); }

}  // namespace flotilla
