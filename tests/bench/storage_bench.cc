// How fast the log store is beside what the disk can do, in one run: rounds of the store and rounds of plain writes take turns,
// and what counts is the median of the ratios, for absolute figures drift by a factor of two.
//
//   storage_bench [--directory DIR] [--rounds N] [--json] [--buffered] [--only merged|single|many|amplification|reopen]
//
// It reports and never fails on a time. DIR is on the disk to be measured; needs 4 GiB there, and leaves nothing.

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/limits.h"
#include "storage/rocks/rocks_store.h"
#include "tests/support/entry_maker.h"

namespace flotilla::storage {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double Median(std::vector<double> values) {
  CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Of this process, in all its threads and in the kernel for it: hardly drifts when others use the machine.
double CpuSeconds() {
  rusage used{};
  PCHECK(::getrusage(RUSAGE_SELF, &used) == 0);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

// What this process gave to the disk so far.
uint64_t BytesToDisk() {
  std::ifstream io("/proc/self/io");
  std::string name;
  uint64_t value = 0;
  while (io >> name >> value) {
    if (name == "write_bytes:") return value;
  }
  return 0;
}

struct Figure {
  std::string name;
  double value;
  std::string unit;
  std::string target;  // "" when there is none
};

// --- The disk alone

class PlainFile {
 public:
  // `ahead`: allocates as RocksDB does for its WAL. Without it each sync also has to journal new extents.
  PlainFile(std::string path, bool ahead) : path_(std::move(path)), ahead_(ahead) {
    file_ = ::open(path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    PCHECK(file_ >= 0) << path_;
  }
  ~PlainFile() {
    ::close(file_);
    ::unlink(path_.c_str());
  }
  void AppendAndSync(std::string_view data) {
    size_ += data.size();
    if (ahead_ && size_ > allocated_) {
      PCHECK(::fallocate(file_, FALLOC_FL_KEEP_SIZE, allocated_, kAllocationBytes) == 0);
      allocated_ += kAllocationBytes;
    }
    PCHECK(::write(file_, data.data(), data.size()) == static_cast<ssize_t>(data.size()));
    PCHECK(::fdatasync(file_) == 0);
  }

 private:
  static constexpr size_t kAllocationBytes = 16 * limits::kMiB;
  std::string path_;
  const bool ahead_;
  int file_;
  size_t size_ = 0;
  size_t allocated_ = 0;
};

void DropFromCache(const std::string& directory) {
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const int file = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    PCHECK(file >= 0) << entry.path();
    ::fdatasync(file);
    ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    ::close(file);
  }
}

void ReadFiles(const std::string& directory) {
  std::vector<char> buffer(limits::kMiB);
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const int file = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    PCHECK(file >= 0) << entry.path();
    while (::read(file, buffer.data(), buffer.size()) > 0) continue;
    ::close(file);
  }
}

// --- The store

// Keeps a number of tasks on their way in each group.
class Load final : public WriteSink {
 public:
  Load(LogStore& store, uint64_t first_group, uint64_t groups, size_t payload_bytes)
      : store_(store), payload_(std::string(payload_bytes, 'x')), first_group_(first_group), outstanding_(groups) {
    for (GroupId group{first_group}; makers_.size() < groups; group = GroupId{group.value() + 1}) {
      makers_.emplace_back(group);
      Submit({.group = group, .create = GroupIdentity{}});
    }
    WaitUntilIdle();
  }

