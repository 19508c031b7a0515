#include "tests/proto/compatibility.h"

#include <algorithm>
#include <utility>

namespace flotilla::proto_test {
namespace {

using google::protobuf::DescriptorProto;
using google::protobuf::EnumDescriptorProto;
using google::protobuf::EnumValueDescriptorProto;
using google::protobuf::FieldDescriptorProto;
using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;
using google::protobuf::MethodDescriptorProto;
using google::protobuf::ServiceDescriptorProto;

template <typename Items>
auto FindByName(const Items& items, const std::string& name) -> decltype(&*items.begin()) {
  const auto found = std::find_if(items.begin(), items.end(), [&name](const auto& item) { return item.name() == name; });
  return found == items.end() ? nullptr : &*found;
}
template <typename Items>
auto FindByNumber(const Items& items, int number) -> decltype(&*items.begin()) {
  const auto found = std::find_if(items.begin(), items.end(), [number](const auto& item) { return item.number() == number; });
  return found == items.end() ? nullptr : &*found;
}

// A message's reserved ranges end one after their last number, an enum's with it. A single reserved number is
// that of something deleted, and is never taken again; a range is room for what is to come.
bool IsReserved(const DescriptorProto& message, int number, const std::string& name) {
  const auto& ranges = message.reserved_range();
  const auto& names = message.reserved_name();
  return std::any_of(ranges.begin(), ranges.end(),
                     [number](const auto& range) { return range.start() <= number && number < range.end(); }) &&
         std::find(names.begin(), names.end(), name) != names.end();
}
bool IsReserved(const EnumDescriptorProto& enumeration, int number, const std::string& name) {
  const auto& ranges = enumeration.reserved_range();
  const auto& names = enumeration.reserved_name();
  return std::any_of(ranges.begin(), ranges.end(),
                     [number](const auto& range) { return range.start() <= number && number <= range.end(); }) &&
         std::find(names.begin(), names.end(), name) != names.end();
}

// "optional int32", "repeated flotilla.v1.Topic".
std::string TypeOf(const FieldDescriptorProto& field) {
  std::string type = field.type_name().empty() ? FieldDescriptorProto::Type_Name(field.type()) : field.type_name().substr(1);
  if (field.label() == FieldDescriptorProto::LABEL_REPEATED) return "repeated " + type;
  return field.proto3_optional() ? "optional " + type : type;
}

std::string OneofOf(const DescriptorProto& message, const FieldDescriptorProto& field) {
  if (!field.has_oneof_index() || field.proto3_optional()) return "";
  return message.oneof_decl(field.oneof_index()).name();
}

class Comparison {
 public:
  void Files(const FileDescriptorProto& before, const FileDescriptorProto& after) {
    scope_ = before.name();
    if (before.package() != after.package()) Say("package", "was " + before.package() + ", is " + after.package());
    Option("go_package", before.options().go_package(), after.options().go_package());
    Option("java_package", before.options().java_package(), after.options().java_package());
    Option("java_outer_classname", before.options().java_outer_classname(), after.options().java_outer_classname());
    for (const DescriptorProto& message : before.message_type()) {
      Message(message, FindByName(after.message_type(), message.name()), before.package());
    }
    for (const EnumDescriptorProto& enumeration : before.enum_type()) {
      Enum(enumeration, FindByName(after.enum_type(), enumeration.name()), before.package());
    }
    for (const FieldDescriptorProto& extension : before.extension()) {
      const FieldDescriptorProto* now = FindByName(after.extension(), extension.name());
      const std::string name = before.package() + "." + extension.name();
      if (now == nullptr || now->number() != extension.number() || TypeOf(*now) != TypeOf(extension)) {
        Say("extension " + name, "was removed or changed");
      }
    }
    for (const ServiceDescriptorProto& service : before.service()) {
      Service(service, FindByName(after.service(), service.name()), before.package());
    }
  }
  void FileIsGone(const FileDescriptorProto& before) {
    scope_ = before.name();
    Say("file", "was removed: generated code of clients includes it by its path");
  }

  std::vector<std::string> TakeLines() { return std::move(lines_); }

 private:
  void Say(const std::string& what, const std::string& change) { lines_.push_back(scope_ + ": " + what + " " + change); }

  void Option(const std::string& name, const std::string& before, const std::string& after) {
    if (before != after) Say("option " + name, "was \"" + before + "\", is \"" + after + "\"");
  }

