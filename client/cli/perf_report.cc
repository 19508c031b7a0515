#include "client/cli/perf_report.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "client/cli/exit_codes.h"
#include "client/cli/table.h"

namespace flotilla::cli {
namespace {

struct Part {
  const char* name;
  double part;
};
constexpr Part kParts[] = {{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}, {"p99.9", 0.999}};
constexpr double kMegabyte = 1e6;  // as others count, with whom we are compared

std::string Rounded(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}
double Millis(int64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e6; }

}  // namespace

int Report(Session& session, const PerfReport& report) {
  const double seconds = report.seconds > 0 ? report.seconds : 1e-9;
  const double records_per_s = static_cast<double>(report.records) / seconds;
  const double megabytes_per_s = static_cast<double>(report.bytes) / kMegabyte / seconds;
  if (session.json()) {
    nlohmann::ordered_json json = {{"what", report.what},        {"records", report.records}, {"bytes", report.bytes},
                                   {"failed", report.failed},    {"seconds", report.seconds}, {"records_per_s", records_per_s},
                                   {"mb_per_s", megabytes_per_s}};
    if (report.latency != nullptr) {
      nlohmann::ordered_json& latency = json["latency_ms"];
      for (const Part& part : kParts) latency[part.name] = Millis(report.latency->Quantile(part.part));
      latency["max"] = Millis(report.latency->max());
    }
    session.out() << json.dump() << std::endl;
  } else {
    std::vector<std::string> header = {"WHAT", "RECORDS", "FAILED", "SECONDS", "RECORDS/S", "MB/S"};
    std::vector<std::string> row = {report.what,
                                    std::to_string(report.records),
                                    std::to_string(report.failed),
                                    Rounded(report.seconds, 2),
                                    Rounded(records_per_s, 0),
                                    Rounded(megabytes_per_s, 1)};
    if (report.latency != nullptr) {
      for (const Part& part : kParts) {
        header.push_back(std::string(part.name) + "-MS");
        row.push_back(Rounded(Millis(report.latency->Quantile(part.part)), 2));
      }
      header.emplace_back("MAX-MS");
      row.push_back(Rounded(Millis(report.latency->max()), 2));
    }
    Table table(header);
    table.Add(row);
    table.Print(session.out());
  }
  if (report.first_error.ok()) return session.interrupted() ? kExitInterrupted : kExitOk;
  const int code = session.Fail(report.first_error);
  return report.records > 0 ? kExitPartial : code;
}

}  // namespace flotilla::cli