  // `tasks` entries, one per task, at most `outstanding` on their way in each group. How many entries each synced write held.
  std::vector<size_t> Run(uint64_t tasks, uint64_t outstanding) {
    commits_.clear();
    for (uint64_t task = 0; task < tasks; ++task) {
      const uint64_t group = task % makers_.size();
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return outstanding_[group] < outstanding; });
      }
      Append(group);
    }
    WaitUntilIdle();
    return commits_;
  }
  double SecondsOfOneAppend() {
    const auto start = Clock::now();
    Append(0);
    WaitUntilIdle();
    return SecondsSince(start);
  }

  void OnWritten(std::span<const WriteDone> done) override {
    std::lock_guard lock(mutex_);
    commits_.push_back(done.size());  // the store tells a sink of all of a synced write at once
    for (const WriteDone& task : done) {
      CHECK(task.status.ok()) << task.status;
      --outstanding_[task.group.value() - first_group_];
      --total_;
    }
    changed_.notify_all();
  }

 private:
  void Append(uint64_t group) {
    Entry entry = makers_[group].Data(payload_);
    WriteTask task{.group = entry.header.group};
    task.entries.push_back(std::move(entry));
    Submit(std::move(task));
  }
  void Submit(WriteTask task) {
    {
      std::lock_guard lock(mutex_);
      ++outstanding_[task.group.value() - first_group_];
      ++total_;
    }
    const Status submitted = store_.Submit(std::move(task), *this);
    CHECK(submitted.ok()) << submitted;
  }
  void WaitUntilIdle() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return total_ == 0; });
  }

  LogStore& store_;
  const Bytes payload_;
  std::vector<EntryMaker> makers_;
  const uint64_t first_group_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<uint64_t> outstanding_;
  std::vector<size_t> commits_;
  uint64_t total_ = 0;
};

struct Settings {
  std::string directory;
  int rounds = 9;
  bool json = false;
  bool buffered = false;  // the store writes through the page cache
  std::string only;       // one part of it; empty: all
};

class Bench {
 public:
  explicit Bench(Settings settings) : settings_(std::move(settings)) {
    settings_.directory += "/flotilla-bench-" + std::to_string(::getpid());
    std::filesystem::create_directories(settings_.directory);
  }
  ~Bench() {
    std::error_code ignored;
    std::filesystem::remove_all(settings_.directory, ignored);
  }

  std::vector<Figure> Run() {
    if (Wanted("merged")) OnFreshStore(&Bench::MergedCommits);
    if (Wanted("single")) OnFreshStore(&Bench::OneOutstanding);
    if (Wanted("many")) OnFreshStore(&Bench::ManyOutstanding);
    if (Wanted("amplification")) WriteAmplification();
    if (Wanted("reopen")) Reopen();
    return figures_;
  }

 private:
  static std::unique_ptr<RocksStore> Open(const RocksStoreOptions& options) {
    auto store = OpenRocksStore(options);
    CHECK(store.ok()) << store.status();
    return *std::move(store);
  }
  bool Wanted(const char* part) const { return settings_.only.empty() || settings_.only == part; }
  void OnFreshStore(void (Bench::*part)(LogStore&)) {
    const std::string directory = settings_.directory + "/store";
    auto store = Open({.directory = directory, .direct_io = !settings_.buffered});
    (this->*part)(*store);
    store.reset();
    std::filesystem::remove_all(directory);
  }
  void Report(std::string name, double value, std::string unit, std::string target = "") {
    figures_.push_back({std::move(name), value, std::move(unit), std::move(target)});
    std::fprintf(stderr, "%-66s %10.3f %-10s %s\n", figures_.back().name.c_str(), value, figures_.back().unit.c_str(),
                 figures_.back().target.c_str());
  }

  // Seconds for writing and syncing the same amounts with nothing but a file.
  double SecondsOfPlain(const std::vector<size_t>& commits, size_t entry_bytes, bool ahead) const {
    const std::string data(*std::max_element(commits.begin(), commits.end()) * entry_bytes, 'x');
    PlainFile file(settings_.directory + "/plain", ahead);
    const auto start = Clock::now();
    for (const size_t entries : commits) file.AppendAndSync(std::string_view(data).substr(0, entries * entry_bytes));
    return SecondsSince(start);
  }

  // Rounds of the store, each followed by the plain file with the same commits.
  struct Rounds {
    std::vector<double> store_rates, plain_rates, ahead_rates, ratios, ahead_ratios;  // entries per second
    std::vector<double> entries_per_commit, cpu_micros_per_entry;
  };
  Rounds Compare(Load& load, size_t entry_bytes, uint64_t entries, uint64_t outstanding) const {
    Rounds rounds;
    load.Run(entries / 2, outstanding);
    for (int round = 0; round < settings_.rounds; ++round) {
      const double cpu = CpuSeconds();
      const auto start = Clock::now();
      const std::vector<size_t> commits = load.Run(entries, outstanding);
      const auto count = static_cast<double>(entries);
      rounds.store_rates.push_back(count / SecondsSince(start));
      rounds.cpu_micros_per_entry.push_back((CpuSeconds() - cpu) * 1e6 / count);
      rounds.plain_rates.push_back(count / SecondsOfPlain(commits, entry_bytes, false));
      rounds.ahead_rates.push_back(count / SecondsOfPlain(commits, entry_bytes, true));
      rounds.ahead_ratios.push_back(rounds.store_rates.back() / rounds.ahead_rates.back());
      rounds.ratios.push_back(rounds.store_rates.back() / rounds.plain_rates.back());
      rounds.entries_per_commit.push_back(count / static_cast<double>(commits.size()));
    }
    return rounds;
  }

