#include "client/cli/perf.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "client/cli/exit_codes.h"
#include "client/cli/histogram.h"
#include "client/cli/perf_report.h"
#include "client/cli/session.h"
#include "client/cli/text.h"
#include "client/cpp/consumer.h"
#include "flotilla/v1/admin.pb.h"

namespace flotilla::cli {
namespace {

constexpr double kDefaultSeconds = 10;
constexpr double kDefaultEndToEndRate = 1000;
constexpr Duration kFinishTimeout = std::chrono::seconds(30);
constexpr Duration kSleepAtLeast = std::chrono::microseconds(60);  // less is not slept, but overslept

uint64_t Nanos(MonotonicTime time) { return static_cast<uint64_t>(time.time_since_epoch().count()); }

// Printable bytes that compress badly, cut at a different place for each record.
class Payloads {
 public:
  explicit Payloads(size_t record_bytes) : record_bytes_(record_bytes), text_(record_bytes + kSpread, '\0') {
    std::mt19937_64 random(1);
    for (char& c : text_) c = static_cast<char>(' ' + random() % 95);
  }
  std::string_view Next() {
    at_ = (at_ + 257) % kSpread;
    return std::string_view(text_).substr(at_, record_bytes_);
  }

 private:
  static constexpr size_t kSpread = 65'521;
  const size_t record_bytes_;
  std::string text_;
  size_t at_ = 0;
};

// Counts what is settled, and lets a closed loop wait for it.
class Tally {
 public:
  explicit Tally(std::optional<uint64_t> outstanding_max) : outstanding_max_(outstanding_max) {}

  void OnDelivery(const client::Delivery& delivery, MonotonicTime now) {
    const std::lock_guard lock(mutex_);
    if (delivery.error.ok()) {
      acknowledged_ += static_cast<uint64_t>(delivery.record_count);
      for (const uint64_t since : delivery.tags) latency_.Add(static_cast<int64_t>(Nanos(now) - since));
      last_ = now;
    } else {
      failed_ += static_cast<uint64_t>(delivery.record_count);
      if (first_error_.ok()) first_error_ = delivery.error;
    }
    settled_ += static_cast<uint64_t>(delivery.record_count);
    if (outstanding_max_) room_.notify_all();
  }
  // Before each record.
  void WaitForRoom() {
    if (!outstanding_max_) return;
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return sent_ - settled_ < *outstanding_max_; });
    ++sent_;
  }
  bool failed() const {
    const std::lock_guard lock(mutex_);
    return !first_error_.ok();
  }
  uint64_t acknowledged() const {
    const std::lock_guard lock(mutex_);
    return acknowledged_;
  }
  // Nothing comes any more.
  void Fill(PerfReport* report, MonotonicTime start, size_t record_bytes) const {
    report->records = acknowledged_;
    report->bytes = acknowledged_ * record_bytes;
    report->failed = failed_;
    report->seconds = std::chrono::duration<double>(last_ - start).count();
    report->latency = &latency_;
    report->first_error = first_error_;
  }
  void Fail(const client::Error& error) {
    const std::lock_guard lock(mutex_);
    if (first_error_.ok()) first_error_ = error;
  }

 private:
  const std::optional<uint64_t> outstanding_max_;
  mutable std::mutex mutex_;
  std::condition_variable room_;
  Histogram latency_;
  uint64_t acknowledged_ = 0;
  uint64_t failed_ = 0;
  uint64_t settled_ = 0;
  uint64_t sent_ = 0;
  MonotonicTime last_;
  client::Error first_error_;
};

// When the records of one thread are due, and when it ends.
struct Schedule {
  MonotonicTime start;
  std::optional<MonotonicTime> end;
  std::optional<uint64_t> count;
  std::optional<double> rate;

  MonotonicTime Due(uint64_t number) const { return start + Duration(static_cast<int64_t>(static_cast<double>(number) / *rate * 1e9)); }
};

// Calls `send` with the time from which each record's waiting counts.
template <typename Send>
void RunSchedule(Session& session, const Clock& clock, const Schedule& schedule, const Send& send) {
  for (uint64_t number = 0; !schedule.count || number < *schedule.count; ++number) {
    MonotonicTime now = clock.Now();
    MonotonicTime due = now;
    if (schedule.rate) {
      due = schedule.Due(number);
      if (schedule.end && due >= *schedule.end) return;
      if (due - now > kSleepAtLeast) std::this_thread::sleep_until(due);
    } else if (schedule.end && now >= *schedule.end) {
      return;
    }
    if (session.interrupted() || !send(number, due)) return;
  }
}

