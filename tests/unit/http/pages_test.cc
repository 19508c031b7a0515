#include "server/http/pages.h"

#include <gmock/gmock.h>

namespace flotilla::http {
namespace {

using ::testing::HasSubstr;

class FixedMetric final : public MetricSource {
 public:
  FixedMetric(std::string name, double value) : name_(std::move(name)), value_(value) {}
  void Collect(MetricWriter& writer) override { writer.Gauge(name_, "Help.", {}, value_); }

 private:
  std::string name_;
  double value_;
};

class FixedReadiness final : public ReadinessSource {
 public:
  std::vector<ReadinessCheck> checks;
  std::vector<ReadinessCheck> Checks() override { return checks; }
};

class PagesTest : public testing::Test {
 protected:
  FixedMetric a_{"a", 1};
  FixedMetric b_{"b", 2};
  FixedReadiness storage_;
  FixedReadiness cluster_;
  Pages pages_{{&a_, &b_}, {&storage_, &cluster_}};
};

TEST_F(PagesTest, MetricsAreThoseOfAllSources) {
  const Page page = pages_.Answer("GET", "/metrics", false);
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_THAT(page.body, HasSubstr("\na 1\n"));
  EXPECT_THAT(page.body, HasSubstr("\nb 2\n"));
}

TEST_F(PagesTest, TheProcessIsHealthyWhateverElseIs) {
  storage_.checks = {{.name = "disk", .ok = false, .reason = "full"}};
  EXPECT_EQ(pages_.Answer("GET", "/healthz", false).status, 200);
}

TEST_F(PagesTest, ReadyMeansThatEveryCheckIsOk) {
  storage_.checks = {{.name = "recovered", .ok = true}};
  cluster_.checks = {{.name = "joined", .ok = true, .reason = "as node 2"}};
  EXPECT_EQ(pages_.Answer("GET", "/readyz", false).status, 200);
  EXPECT_EQ(pages_.Answer("GET", "/readyz", false).body, "ready\n");
  EXPECT_EQ(pages_.Answer("GET", "/readyz", true).body, "ready\nrecovered: ok\njoined: ok\n");
}

TEST_F(PagesTest, NotReadySaysWhy) {
  storage_.checks = {{.name = "recovered", .ok = true}};
  cluster_.checks = {{.name = "joined", .ok = false, .reason = "waits for flotilla cluster init"}};
  EXPECT_EQ(pages_.Answer("GET", "/readyz", false).status, 503);
  EXPECT_EQ(pages_.Answer("GET", "/readyz", false).body, "not ready\njoined: not ok: waits for flotilla cluster init\n");
  EXPECT_EQ(pages_.Answer("GET", "/readyz", true).status, 503);
  EXPECT_EQ(pages_.Answer("GET", "/readyz", true).body, "not ready\nrecovered: ok\njoined: not ok: waits for flotilla cluster init\n");
}

TEST_F(PagesTest, AnUnknownPathListsThoseThatThereAre) {
  for (const char* path : {"/", "", "/metrics/", "/Metrics", "/../metrics"}) {
    const Page page = pages_.Answer("GET", path, false);
    EXPECT_EQ(page.status, 404) << path;
    for (const char* known : {"/metrics", "/healthz", "/readyz", "/readyz?verbose"}) EXPECT_THAT(page.body, HasSubstr(known));
  }
}

TEST_F(PagesTest, OnlyReadingMethodsAreAnswered) {
  EXPECT_EQ(pages_.Answer("HEAD", "/healthz", false).status, 200);
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "get", ""}) {
    const Page page = pages_.Answer(method, "/healthz", false);
    EXPECT_EQ(page.status, 405) << method;
    EXPECT_EQ(page.allow, "GET, HEAD");
  }
}

}  // namespace
}  // namespace flotilla::http
