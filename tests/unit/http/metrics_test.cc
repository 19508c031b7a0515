#include "server/http/metrics.h"

#include <gmock/gmock.h>

#include <limits>

namespace flotilla::http {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(MetricWriterTest, WritesTheTextFormatOfPrometheus) {
  MetricWriter writer;
  writer.Gauge("flotilla_up", "1 while it runs.", {}, 1);
  writer.Counter("flotilla_calls_total", "Calls.", {{"method", "Produce"}, {"code", "OK"}}, 12345678901);
  writer.Histogram("flotilla_fsync_seconds", "Syncs.", {{"db", "log"}}, {.bounds = {0.001, 0.5}, .counts = {2, 0, 1}, .sum = 1.25});
  EXPECT_EQ(writer.Text(),
            "# HELP flotilla_calls_total Calls.\n"
            "# TYPE flotilla_calls_total counter\n"
            "flotilla_calls_total{method=\"Produce\",code=\"OK\"} 12345678901\n"
            "# HELP flotilla_fsync_seconds Syncs.\n"
            "# TYPE flotilla_fsync_seconds histogram\n"
            "flotilla_fsync_seconds_bucket{db=\"log\",le=\"0.001\"} 2\n"
            "flotilla_fsync_seconds_bucket{db=\"log\",le=\"0.5\"} 2\n"
            "flotilla_fsync_seconds_bucket{db=\"log\",le=\"+Inf\"} 3\n"
            "flotilla_fsync_seconds_sum{db=\"log\"} 1.25\n"
            "flotilla_fsync_seconds_count{db=\"log\"} 3\n"
            "# HELP flotilla_up 1 while it runs.\n"
            "# TYPE flotilla_up gauge\n"
            "flotilla_up 1\n");
}

TEST(MetricWriterTest, SamplesOfOneNameStandTogetherWhoeverWritesThem) {
  MetricWriter writer;
  writer.Gauge("b", "B.", {{"x", "1"}}, 1);
  writer.Gauge("a", "A.", {}, 2);
  writer.Gauge("b", "B.", {{"x", "2"}}, 3);
  EXPECT_EQ(writer.Text(), "# HELP a A.\n# TYPE a gauge\na 2\n# HELP b B.\n# TYPE b gauge\nb{x=\"1\"} 1\nb{x=\"2\"} 3\n");
}

TEST(MetricWriterTest, TextsAreEscaped) {
  MetricWriter writer;
  writer.Gauge("a", "one\ntwo \\ \"three\"", {{"x", "a\"b\\c\nd"}}, 0.5);
  EXPECT_EQ(writer.Text(), "# HELP a one\\ntwo \\\\ \"three\"\n# TYPE a gauge\na{x=\"a\\\"b\\\\c\\nd\"} 0.5\n");
}

TEST(MetricWriterTest, NumbersThatAreNoneAreWrittenAsPrometheusReadsThem) {
  MetricWriter writer;
  writer.Gauge("a", "", {}, std::numeric_limits<double>::quiet_NaN());
  writer.Gauge("b", "", {}, std::numeric_limits<double>::infinity());
  writer.Gauge("c", "", {}, -std::numeric_limits<double>::infinity());
  EXPECT_THAT(writer.Text(), HasSubstr("\na NaN\n"));
  EXPECT_THAT(writer.Text(), HasSubstr("\nb +Inf\n"));
  EXPECT_THAT(writer.Text(), HasSubstr("\nc -Inf\n"));
}

TEST(MetricWriterTest, ANameHasOneType) {
  MetricWriter writer;
  writer.Gauge("a", "A.", {}, 1);
  writer.Counter("a", "A.", {}, 77);
  EXPECT_THAT(writer.Text(), Not(HasSubstr("77")));
}

}  // namespace
}  // namespace flotilla::http