  void Message(const DescriptorProto& before, const DescriptorProto* after, const std::string& scope) {
    const std::string name = scope + "." + before.name();
    if (after == nullptr) return Say("message " + name, "was removed, renamed or moved to another file");
    for (const FieldDescriptorProto& field : before.field()) Field(before, field, *after, name);
    for (const auto& range : before.reserved_range()) {
      const FieldDescriptorProto* now = FindByNumber(after->field(), range.start());
      if (range.end() == range.start() + 1 && now != nullptr) {
        Say("field " + name + "." + now->name(), "takes the number " + std::to_string(now->number()) + " of a deleted one");
      }
    }
    for (const std::string& reserved : before.reserved_name()) {
      if (FindByName(after->field(), reserved) != nullptr) {
        Say("field " + name + "." + reserved, "takes the name of a field that was deleted");
      }
    }
    for (const DescriptorProto& nested : before.nested_type()) {
      Message(nested, FindByName(after->nested_type(), nested.name()), name);
    }
    for (const EnumDescriptorProto& nested : before.enum_type()) {
      Enum(nested, FindByName(after->enum_type(), nested.name()), name);
    }
  }

  void Field(const DescriptorProto& message, const FieldDescriptorProto& before, const DescriptorProto& after, const std::string& scope) {
    const std::string name = "field " + scope + "." + before.name() + " = " + std::to_string(before.number());
    const FieldDescriptorProto* now = FindByNumber(after.field(), before.number());
    if (now == nullptr) {
      if (const FieldDescriptorProto* moved = FindByName(after.field(), before.name())) {
        return Say(name, "got the number " + std::to_string(moved->number()));
      }
      if (IsReserved(after, before.number(), before.name())) return;
      return Say(name, "was removed; reserve its number and its name");
    }
    if (now->name() != before.name()) Say(name, "is called " + now->name() + " now: JSON and sources break");
    if (TypeOf(*now) != TypeOf(before)) Say(name, "was " + TypeOf(before) + ", is " + TypeOf(*now));
    if (OneofOf(after, *now) != OneofOf(message, before)) {
      Say(name, "was in oneof \"" + OneofOf(message, before) + "\", is in \"" + OneofOf(after, *now) + "\"");
    }
    if (now->json_name() != before.json_name()) Say(name, "is " + now->json_name() + " in JSON now");
  }

  void Enum(const EnumDescriptorProto& before, const EnumDescriptorProto* after, const std::string& scope) {
    const std::string name = scope + "." + before.name();
    if (after == nullptr) return Say("enum " + name, "was removed, renamed or moved to another file");
    for (const EnumValueDescriptorProto& value : before.value()) {
      const std::string what = "enum value " + name + "." + value.name() + " = " + std::to_string(value.number());
      const EnumValueDescriptorProto* now = FindByNumber(after->value(), value.number());
      if (now == nullptr) {
        if (const EnumValueDescriptorProto* moved = FindByName(after->value(), value.name())) {
          Say(what, "got the number " + std::to_string(moved->number()));
        } else if (!IsReserved(*after, value.number(), value.name())) {
          Say(what, "was removed; reserve its number and its name");
        }
      } else if (now->name() != value.name()) {
        Say(what, "is called " + now->name() + " now: JSON and sources break");
      }
    }
    for (const auto& range : before.reserved_range()) {
      const EnumValueDescriptorProto* now = FindByNumber(after->value(), range.start());
      if (range.end() == range.start() && now != nullptr) {
        Say("enum value " + name + "." + now->name(), "takes the number " + std::to_string(now->number()) + " of a deleted one");
      }
    }
  }

  void Service(const ServiceDescriptorProto& before, const ServiceDescriptorProto* after, const std::string& scope) {
    const std::string name = scope + "." + before.name();
    if (after == nullptr) return Say("service " + name, "was removed, renamed or moved to another file");
    for (const MethodDescriptorProto& rpc : before.method()) {
      const std::string what = "rpc " + name + "." + rpc.name();
      const MethodDescriptorProto* now = FindByName(after->method(), rpc.name());
      if (now == nullptr) {
        Say(what, "was removed or renamed");
        continue;
      }
      if (now->input_type() != rpc.input_type()) Say(what, "takes " + now->input_type().substr(1) + " now");
      if (now->output_type() != rpc.output_type()) Say(what, "returns " + now->output_type().substr(1) + " now");
      if (now->client_streaming() != rpc.client_streaming()) Say(what, "streams its requests differently");
      if (now->server_streaming() != rpc.server_streaming()) Say(what, "streams its responses differently");
    }
  }

  std::string scope_;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> BreakingChanges(const FileDescriptorSet& before, const FileDescriptorSet& after, std::string_view package_prefix) {
  Comparison comparison;
  for (const FileDescriptorProto& file : before.file()) {
    if (file.package().rfind(package_prefix, 0) != 0) continue;
    if (const FileDescriptorProto* now = FindByName(after.file(), file.name())) {
      comparison.Files(file, *now);
    } else {
      comparison.FileIsGone(file);
    }
  }
  return comparison.TakeLines();
}

}  // namespace flotilla::proto_test