client::Result<client::ProducerOptions> ProducerOptionsOf(const PerfOptions& options) {
  const auto batch = ParseBytes(options.batch_bytes);
  const auto buffer = ParseBytes(options.buffer_bytes);
  const auto linger = ParseDuration(options.linger);
  if (!batch || !buffer || !linger) {
    return client::Error(client::ErrorCode::kInvalidArgument, "USAGE", client::Retry::kNever,
                         "--batch-bytes, --buffer and --linger look like 256KiB, 64MiB and 2ms");
  }
  return client::ProducerOptions{.topic = options.topic,
                                 .acks = options.acks,
                                 .idempotent = options.idempotent,
                                 .batch_bytes = static_cast<size_t>(*batch),
                                 .linger = *linger,
                                 .in_flight_max = options.in_flight,
                                 .buffer_bytes = static_cast<size_t>(*buffer) / static_cast<size_t>(options.producers)};
}

client::Error EnsureTopic(Session& session, const PerfOptions& options) {
  if (!options.partitions) return {};
  v1::CreateTopicRequest request;
  request.mutable_topic()->set_name(options.topic);
  request.set_partition_count(*options.partitions);
  if (options.replicas) request.set_replication_factor(*options.replicas);
  request.set_request_id(client::NewRequestId());
  v1::CreateTopicResponse response;
  client::Error error = session.Call("/flotilla.v1.AdminService/CreateTopic", request, &response);
  return error.reason() == "TOPIC_EXISTS" ? client::Error() : error;
}

Schedule ScheduleOf(const PerfOptions& options, MonotonicTime start) {
  Schedule schedule{.start = start, .count = options.count, .rate = options.rate};
  const double threads = options.producers;
  if (options.count) schedule.count = (*options.count + static_cast<uint64_t>(threads) - 1) / static_cast<uint64_t>(threads);
  if (schedule.rate) *schedule.rate /= threads;
  std::optional<double> seconds = options.seconds;
  if (!seconds && !options.count) seconds = kDefaultSeconds;
  if (seconds) schedule.end = start + Duration(static_cast<int64_t>(*seconds * 1e9));
  return schedule;
}

// A line a second on the terminal, while it lives.
class Progress {
 public:
  Progress(Session& session, std::function<uint64_t()> count) {
    if (!session.err_is_terminal() || session.options.quiet) return;
    thread_ = std::thread([this, &session, count = std::move(count)] {
      uint64_t before = 0;
      std::unique_lock lock(mutex_);
      while (!stopped_.wait_for(lock, std::chrono::seconds(1), [this] { return done_; })) {
        const uint64_t now = count();
        session.Say(std::to_string(now) + " records, " + std::to_string(now - before) + "/s");
        before = now;
      }
    });
  }
  ~Progress() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    stopped_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool done_ = false;
  std::thread thread_;
};

void RunProducer(Session& session, const PerfOptions& options, client::Producer& producer, const Schedule& schedule, Tally& tally) {
  Payloads payloads(static_cast<size_t>(options.record_bytes));
  std::string key(static_cast<size_t>(options.key_bytes), 'k');
  std::mt19937_64 random(Nanos(schedule.start) ^ reinterpret_cast<uintptr_t>(&producer));
  RunSchedule(session, session.client().clock(), schedule, [&](uint64_t, MonotonicTime due) {
    tally.WaitForRoom();
    // A closed loop counts from the sending, which is only now.
    if (!schedule.rate && options.outstanding) due = session.client().clock().Now();
    client::RecordView record{.value = payloads.Next()};
    if (!key.empty()) {
      const uint64_t number = random();
      std::memcpy(key.data(), &number, std::min(key.size(), sizeof number));
      record.key = key;
    }
    if (client::Error error = producer.Send(record, {.tag = Nanos(due)}); !error.ok()) {
      tally.Fail(error);
      return false;
    }
    return true;
  });
  if (client::Error error = producer.Close(kFinishTimeout); !error.ok()) tally.Fail(error);
}

}  // namespace

