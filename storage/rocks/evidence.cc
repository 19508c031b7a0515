#include "storage/rocks/evidence.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "storage/base/coding.h"
#include "storage/base/crc32c.h"

namespace flotilla::storage {
namespace {

constexpr uint64_t kMagic = 0x3165636e65646976;  // "vidence1" as bytes
constexpr size_t kSlotBytes = 28;
// Slots lie in blocks of their own, so that one torn block cannot take both.
constexpr size_t kSlotDistance = 4096;

std::string_view SlotOf(std::string_view content, size_t slot) {
  const size_t start = slot * kSlotDistance;
  return start + kSlotBytes <= content.size() ? content.substr(start, kSlotBytes) : std::string_view();
}

}  // namespace

std::string EncodeEvidenceSlot(uint64_t batch_number, std::string_view node_uuid) {
  std::string slot;
  AppendLittle<uint64_t>(kMagic, &slot);
  AppendLittle<uint64_t>(batch_number, &slot);
  AppendLittle<uint32_t>(crc32c::Value(node_uuid), &slot);
  AppendLittle<uint32_t>(0, &slot);
  AppendLittle<uint32_t>(crc32c::Value(slot), &slot);
  return slot;
}

std::optional<uint64_t> DecodeEvidenceSlot(std::string_view slot, std::string_view node_uuid) {
  ByteReader in(slot);
  const auto magic = in.Little<uint64_t>();
  const auto batch_number = in.Little<uint64_t>();
  const auto node = in.Little<uint32_t>();
  const auto reserved = in.Little<uint32_t>();
  const auto checksum = in.Little<uint32_t>();
  if (!in.ok() || !in.AtEnd() || magic != kMagic || reserved != 0 || node != crc32c::Value(node_uuid)) return std::nullopt;
  if (checksum != crc32c::Value(slot.substr(0, kSlotBytes - sizeof checksum))) return std::nullopt;
  return batch_number;
}

Result<std::optional<uint64_t>> Evidence::Read(const std::string& path, const std::string& node_uuid) {
  const Result<std::optional<std::string>> content = ReadWholeFile(path);
  if (!content.ok()) return content.status();
  if (!*content) return std::optional<uint64_t>();
  const auto first = DecodeEvidenceSlot(SlotOf(**content, 0), node_uuid);
  const auto second = DecodeEvidenceSlot(SlotOf(**content, 1), node_uuid);
  if (!first && !second) {
    return Status(Reason::kDataLoss, path +
                                         " is damaged or of another node: what was synced cannot be known; restore it, "
                                         "or empty the data directory and let this node join anew")
        .With("file", path);
  }
  return std::optional(std::max(first.value_or(0), second.value_or(0)));
}

Status Evidence::Create(const std::string& path, const std::string& node_uuid) {
  std::string content = EncodeEvidenceSlot(0, node_uuid);
  content.resize(kSlotDistance);
  content += EncodeEvidenceSlot(0, node_uuid);
  content.resize(2 * kSlotDistance);
  return WriteFileAtomically(path, content);
}

Result<std::unique_ptr<Evidence>> Evidence::Open(const std::string& path, const std::string& node_uuid) {
  const Result<std::optional<uint64_t>> number = Read(path, node_uuid);
  if (!number.ok()) return number.status();
  const Result<std::optional<std::string>> content = ReadWholeFile(path);
  if (!content.ok()) return content.status();
  Result<FileHandle> file = OpenFile(path, O_WRONLY);
  if (!file.ok()) return file.status();
  std::unique_ptr<Evidence> evidence(new Evidence(path, node_uuid, std::move(*file)));
  // The slot that does not hold the newest number is the next to be overwritten.
  const bool first_is_newest = *content && DecodeEvidenceSlot(SlotOf(**content, 0), node_uuid) == *number;
  evidence->writes_ = first_is_newest ? 1 : 0;
  return evidence;
}

Status Evidence::Record(uint64_t batch_number, MonotonicTime now) {
  const std::string slot = EncodeEvidenceSlot(batch_number, node_uuid_);
  const auto position = static_cast<off_t>((writes_ % 2) * kSlotDistance);
  if (::pwrite(file_.get(), slot.data(), slot.size(), position) != static_cast<ssize_t>(slot.size())) {
    return FileError("write", path_, errno);
  }
  ++writes_;
  if (!dirty_since_) dirty_since_ = now;
  return {};
}

std::optional<MonotonicTime> Evidence::sync_due() const {
  if (!dirty_since_) return std::nullopt;
  return *dirty_since_ + kEvidenceSyncInterval;
}

Status Evidence::SyncIfDue(MonotonicTime now) {
  if (!dirty_since_ || now < *dirty_since_ + kEvidenceSyncInterval) return {};
  return Sync();
}

Status Evidence::Sync() {
  if (::fdatasync(file_.get()) != 0) return FileError("fdatasync", path_, errno);
  dirty_since_.reset();
  return {};
}

}  // namespace flotilla::storage