  void MergedCommits(LogStore& store) {
    constexpr uint64_t kEntries = 2048;  // 128 MiB
    constexpr size_t kEntryBytes = 64 * limits::kKiB;
    constexpr double kMegabytes = kEntryBytes / 1e6;
    Load load(store, 1, 16, kEntryBytes);
    const Rounds rounds = Compare(load, kEntryBytes, kEntries, 2);
    Report("16 groups, 64 KiB entries, merged and synced", Median(rounds.store_rates) * kMegabytes, "MB/s");
    Report("  of it in one commit", Median(rounds.entries_per_commit) * kMegabytes, "MB");
    Report("  plain append + fdatasync of the same commits", Median(rounds.plain_rates) * kMegabytes, "MB/s");
    Report("  ratio to plain", Median(rounds.ratios), "", ">= 0.75");
    Report("  the same to a file that is allocated ahead", Median(rounds.ahead_rates) * kMegabytes, "MB/s");
    Report("  ratio to that", Median(rounds.ahead_ratios), "");
    Report("  CPU per megabyte", Median(rounds.cpu_micros_per_entry) / kMegabytes / 1e3, "ms");
  }

  void OneOutstanding(LogStore& store) {
    Load load(store, 100, 1, limits::kKiB);
    const std::string kibibyte(limits::kKiB, 'x');
    std::vector<double> plain_medians, store_medians, ratios;
    for (int round = 0; round < settings_.rounds; ++round) {
      std::vector<double> plain, stored;
      PlainFile file(settings_.directory + "/plain", true);
      for (int i = 0; i < 300; ++i) {
        const auto start = Clock::now();
        file.AppendAndSync(kibibyte);
        plain.push_back(SecondsSince(start) * 1e6);
      }
      for (int i = 0; i < 300; ++i) stored.push_back(load.SecondsOfOneAppend() * 1e6);
      plain_medians.push_back(Median(plain));
      store_medians.push_back(Median(stored));
      ratios.push_back(store_medians.back() / plain_medians.back());
    }
    Report("plain write + fdatasync, 1 KiB, p50", Median(plain_medians), "us");
    Report("append of 1 KiB, one outstanding, p50", Median(store_medians), "us");
    Report("  ratio to plain", Median(ratios), "", "<= 2");
  }

  void ManyOutstanding(LogStore& store) {
    constexpr uint64_t kEntries = 100'000;
    Load load(store, 200, 16, limits::kKiB);
    const Rounds rounds = Compare(load, limits::kKiB, kEntries, 64);
    Report("1 KiB entries, 1,024 outstanding from 16 groups", Median(rounds.store_rates), "entries/s", ">= 200000");
    Report("  of them in one commit", Median(rounds.entries_per_commit), "entries");
    Report("  plain append + fdatasync of the same commits", Median(rounds.plain_rates), "entries/s");
    Report("  ratio to plain", Median(rounds.ratios), "");
    Report("  CPU per entry, producer included", Median(rounds.cpu_micros_per_entry), "us");
  }

  void WriteAmplification() {
    constexpr uint64_t kEntries = 16 * 1024;  // 1 GiB
    constexpr size_t kEntryBytes = 64 * limits::kKiB;
    const uint64_t before = BytesToDisk();
    {
      auto store = Open({.directory = settings_.directory + "/amplification"});
      Load load(*store, 1, 16, kEntryBytes);
      load.Run(kEntries, 2);
    }
    ::sync();
    const auto written = static_cast<double>(BytesToDisk() - before);
    Report("bytes to the disk per byte appended, 1 GiB (the kernel's count)", written / (kEntries * kEntryBytes), "", "<= 2.1");
    std::filesystem::remove_all(settings_.directory + "/amplification");
  }