int PerfProduce(Session& session, const PerfOptions& options) {
  if (client::Error error = EnsureTopic(session, options); !error.ok()) return session.Fail(error);
  auto producer_options = ProducerOptionsOf(options);
  if (!producer_options.ok()) return session.Fail(producer_options.error());
  const Clock& clock = session.client().clock();
  Tally tally(options.outstanding);
  producer_options->on_delivery = [&](const client::Delivery& delivery) { tally.OnDelivery(delivery, clock.Now()); };
  std::vector<std::unique_ptr<client::Producer>> producers;
  for (int i = 0; i < options.producers; ++i) {
    auto producer = client::Producer::Open(session.client(), *producer_options);
    if (!producer.ok()) return session.Fail(producer.error());
    producers.push_back(*std::move(producer));
  }
  const MonotonicTime start = clock.Now();
  const Schedule schedule = ScheduleOf(options, start);
  {
    const Progress progress(session, [&tally] { return tally.acknowledged(); });
    std::vector<std::thread> threads;
    for (const auto& producer : producers) {
      threads.emplace_back([&, to = producer.get()] { RunProducer(session, options, *to, schedule, tally); });
    }
    for (std::thread& thread : threads) thread.join();
  }
  producers.clear();
  PerfReport report{.what = "produce"};
  tally.Fill(&report, start, static_cast<size_t>(options.record_bytes + options.key_bytes));
  return Report(session, report);
}

int PerfConsume(Session& session, const PerfOptions& options) {
  auto consumer = client::Consumer::Open(
      session.client(),
      {.topic = options.topic, .until_end = !options.follow, .buffer_bytes = size_t{16} << 20, .give_up_after = session.timeout()});
  if (!consumer.ok()) return session.Fail(consumer.error());
  const Clock& clock = session.client().clock();
  const MonotonicTime start = clock.Now();
  std::optional<MonotonicTime> end;
  if (options.seconds) end = start + Duration(static_cast<int64_t>(*options.seconds * 1e9));
  PerfReport report{.what = "consume"};
  std::atomic<uint64_t> seen{0};
  MonotonicTime last = start;
  {
    const Progress progress(session, [&seen] { return seen.load(); });
    while (!session.interrupted() && (!end || clock.Now() < *end) && (!options.count || report.records < *options.count)) {
      auto event = (*consumer)->Next(std::chrono::milliseconds(100));
      if (!event.ok()) {
        report.first_error = event.error();
        break;
      }
      if (event->kind == client::ConsumerEvent::Kind::kEnded) break;
      if (event->kind == client::ConsumerEvent::Kind::kPartitionError) report.first_error = event->error;
      for (client::RecordCursor cursor(event->message); cursor.Next();) {
        ++report.records;
        report.bytes += cursor.key().value_or("").size() + cursor.value().value_or("").size();
      }
      seen.store(report.records);
      if (event->kind == client::ConsumerEvent::Kind::kRecords) last = clock.Now();
    }
  }
  report.seconds = std::chrono::duration<double>(last - start).count();
  return Report(session, report);
}

namespace {

// The reading side of end to end: each value begins with the time from which its waiting counts, 0 in probes.
class EndToEndReader {
 public:
  EndToEndReader(client::Consumer& consumer, const Clock& clock, uint64_t run) : consumer_(consumer), clock_(clock), run_(run) {}

  // Takes what comes within `wait`. Partitions whose probes were seen are counted.
  client::Error Read(Duration wait) {
    auto event = consumer_.Next(wait);
    if (!event.ok()) return event.error();
    if (event->kind == client::ConsumerEvent::Kind::kPartitionError) return event->error;
    const uint64_t now = Nanos(clock_.Now());
    for (client::RecordCursor cursor(event->message); cursor.Next();) {
      const std::string_view value = cursor.value().value_or("");
      uint64_t words[2] = {};
      if (value.size() < sizeof words) continue;
      std::memcpy(words, value.data(), sizeof words);
      if (words[0] != run_) continue;  // somebody else's
      if (words[1] == 0) {
        ++probes_[event->partition];
        continue;
      }
      latency.Add(static_cast<int64_t>(now - words[1]));
      ++records;
    }
    return {};
  }
  size_t partitions_seen() const { return probes_.size(); }

