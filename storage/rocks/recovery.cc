#include "storage/rocks/recovery.h"

#include <rocksdb/wal_filter.h>

#include <algorithm>
#include <optional>

#include "storage/rocks/rocks_status.h"
#include "storage/rocks/rows.h"

namespace flotilla::storage {
namespace {

// The batch number is a batch's first row; nothing after it is looked at.
class FirstRow final : public rocksdb::WriteBatch::Handler {
 public:
  rocksdb::Status PutCF(uint32_t, const rocksdb::Slice& key, const rocksdb::Slice& value) override {
    if (ToView(key) == BatchNumberKey()) {
      if (const Result<BatchRow> decoded = DecodeBatch(ToView(value)); decoded.ok()) row_ = *decoded;
    }
    seen_ = true;
    return rocksdb::Status::OK();
  }
  bool Continue() override { return !seen_; }
  const std::optional<BatchRow>& row() const { return row_; }

 private:
  bool seen_ = false;
  std::optional<BatchRow> row_;
};

struct Break {
  std::string file;
  uint64_t expected = 0;
  std::string found;
};

// Sees every batch that can be read from the WAL files, in order, damaged ones left out; lets none of them
// into memory.
class BatchWalk final : public rocksdb::WalFilter {
 public:
  explicit BatchWalk(uint32_t node_mark) : node_mark_(node_mark) {}

  const char* Name() const override { return "flotilla.BatchWalk"; }

  WalProcessingOption LogRecordFound(unsigned long long, const std::string& file, const rocksdb::WriteBatch& batch, rocksdb::WriteBatch*,
                                     bool*) override {
    // RocksDB's own mark: after a torn tail was cut, the next WAL file begins with an empty batch.
    if (batch.Count() == 0) return WalProcessingOption::kIgnoreCurrentRecord;
    FirstRow first_row;
    const rocksdb::Status ignored = batch.Iterate(&first_row);
    static_cast<void>(ignored);  // stops after one row, and says so in its status
    Note(file, first_row.row());
    return WalProcessingOption::kIgnoreCurrentRecord;
  }

  bool foreign() const { return foreign_; }
  std::optional<uint64_t> first() const { return first_; }
  uint64_t last() const { return last_; }
  const std::string& first_file() const { return first_file_; }
  const std::string& last_file() const { return last_file_; }
  const std::optional<Break>& broken() const { return break_; }

 private:
  void Note(const std::string& file, const std::optional<BatchRow>& row) {
    if (broken()) return;
    if (row && row->node_mark != node_mark_) foreign_ = true;
    const std::optional<uint64_t> number = row ? std::optional(row->number) : std::nullopt;
    if (!number) {
      break_ = Break{file, last_ + 1, "a batch without a number"};
    } else if (first_ && *number != last_ + 1) {
      break_ = Break{file, last_ + 1, std::to_string(*number)};
    } else {
      if (!first_) first_file_ = file;
      if (!first_) first_ = number;
      last_ = *number;
      last_file_ = file;
    }
  }

  const uint32_t node_mark_;
  bool foreign_ = false;
  std::optional<uint64_t> first_;
  uint64_t last_ = 0;
  std::string first_file_;
  std::string last_file_;
  std::optional<Break> break_;
};

Status Lost(const EngineFiles& files, const std::string& file, uint64_t expected, const std::string& found, const std::string& meaning) {
  return Status(Reason::kDataLoss, "database " + files.path + ": expected batch " + std::to_string(expected) + ", found " + found +
                                       (file.empty() ? "" : " in WAL file " + file) + ": " + meaning + "; " + kAfterDataLoss)
      .With("file", file)
      .With("expected", expected)
      .With("found", found);
}

Result<BatchRow> BatchInTables(rocksdb::DB* database, rocksdb::ColumnFamilyHandle* meta, const EngineFiles& files) {
  std::string value;
  const rocksdb::Status status = database->Get(rocksdb::ReadOptions(), meta, ToSlice(BatchNumberKey()), &value);
  if (status.IsNotFound()) return BatchRow{};
  if (!status.ok()) return FromOpen(status, files.path);
  Result<BatchRow> batch = DecodeBatch(value);
  if (batch.ok()) return batch;
  return Status(Reason::kDataLoss, "database " + files.path + ": the row of the batch number is damaged; " + kAfterDataLoss);
}

Status Judge(const BatchWalk& walk, uint64_t in_tables, uint64_t evidence, const EngineFiles& files) {
  if (walk.broken()) {
    return Lost(files, walk.broken()->file, walk.broken()->expected, walk.broken()->found,
                "what lies between was synced and is damaged or missing");
  }
  if (walk.first() && *walk.first() > in_tables + 1) {
    return Lost(files, walk.first_file(), in_tables + 1, std::to_string(*walk.first()), "an older WAL file, or a table, is missing");
  }
  const uint64_t recoverable = std::max(in_tables, walk.last());
  if (recoverable < evidence) {
    const std::string& file = walk.last_file();
    return Lost(
        files, file, evidence, std::to_string(recoverable),
        file.empty() ? "WAL files are missing, or the database is an older copy" : "what follows was synced and is damaged or missing");
  }
  return {};
}

}  // namespace

Result<Recoverable> LookBeforeOpening(const RocksStoreOptions& options, const EngineFiles& files, const Expected& expected) {
  const uint32_t node_mark = NodeMark(expected.node_uuid);
  BatchWalk walk(node_mark);
  rocksdb::DBOptions look = DatabaseOptions(options, files);
  look.wal_filter = &walk;
  look.wal_recovery_mode = rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords;
  const std::vector<rocksdb::ColumnFamilyDescriptor> families = {{"default", rocksdb::ColumnFamilyOptions()},
                                                                 {"meta", rocksdb::ColumnFamilyOptions()}};
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status = rocksdb::DB::OpenForReadOnly(look, files.path, families, &handles, &opened);
  if (!status.ok()) return FromOpen(status, files.path);
  const std::unique_ptr<rocksdb::DB> database(opened);
  const Result<BatchRow> in_tables = BatchInTables(database.get(), handles[1], files);
  for (rocksdb::ColumnFamilyHandle* handle : handles) database->DestroyColumnFamilyHandle(handle);
  if (!in_tables.ok()) return in_tables.status();
  if (walk.foreign() || (in_tables->number != 0 && in_tables->node_mark != node_mark)) {
    return Status(Reason::kDirectoryMismatch, "database " + files.path + " was written by another node than " + expected.node_uuid +
                                                  "; put back the database that belongs here");
  }
  FLOTILLA_RETURN_IF_ERROR(Judge(walk, in_tables->number, expected.evidence, files));
  return Recoverable{.batch_number = std::max(in_tables->number, walk.last())};
}

}  // namespace flotilla::storage
