#include "storage/rocks/engine_observers.h"

#include <glog/logging.h>

#include <cstdarg>
#include <cstdio>

namespace flotilla::storage {
namespace {

constexpr int kVerboseInfo = 1;

class GlogLogger final : public rocksdb::Logger {
 public:
  GlogLogger() : Logger(VLOG_IS_ON(kVerboseInfo) ? rocksdb::INFO_LEVEL : rocksdb::WARN_LEVEL) {}

  using Logger::Logv;
  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    if (level < GetInfoLogLevel() || level == rocksdb::HEADER_LEVEL) return;
    char line[1024];
    std::vsnprintf(line, sizeof line, format, arguments);
    switch (level) {
      case rocksdb::WARN_LEVEL: LOG(WARNING) << "rocksdb: " << line; break;
      case rocksdb::ERROR_LEVEL:
      case rocksdb::FATAL_LEVEL: LOG(ERROR) << "rocksdb: " << line; break;
      default: VLOG(kVerboseInfo) << "rocksdb: " << line;
    }
  }
  void Logv(const char* format, va_list arguments) override { Logv(rocksdb::INFO_LEVEL, format, arguments); }
};

const char* NameOf(rocksdb::WriteStallCondition condition) {
  switch (condition) {
    case rocksdb::WriteStallCondition::kNormal: return "normal";
    case rocksdb::WriteStallCondition::kDelayed: return "delayed";
    case rocksdb::WriteStallCondition::kStopped: return "stopped";
  }
  return "unknown";
}

}  // namespace

void FailureLatch::Set(Status failure) {
  MutexLock lock(mutex_);
  if (!failure_.ok()) return;
  LOG(ERROR) << "storage failed for good: " << failure;
  failure_ = std::move(failure);
  failed_.store(true, std::memory_order_release);
}

Status FailureLatch::status() const {
  MutexLock lock(mutex_);
  return failure_;
}

std::shared_ptr<rocksdb::Logger> GlogLoggerForRocks() {
  // One for the process, as glog is, and never destroyed: RocksDB's background threads outlive databases and main.
  static const auto* const logger = new std::shared_ptr<rocksdb::Logger>(std::make_shared<GlogLogger>());
  return *logger;
}

void EngineListener::OnMemTableSealed(const rocksdb::MemTableInfo& info) {
  const auto family = families_.find(info.cf_name);
  if (family != families_.end()) pins_.Sealed(family->second);
}

void EngineListener::OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* status) {
  background_errors_.fetch_add(1, std::memory_order_relaxed);
  latch_.Set(Status(Reason::kStorageFailed, "RocksDB failed in the background (reason " + std::to_string(static_cast<int>(reason)) +
                                                "): " + status->ToString() + "; restart after looking at the disk"));
}

void EngineListener::OnStallConditionsChanged(const rocksdb::WriteStallInfo& info) {
  LOG(WARNING) << "write stall family=" << info.cf_name << " now=" << NameOf(info.condition.cur)
               << " before=" << NameOf(info.condition.prev);
}

}  // namespace flotilla::storage
