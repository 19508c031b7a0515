// How parts of the broker show numbers, without knowing who asks for them.
//
//   class ProduceMetrics final : public MetricSource {
//     void Collect(MetricWriter& writer) override {
//       writer.Counter("flotilla_produced_bytes_total", "Bytes of records accepted.", {{"topic", name}}, bytes_);
//     }
//   };
//
// Names follow Prometheus: snake_case, the unit last, in seconds and bytes, counters end in _total.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace flotilla::http {

// The name is a constant ([a-zA-Z_][a-zA-Z0-9_]*), the value any UTF-8 text.
struct Label {
  std::string_view name;
  std::string value;
};
using Labels = std::vector<Label>;

// A distribution as Prometheus takes it.
struct HistogramData {
  std::vector<double> bounds;    // upper ends of the buckets, ascending; a last bucket without end follows
  std::vector<uint64_t> counts;  // of each bucket alone: one more than bounds
  double sum = 0;                // of all values
};

// One scrape: collects what the sources have and writes it down. One thread.
//
// Each name has one type and one help text, whoever writes it, in the order in which they come; a name that comes again as
// another type is a mistake of ours: it is left out and logged.
class MetricWriter {
 public:
  // Only ever grows, from 0 when the process began.
  void Counter(std::string_view name, std::string_view help, const Labels& labels, double value);
  void Gauge(std::string_view name, std::string_view help, const Labels& labels, double value);
  void Histogram(std::string_view name, std::string_view help, const Labels& labels, const HistogramData& data);

  // Prometheus' text format, version 0.0.4, families sorted by name.
  std::string Text() const;

 private:
  enum class Type : uint8_t { kCounter, kGauge, kHistogram };
  struct Family {
    Type type;
    std::string help;
    std::string samples;
  };
  // Null: not to be written.
  Family* FamilyOf(std::string_view name, std::string_view help, Type type);

  std::map<std::string, Family, std::less<>> families_;
};

class MetricSource {
 public:
  virtual ~MetricSource() = default;
  // Any thread, and several at once. Quick: a scrape waits for it. Who needs another thread's data posts to it and waits
  // for a bounded time, then leaves the metric out.
  virtual void Collect(MetricWriter& writer) = 0;
};

}  // namespace flotilla::http
