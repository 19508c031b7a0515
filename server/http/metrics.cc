#include "server/http/metrics.h"

#include <glog/logging.h>

#include <array>
#include <charconv>
#include <cmath>

namespace flotilla::http {
namespace {

std::string Number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 32> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  CHECK(error == std::errc());
  return std::string(text.data(), end);
}

// Backslashes and line breaks, and in label values also quotes.
std::string Escape(std::string_view text, bool quotes) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
  return out;
}

// {a="1",b="2"}, nothing when there are none. `bound` is the label "le" of a bucket.
std::string LabelText(const Labels& labels, const std::string* bound = nullptr) {
  std::string text;
  for (const Label& label : labels) {
    text += (text.empty() ? "" : ",") + std::string(label.name) + "=\"" + Escape(label.value, true) + "\"";
  }
  if (bound != nullptr) text += (text.empty() ? "" : ",") + ("le=\"" + *bound) + "\"";
  return text.empty() ? "" : "{" + text + "}";
}

std::string Sample(std::string_view name, std::string_view suffix, const std::string& labels, const std::string& value) {
  return std::string(name) + std::string(suffix) + labels + " " + value + "\n";
}

bool IsName(std::string_view name) {
  if (name.empty() || (name.front() >= '0' && name.front() <= '9')) return false;
  for (const char c : name) {
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_')) return false;
  }
  return true;
}

constexpr std::array<std::string_view, 3> kTypeNames = {"counter", "gauge", "histogram"};

}  // namespace

MetricWriter::Family* MetricWriter::FamilyOf(std::string_view name, std::string_view help, Type type) {
  DCHECK(IsName(name)) << "metric name \"" << name << "\"; use letters, digits and '_'";
  auto found = families_.find(name);
  if (found == families_.end()) {
    found = families_.emplace(std::string(name), Family{.type = type, .help = std::string(help), .samples = {}}).first;
  }
  if (found->second.type != type) {
    LOG_FIRST_N(ERROR, 10) << "metric left out: written with two types name=" << name;
    return nullptr;
  }
  return &found->second;
}

void MetricWriter::Counter(std::string_view name, std::string_view help, const Labels& labels, double value) {
  if (Family* family = FamilyOf(name, help, Type::kCounter)) {
    family->samples += Sample(name, "", LabelText(labels), Number(value));
  }
}

void MetricWriter::Gauge(std::string_view name, std::string_view help, const Labels& labels, double value) {
  if (Family* family = FamilyOf(name, help, Type::kGauge)) {
    family->samples += Sample(name, "", LabelText(labels), Number(value));
  }
}

void MetricWriter::Histogram(std::string_view name, std::string_view help, const Labels& labels, const HistogramData& data) {
  CHECK_EQ(data.counts.size(), data.bounds.size() + 1) << "of metric " << name;
  Family* const family = FamilyOf(name, help, Type::kHistogram);
  if (family == nullptr) return;
  uint64_t below = 0;
  for (size_t i = 0; i < data.counts.size(); ++i) {
    below += data.counts[i];
    const std::string bound = i < data.bounds.size() ? Number(data.bounds[i]) : "+Inf";
    family->samples += Sample(name, "_bucket", LabelText(labels, &bound), std::to_string(below));
  }
  family->samples += Sample(name, "_sum", LabelText(labels), Number(data.sum));
  family->samples += Sample(name, "_count", LabelText(labels), std::to_string(below));
}

std::string MetricWriter::Text() const {
  std::string text;
  for (const auto& [name, family] : families_) {
    text += "# HELP " + name + " " + Escape(family.help, false) + "\n";
    text += "# TYPE " + name + " " + std::string(kTypeNames[static_cast<size_t>(family.type)]) + "\n";
    text += family.samples;
  }
  return text;
}

}  // namespace flotilla::http
