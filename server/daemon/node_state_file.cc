#include "server/daemon/node_state_file.h"

#include <cstdio>
#include <optional>
#include <string_view>

#include "server/metadata/uuid.h"
#include "storage/base/crc32c.h"
#include "storage/rocks/posix_file.h"

namespace flotilla {
namespace {

constexpr std::string_view kMagic = "flotilla-node 1\n";
constexpr size_t kChecksumBytes = 9;  // and the line's end

std::string ChecksumLine(std::string_view bytes) {
  char line[kChecksumBytes + 1];
  std::snprintf(line, sizeof line, "%08x\n", crc32c::Value(bytes));
  return line;
}

std::string PathIn(const std::string& directory) { return directory + "/NODE"; }

}  // namespace

Result<std::optional<internal::v1::NodeState>> ReadNodeState(const std::string& directory) {
  const std::string path = PathIn(directory);
  const Result<std::optional<std::string>> content = storage::ReadWholeFile(path);
  if (!content.ok()) return content.status();
  if (!*content) return std::optional<internal::v1::NodeState>();
  internal::v1::NodeState state;
  const std::string_view view = **content;
  const bool framed = view.size() >= kMagic.size() + kChecksumBytes && view.substr(0, kMagic.size()) == kMagic;
  const std::string_view bytes = framed ? view.substr(kMagic.size() + kChecksumBytes) : std::string_view();
  if (!framed || view.substr(kMagic.size(), kChecksumBytes) != ChecksumLine(bytes) ||
      !state.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Status(Reason::kDataLoss,
                  path + " is damaged, or of a newer version; restore it, or begin with an empty directory as a new node");
  }
  return std::optional(std::move(state));
}

Result<internal::v1::NodeState> NodeStateFile::Load() {
  Result<std::optional<internal::v1::NodeState>> state = ReadNodeState(directory_);
  if (!state.ok()) return state.status();
  if (!*state) {
    if (store_.identity().cluster_id.empty()) return internal::v1::NodeState();
    return Status(Reason::kDataLoss, PathIn(directory_) + " is missing, but the data belongs to cluster " + store_.identity().cluster_id +
                                         "; restore the file, or begin with an empty directory as a new node");
  }
  FLOTILLA_RETURN_IF_ERROR(MarkCluster(**state));
  return **std::move(state);
}

Status NodeStateFile::Save(const internal::v1::NodeState& state) {
  const std::string bytes = state.SerializeAsString();
  FLOTILLA_RETURN_IF_ERROR(storage::WriteFileAtomically(PathIn(directory_), std::string(kMagic) + ChecksumLine(bytes) + bytes));
  return MarkCluster(state);
}

Status NodeStateFile::MarkCluster(const internal::v1::NodeState& state) {
  const std::optional<Uuid> cluster = Uuid::FromBytes(state.cluster_id());
  if (!cluster || store_.identity().cluster_id == cluster->ToString()) return {};
  return store_.SetClusterId(cluster->ToString());
}

}  // namespace flotilla