  Histogram latency;
  std::atomic<uint64_t> records{0};

 private:
  client::Consumer& consumer_;
  const Clock& clock_;
  const uint64_t run_;
  std::map<int32_t, int> probes_;
};

}  // namespace

int PerfEndToEnd(Session& session, const PerfOptions& given) {
  PerfOptions options = given;
  if (!options.rate) options.rate = kDefaultEndToEndRate;
  options.producers = 1;
  if (client::Error error = EnsureTopic(session, options); !error.ok()) return session.Fail(error);
  auto producer_options = ProducerOptionsOf(options);
  if (!producer_options.ok()) return session.Fail(producer_options.error());
  auto consumer = client::Consumer::Open(session.client(),
                                         {.topic = options.topic, .start = client::StartAt::Latest(), .give_up_after = session.timeout()});
  if (!consumer.ok()) return session.Fail(consumer.error());
  const Clock& clock = session.client().clock();
  Tally tally(options.outstanding);
  std::atomic<bool> measuring{false};
  producer_options->on_delivery = [&](const client::Delivery& delivery) {
    if (measuring) tally.OnDelivery(delivery, clock.Now());
  };
  auto producer = client::Producer::Open(session.client(), *producer_options);
  if (!producer.ok()) return session.Fail(producer.error());

  std::string value(std::max<size_t>(static_cast<size_t>(options.record_bytes), 16), 'x');
  const uint64_t run = std::random_device{}() | uint64_t{std::random_device{}()} << 32;
  std::memcpy(value.data(), &run, sizeof run);
  const auto put_time = [&value](uint64_t time) { std::memcpy(value.data() + sizeof run, &time, sizeof time); };

  // Only what is written once the reader follows every partition can be measured.
  EndToEndReader reader(**consumer, clock, run);
  const auto partitions = static_cast<size_t>((*producer)->partition_count());
  const MonotonicTime give_up = clock.Now() + session.timeout();
  put_time(0);
  while (reader.partitions_seen() < partitions && !session.interrupted()) {
    for (size_t partition = 0; partition < partitions; ++partition) {
      const auto sent = (*producer)->SendAndWait({.value = value}, {.partition = static_cast<int32_t>(partition)});
      if (!sent.ok()) return session.Fail(sent.error());
    }
    for (size_t tries = 0; tries <= partitions && reader.partitions_seen() < partitions; ++tries) {
      if (client::Error error = reader.Read(std::chrono::milliseconds(50)); !error.ok()) return session.Fail(error);
    }
    if (clock.Now() > give_up) {
      return session.Fail(client::Error(client::ErrorCode::kDeadlineExceeded, client::reasons::kTimedOut, client::Retry::kSafe,
                                        "what was written to " + options.topic + " was not read within --timeout"));
    }
  }
  measuring = true;
  const MonotonicTime start = clock.Now();
  const Schedule schedule = ScheduleOf(options, start);
  std::atomic<bool> writing{true};
  client::Error read_error;
  std::thread reading([&] {
    MonotonicTime until = MonotonicTime::max();
    while (!session.interrupted() && clock.Now() < until) {
      read_error = reader.Read(std::chrono::milliseconds(50));
      if (!read_error.ok()) return;
      if (writing) continue;
      if (until == MonotonicTime::max()) until = clock.Now() + std::chrono::seconds(5);
      if (reader.records >= tally.acknowledged()) return;
    }
  });
  {
    const Progress progress(session, [&reader] { return reader.records.load(); });
    RunSchedule(session, clock, schedule, [&](uint64_t, MonotonicTime due) {
      tally.WaitForRoom();
      put_time(Nanos(due));
      client::Error error = (*producer)->Send({.value = value}, {.tag = Nanos(due)});
      if (!error.ok()) tally.Fail(error);
      return error.ok();
    });
    if (client::Error error = (*producer)->Close(kFinishTimeout); !error.ok()) tally.Fail(error);
    writing = false;
    reading.join();
  }
  PerfReport report{.what = "e2e"};
  tally.Fill(&report, start, value.size());
  report.failed += report.records - std::min<uint64_t>(report.records, reader.records);
  report.records = reader.records;
  report.latency = &reader.latency;
  if (report.first_error.ok()) report.first_error = read_error;
  return Report(session, report);
}

}  // namespace flotilla::cli
