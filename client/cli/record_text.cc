#include "client/cli/record_text.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <ostream>

#include "client/cli/text.h"

namespace flotilla::cli {
namespace {

using Json = nlohmann::ordered_json;

client::Error Invalid(std::string message) {
  return client::Error(client::ErrorCode::kInvalidArgument, "USAGE", client::Retry::kNever, std::move(message));
}

Json BytesJson(std::string_view bytes) {
  if (IsUtf8(bytes)) return std::string(bytes);
  return {{"base64", ToBase64(bytes)}};
}
Json BytesJson(const std::optional<std::string_view>& bytes) { return bytes ? BytesJson(*bytes) : Json(nullptr); }

client::Result<std::optional<std::string>> BytesFrom(const Json& json) {
  if (json.is_null()) return std::optional<std::string>();
  if (json.is_string()) return std::optional<std::string>(json.get<std::string>());
  if (json.is_object() && json.size() == 1 && json.contains("base64") && json["base64"].is_string()) {
    auto bytes = FromBase64(json["base64"].get<std::string>());
    if (!bytes) return Invalid("'" + json["base64"].get<std::string>() + "' is not base64");
    return std::optional<std::string>(std::move(*bytes));
  }
  return std::optional<std::string>(json.dump());
}

std::optional<int64_t> WholeNumber(const Json& json, int64_t min, int64_t max) {
  if (!json.is_number_integer()) return std::nullopt;
  if (json.is_number_unsigned() && json.get<uint64_t>() > static_cast<uint64_t>(max)) return std::nullopt;
  const auto number = json.get<int64_t>();
  return min <= number && number <= max ? std::optional(number) : std::nullopt;
}

client::Error TakeHeaders(const Json& json, OwnedRecord* record) {
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      auto bytes = BytesFrom(value);
      if (!bytes.ok()) return bytes.error();
      record->headers.emplace_back(key, bytes->value_or(""));
    }
    return {};
  }
  if (!json.is_array()) return Invalid("headers are an object, or an array of {\"key\",\"value\"}");
  for (const Json& header : json) {
    if (!header.is_object() || !header.contains("key") || !header["key"].is_string()) {
      return Invalid("a header needs a key that is a string");
    }
    auto bytes = BytesFrom(header.contains("value") ? header["value"] : Json(nullptr));
    if (!bytes.ok()) return bytes.error();
    record->headers.emplace_back(header["key"].get<std::string>(), bytes->value_or(""));
  }
  return {};
}

}  // namespace

client::Result<RecordFormat> RecordFormat::Parse(std::string_view text) {
  constexpr std::string_view kVerbs = "tpokvhds";
  RecordFormat format;
  std::string literal;
  const auto end_literal = [&] {
    if (!literal.empty()) format.pieces_.push_back({.text = Unescape(std::exchange(literal, {}))});
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      literal += text[i];
      continue;
    }
    const char verb = i + 1 < text.size() ? text[++i] : '\0';
    if (verb == '%') {
      literal += '%';
    } else if (verb != '\0' && kVerbs.find(verb) != std::string_view::npos) {
      end_literal();
      format.pieces_.push_back({.verb = verb});
    } else {
      return Invalid(std::string("the format has %") + verb + "; there are %t %p %o %k %v %h %d %s and %%");
    }
  }
  end_literal();
  return format;
}

void RecordFormat::Print(std::ostream& out, std::string_view topic, int32_t partition, const client::RecordCursor& record) const {
  for (const Piece& piece : pieces_) {
    switch (piece.verb) {
      case 't': out << topic; break;
      case 'p': out << partition; break;
      case 'o': out << record.offset(); break;
      case 'k': out << record.key().value_or(""); break;
      case 'v': out << record.value().value_or(""); break;
      case 'd': out << TimeText(record.timestamp_ms()); break;
      case 's': out << record.value().value_or("").size(); break;
      case 'h': {
        const char* comma = "";
        for (const client::HeaderView& header : record.Headers()) {
          out << comma << header.key << "=" << header.value;
          comma = ",";
        }
        break;
      }
      default: out << piece.text;
    }
  }
}

std::string RecordJson(std::string_view topic, int32_t partition, const client::RecordCursor& record) {
  Json json = {{"topic", std::string(topic)},           {"partition", partition},         {"offset", record.offset()},
               {"timestamp_ms", record.timestamp_ms()}, {"key", BytesJson(record.key())}, {"value", BytesJson(record.value())}};
  if (record.headers_count() > 0) {
    json["headers"] = Json::array();
    for (const client::HeaderView& header : record.Headers()) {
      json["headers"].push_back({{"key", std::string(header.key)}, {"value", BytesJson(header.value)}});
    }
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

client::Result<OwnedRecord> ParseRecordJson(std::string_view line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Invalid("not a JSON object: " + std::string(line.substr(0, 80)));
  OwnedRecord record;
  for (const auto& [name, field] : json.items()) {
    if (name == "key" || name == "value") {
      auto bytes = BytesFrom(field);
      if (!bytes.ok()) return bytes.error();
      (name == "key" ? record.key : record.value) = *std::move(bytes);
    } else if (name == "headers") {
      if (client::Error error = TakeHeaders(field, &record); !error.ok()) return error;
    } else if (name == "timestamp_ms" || name == "partition") {
      const bool is_time = name == "timestamp_ms";
      const auto number = is_time ? WholeNumber(field, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max())
                                  : WholeNumber(field, 0, std::numeric_limits<int32_t>::max());
      if (!number) return Invalid(name + " is not a whole number" + (is_time ? "" : " from 0 to 2147483647") + ": " + field.dump());
      if (is_time) record.timestamp_ms = *number;
      else record.partition = static_cast<int32_t>(*number);
    } else if (name != "topic" && name != "offset") {
      return Invalid("unknown field '" + name + "'; there are key, value, headers, timestamp_ms and partition");
    }
  }
  return record;
}

}  // namespace flotilla::cli