  void Reopen() {
    constexpr uint64_t kGroups = 1000;
    const std::string directory = settings_.directory + "/reopen";
    std::vector<double> read_seconds, open_seconds, ratios, cpu_seconds, wal_gibibytes;
    for (int round = 0; round < std::min(settings_.rounds, 3); ++round) {
      wal_gibibytes.push_back(FillWal(directory, kGroups) / static_cast<double>(limits::kGiB));
      DropFromCache(directory + "/db");
      auto start = Clock::now();
      ReadFiles(directory + "/db");
      read_seconds.push_back(SecondsSince(start));

      DropFromCache(directory + "/db");
      const double cpu = CpuSeconds();
      start = Clock::now();
      auto store = Open({.directory = directory});
      for (uint64_t group = 1; group <= kGroups; ++group) CHECK(store->Load(GroupId{group}).ok());
      open_seconds.push_back(SecondsSince(start));
      cpu_seconds.push_back(CpuSeconds() - cpu);
      ratios.push_back(open_seconds.back() / read_seconds.back());
      store.reset();
      std::filesystem::remove_all(directory);
    }
    Report("reopening, nothing of the WAL in tables, and loading 1,000 groups", Median(open_seconds), "s", "< 5");
    Report("  WAL", Median(wal_gibibytes), "GiB");
    Report("  plain read of the same files, not cached", Median(read_seconds), "s");
    Report("  ratio to plain", Median(ratios), "");
    Report("  CPU", Median(cpu_seconds), "s");
  }

  // 1 GiB of entries of which nothing is flushed, so that all of it has to be replayed. The bytes of the WAL.
  static double FillWal(const std::string& directory, uint64_t groups) {
    constexpr size_t kEntryBytes = 16 * limits::kKiB;
    auto store = Open({.directory = directory,
                       .memtable_bytes = 2 * limits::kGiB,
                       .write_buffer_bytes = 8 * limits::kGiB,
                       .wal_bytes_max = 8 * limits::kGiB});
    Load load(*store, 1, groups, kEntryBytes);
    load.Run(limits::kGiB / kEntryBytes, 4);
    return static_cast<double>(store->Counters().wal_bytes);
  }

  Settings settings_;
  std::vector<Figure> figures_;
};

void PrintJson(const std::vector<Figure>& figures) {
  std::printf("[\n");
  for (size_t i = 0; i < figures.size(); ++i) {
    const Figure& figure = figures[i];
    const size_t begin = figure.name.find_first_not_of(' ');
    // An indented figure belongs to the one before it.
    const std::string name = begin == 0 || i == 0 ? figure.name : figures[i - 1].name + ": " + figure.name.substr(begin);
    std::printf("  {\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\", \"target\": \"%s\"}%s\n", name.c_str(), figure.value,
                figure.unit.c_str(), figure.target.c_str(), i + 1 == figures.size() ? "" : ",");
  }
  std::printf("]\n");
}

void PrintTable(const std::vector<Figure>& figures) {
  std::printf("| figure | value | unit | target |\n| --- | --- | --- | --- |\n");
  for (const Figure& figure : figures) {
    std::printf("| %s | %.4g | %s | %s |\n", figure.name.c_str(), figure.value, figure.unit.c_str(), figure.target.c_str());
  }
}

int Main(int argc, char** argv) {
  Settings settings{.directory = std::filesystem::current_path()};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--json") {
      settings.json = true;
    } else if (argument == "--buffered") {
      settings.buffered = true;
    } else if (argument == "--only" && i + 1 < argc) {
      settings.only = argv[++i];
    } else if (argument == "--directory" && i + 1 < argc) {
      settings.directory = argv[++i];
    } else if (argument == "--rounds" && i + 1 < argc) {
      settings.rounds = std::max(1, std::atoi(argv[++i]));
    } else {
      std::fprintf(stderr,
                   "usage: %s [--directory DIR] [--rounds N] [--json] [--buffered] [--only merged|single|many|amplification|reopen]\n",
                   argv[0]);
      return 2;
    }
  }
  const std::vector<Figure> figures = Bench(settings).Run();
  settings.json ? PrintJson(figures) : PrintTable(figures);
  return 0;
}

}  // namespace
}  // namespace flotilla::storage

int main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::GLOG_WARNING;
  return flotilla::storage::Main(argc, argv);
}
