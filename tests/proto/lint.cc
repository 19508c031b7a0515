#include "tests/proto/lint.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

namespace flotilla::proto_test {
namespace {

using google::protobuf::DescriptorProto;
using google::protobuf::EnumDescriptorProto;
using google::protobuf::FieldDescriptorProto;
using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;
using google::protobuf::MethodDescriptorProto;
using google::protobuf::ServiceDescriptorProto;
using google::protobuf::SourceCodeInfo;

// No <regex>: GCC 12 takes it for uninitialised under the sanitizers.
bool IsLower(char letter) { return 'a' <= letter && letter <= 'z'; }
bool IsUpper(char letter) { return 'A' <= letter && letter <= 'Z'; }
bool IsDigit(char letter) { return '0' <= letter && letter <= '9'; }

// Words of letters and digits between single underscores; the first begins with a letter.
bool IsSnake(const std::string& name, bool (*is_letter)(char)) {
  if (name.empty() || !is_letter(name[0]) || name.back() == '_') return false;
  if (name.find("__") != std::string::npos) return false;
  return std::all_of(name.begin(), name.end(), [is_letter](char letter) { return is_letter(letter) || IsDigit(letter) || letter == '_'; });
}
bool IsLowerSnake(const std::string& name) { return IsSnake(name, &IsLower); }
bool IsUpperSnake(const std::string& name) { return IsSnake(name, &IsUpper); }
bool IsPascal(const std::string& name) {
  return !name.empty() && IsUpper(name[0]) &&
         std::all_of(name.begin(), name.end(), [](char letter) { return IsUpper(letter) || IsLower(letter) || IsDigit(letter); });
}
// "flotilla.internal.v1".
bool IsVersionedPackage(const std::string& package) {
  const size_t dot = package.rfind('.');
  if (dot == std::string::npos) return false;
  const std::string version = package.substr(dot + 1);
  if (version.size() < 2 || version[0] != 'v' || version[1] == '0') return false;
  if (!std::all_of(version.begin() + 1, version.end(), &IsDigit)) return false;
  for (size_t start = 0; start <= dot;) {
    const size_t end = package.find('.', start);
    if (!IsLowerSnake(package.substr(start, end - start))) return false;
    start = end + 1;
  }
  return true;
}

// "ReplicaState" -> "REPLICA_STATE".
std::string UpperSnake(const std::string& pascal) {
  std::string upper;
  for (size_t i = 0; i < pascal.size(); ++i) {
    const auto letter = static_cast<unsigned char>(pascal[i]);
    if (i > 0 && std::isupper(letter) && !std::isupper(static_cast<unsigned char>(pascal[i - 1]))) upper += '_';
    upper += static_cast<char>(std::toupper(letter));
  }
  return upper;
}

// Field names that a generated language has to bend: keywords of C++ and Python (elsewhere fields are
// capitalised or behind accessors), and methods of every generated message.
bool IsReservedWord(const std::string& name) {
  static const std::set<std::string> kWords = {
      // C++
      "alignas",
      "and",
      "asm",
      "auto",
      "bool",
      "break",
      "case",
      "catch",
      "char",
      "class",
      "concept",
      "const",
      "continue",
      "default",
      "delete",
      "do",
      "double",
      "else",
      "enum",
      "explicit",
      "export",
      "extern",
      "false",
      "float",
      "for",
      "friend",
      "goto",
      "if",
      "inline",
      "int",
      "long",
      "mutable",
      "namespace",
      "new",
      "not",
      "nullptr",
      "operator",
      "or",
      "private",
      "protected",
      "public",
      "register",
      "requires",
      "return",
      "short",
      "signed",
      "sizeof",
      "static",
      "struct",
      "switch",
      "template",
      "this",
      "throw",
      "true",
      "try",
      "typedef",
      "typeid",
      "typename",
      "union",
      "unsigned",
      "using",
      "virtual",
      "void",
      "volatile",
      "while",
      "xor",
      // Python
      "as",
      "assert",
      "async",
      "await",
      "def",
      "del",
      "elif",
      "except",
      "finally",
      "from",
      "global",
      "import",
      "in",
      "is",
      "lambda",
      "none",
      "nonlocal",
      "pass",
      "raise",
      "with",
      "yield",
      // Methods of generated messages in C++, Java and Go
      "all_fields",
      "descriptor",
      "descriptor_for_type",
      "parser",
      "parser_for_type",
      "proto_message",
      "proto_reflect",
      "reset",
      "serialized_size",
      "string",
      "swap",
      "unknown_fields",
  };
  return kWords.count(name) > 0;
}

std::string LastPart(const std::string& name) { return name.substr(name.rfind('.') + 1); }

// All types a file declares, with a leading dot and their package, as references name them.
std::set<std::string> DeclaredTypes(const FileDescriptorProto& file) {
  std::set<std::string> names;
  struct Walk {
    std::set<std::string>& names;
    void Message(const DescriptorProto& message, const std::string& scope) const {
      const std::string name = scope + "." + message.name();
      names.insert(name);
      for (const auto& nested : message.nested_type()) Message(nested, name);
      for (const auto& nested : message.enum_type()) names.insert(name + "." + nested.name());
    }
  } walk{names};
  const std::string scope = "." + file.package();
  for (const auto& message : file.message_type()) walk.Message(message, scope);
  for (const auto& enumeration : file.enum_type()) names.insert(scope + "." + enumeration.name());
  return names;
}

std::set<std::string> UsedTypes(const FileDescriptorProto& file) {
  std::set<std::string> names;
  struct Walk {
    std::set<std::string>& names;
    void Field(const FieldDescriptorProto& field) const {
      names.insert(field.type_name());
      names.insert(field.extendee());
    }
    void Message(const DescriptorProto& message) const {
      for (const auto& field : message.field()) Field(field);
      for (const auto& field : message.extension()) Field(field);
      for (const auto& nested : message.nested_type()) Message(nested);
    }
  } walk{names};
  for (const auto& message : file.message_type()) walk.Message(message);
  for (const auto& field : file.extension()) walk.Field(field);
  for (const auto& service : file.service()) {
    for (const auto& method : service.method()) {
      names.insert(method.input_type());
      names.insert(method.output_type());
    }
  }
  return names;
}

class FileLinter {
 public:
  FileLinter(const FileDescriptorSet& files, const FileDescriptorProto& file, std::vector<Finding>* findings)
      : files_(files), file_(file), findings_(findings) {
    for (const SourceCodeInfo::Location& location : file.source_code_info().location()) {
      comments_[{location.path().begin(), location.path().end()}] = location.leading_comments();
    }
  }

  void Run() {
    CheckFile();
    CheckImports();
    for (int i = 0; i < file_.message_type_size(); ++i) {
      CheckMessage(file_.message_type(i), file_.package(), {FileDescriptorProto::kMessageTypeFieldNumber, i});
    }
    for (int i = 0; i < file_.enum_type_size(); ++i) {
      CheckEnum(file_.enum_type(i), file_.package(), {FileDescriptorProto::kEnumTypeFieldNumber, i});
    }
    for (int i = 0; i < file_.extension_size(); ++i) {
      CheckField(file_.extension(i), file_.package(), {FileDescriptorProto::kExtensionFieldNumber, i});
    }
    for (int i = 0; i < file_.service_size(); ++i) {
      CheckService(file_.service(i), {FileDescriptorProto::kServiceFieldNumber, i});
    }
  }

 private:
  using Path = std::vector<int>;

  void Report(const std::string& rule, const std::string& where, const std::string& what) {
    findings_->push_back({rule, file_.name() + (where.empty() ? "" : ": " + where), what});
  }
  void Expect(bool good, const std::string& rule, const std::string& where, const std::string& what) {
    if (!good) Report(rule, where, what);
  }

  static Path Below(Path path, int field, int index) {
    path.push_back(field);
    path.push_back(index);
    return path;
  }

  std::string Comment(const Path& path) const {
    const auto found = comments_.find(path);
    return found == comments_.end() ? "" : found->second;
  }
  void ExpectComment(const Path& path, const std::string& rule, const std::string& where) {
    const std::string comment = Comment(path);
    const bool says_something = std::any_of(comment.begin(), comment.end(), [](unsigned char letter) { return std::isalpha(letter); });
    Expect(says_something, rule, where, "has no comment; write one above it");
  }

  void CheckFile() {
    Expect(file_.syntax() == "proto3", "SYNTAX_SPECIFIED", "", "syntax is not proto3");
    const std::string& package = file_.package();
    Expect(IsVersionedPackage(package), "PACKAGE_VERSION_SUFFIX", "",
           "package \"" + package + "\" is not lower case words that end in a version, such as flotilla.v1");

    std::string directory = package;
    std::replace(directory.begin(), directory.end(), '.', '/');
    const size_t slash = file_.name().rfind('/');
    const std::string actual = slash == std::string::npos ? "" : file_.name().substr(0, slash);
    Expect(actual == directory, "PACKAGE_DIRECTORY_MATCH", "",
           "package " + package + " belongs into " + directory + "/, not " + actual + "/");
    std::string base = file_.name().substr(slash == std::string::npos ? 0 : slash + 1);
    base = base.substr(0, base.rfind('.'));
    Expect(IsLowerSnake(base), "FILE_LOWER_SNAKE_CASE", "", "file name is not lower_snake_case");

    CheckPackageOption("go_package", file_.options().go_package(),
                       [](const FileDescriptorProto& other) { return other.options().go_package(); });
    CheckPackageOption("java_package", file_.options().java_package(),
                       [](const FileDescriptorProto& other) { return other.options().java_package(); });
    Expect(file_.options().java_multiple_files(), "PACKAGE_SAME_JAVA_MULTIPLE_FILES", "", "java_multiple_files is not true");
  }

  template <typename Get>
  void CheckPackageOption(const std::string& option, const std::string& value, Get get) {
    std::string rule = "PACKAGE_SAME_" + option;
    std::transform(rule.begin(), rule.end(), rule.begin(), [](unsigned char letter) { return std::toupper(letter); });
    Expect(!value.empty(), rule, "", option + " is not set");
    for (const FileDescriptorProto& other : files_.file()) {
      if (other.package() != file_.package()) continue;
      Expect(get(other) == value, rule, "", option + " is \"" + value + "\", but \"" + get(other) + "\" in " + other.name());
    }
  }

  void CheckImports() {
    Expect(file_.public_dependency_size() == 0, "IMPORT_NO_PUBLIC", "", "has an `import public`");
    Expect(file_.weak_dependency_size() == 0, "IMPORT_NO_WEAK", "", "has an `import weak`");
    const std::set<std::string> used = UsedTypes(file_);
    for (const std::string& import : file_.dependency()) {
      const FileDescriptorProto* imported = Find(import);
      if (imported == nullptr) continue;
      const std::set<std::string> declared = DeclaredTypes(*imported);
      const bool is_used = std::any_of(declared.begin(), declared.end(), [&used](const std::string& name) { return used.count(name) > 0; });
      Expect(is_used, "IMPORT_USED", "", "imports " + import + " and uses nothing of it");
      // Ours: a client generates flotilla.v1 and needs nothing else, neither of ours nor of other people.
      const bool is_public = file_.package() == "flotilla.v1";
      const bool allowed = imported->package() == "flotilla.v1" || import == "google/protobuf/descriptor.proto";
      Expect(!is_public || allowed, "PUBLIC_STANDS_ALONE", "", "imports " + import + "; flotilla.v1 uses nothing but flotilla.v1");
    }
  }

  const FileDescriptorProto* Find(const std::string& name) const {
    for (const FileDescriptorProto& file : files_.file()) {
      if (file.name() == name) return &file;
    }
    return nullptr;
  }

  void CheckMessage(const DescriptorProto& message, const std::string& scope, const Path& path) {
    if (message.options().map_entry()) return;
    const std::string name = scope + "." + message.name();
    Expect(IsPascal(message.name()), "MESSAGE_PASCAL_CASE", name, "is not PascalCase");
    ExpectComment(path, "COMMENT_MESSAGE", name);
    for (int i = 0; i < message.field_size(); ++i) {
      CheckField(message.field(i), name, Below(path, DescriptorProto::kFieldFieldNumber, i));
    }
    for (int i = 0; i < message.oneof_decl_size(); ++i) {
      if (IsSynthetic(message, i)) continue;
      const std::string oneof = name + "." + message.oneof_decl(i).name();
      Expect(IsLowerSnake(message.oneof_decl(i).name()), "ONEOF_LOWER_SNAKE_CASE", oneof, "is not lower_snake_case");
      ExpectComment(Below(path, DescriptorProto::kOneofDeclFieldNumber, i), "COMMENT_ONEOF", oneof);
    }
    for (int i = 0; i < message.nested_type_size(); ++i) {
      CheckMessage(message.nested_type(i), name, Below(path, DescriptorProto::kNestedTypeFieldNumber, i));
    }
    for (int i = 0; i < message.enum_type_size(); ++i) {
      CheckEnum(message.enum_type(i), name, Below(path, DescriptorProto::kEnumTypeFieldNumber, i));
    }
  }

  // The oneof that protoc adds around an `optional` field.
  static bool IsSynthetic(const DescriptorProto& message, int oneof) {
    return std::any_of(message.field().begin(), message.field().end(), [oneof](const FieldDescriptorProto& field) {
      return field.proto3_optional() && field.has_oneof_index() && field.oneof_index() == oneof;
    });
  }

  void CheckField(const FieldDescriptorProto& field, const std::string& scope, const Path& path) {
    const std::string name = scope + "." + field.name();
    Expect(IsLowerSnake(field.name()), "FIELD_LOWER_SNAKE_CASE", name, "is not lower_snake_case");
    const bool is_internal = file_.package().find(".internal.") != std::string::npos;
    Expect(is_internal || !IsReservedWord(field.name()), "FIELD_NOT_RESERVED_WORD", name,
           "is a reserved word of a language that clients are generated for; choose another");
    ExpectComment(path, "COMMENT_FIELD", name);
  }

  void CheckEnum(const EnumDescriptorProto& enumeration, const std::string& scope, const Path& path) {
    const std::string name = scope + "." + enumeration.name();
    const std::string prefix = UpperSnake(enumeration.name()) + "_";
    Expect(IsPascal(enumeration.name()), "ENUM_PASCAL_CASE", name, "is not PascalCase");
    Expect(!enumeration.options().allow_alias(), "ENUM_NO_ALLOW_ALIAS", name, "allows aliases");
    ExpectComment(path, "COMMENT_ENUM", name);
    for (int i = 0; i < enumeration.value_size(); ++i) {
      const std::string& value = enumeration.value(i).name();
      Expect(IsUpperSnake(value), "ENUM_VALUE_UPPER_SNAKE_CASE", name, value + " is not UPPER_SNAKE_CASE");
      Expect(value.rfind(prefix, 0) == 0, "ENUM_VALUE_PREFIX", name, value + " does not begin with " + prefix);
      ExpectComment(Below(path, EnumDescriptorProto::kValueFieldNumber, i), "COMMENT_ENUM_VALUE", name + "." + value);
    }
    const bool has_zero = enumeration.value_size() > 0 && enumeration.value(0).number() == 0;
    Expect(has_zero, "ENUM_FIRST_VALUE_ZERO", name, "does not begin with a value 0");
    if (has_zero) {
      Expect(enumeration.value(0).name() == prefix + "UNSPECIFIED", "ENUM_ZERO_VALUE_SUFFIX", name,
             "its value 0 is " + enumeration.value(0).name() + ", not " + prefix + "UNSPECIFIED");
    }
  }

  void CheckService(const ServiceDescriptorProto& service, const Path& path) {
    const std::string name = file_.package() + "." + service.name();
    Expect(IsPascal(service.name()), "SERVICE_PASCAL_CASE", name, "is not PascalCase");
    const std::string suffix = "Service";
    Expect(
        service.name().size() > suffix.size() && service.name().compare(service.name().size() - suffix.size(), suffix.size(), suffix) == 0,
        "SERVICE_SUFFIX", name, "does not end in Service");
    ExpectComment(path, "COMMENT_SERVICE", name);
    for (int i = 0; i < service.method_size(); ++i) {
      CheckRpc(service.method(i), name, Below(path, ServiceDescriptorProto::kMethodFieldNumber, i));
    }
  }

  void CheckRpc(const MethodDescriptorProto& rpc, const std::string& service, const Path& path) {
    const std::string name = service + "." + rpc.name();
    Expect(IsPascal(rpc.name()), "RPC_PASCAL_CASE", name, "is not PascalCase");
    Expect(LastPart(rpc.input_type()) == rpc.name() + "Request", "RPC_REQUEST_STANDARD_NAME", name,
           "its request is " + LastPart(rpc.input_type()) + ", not " + rpc.name() + "Request");
    Expect(LastPart(rpc.output_type()) == rpc.name() + "Response", "RPC_RESPONSE_STANDARD_NAME", name,
           "its response is " + LastPart(rpc.output_type()) + ", not " + rpc.name() + "Response");
    for (const std::string& type : {rpc.input_type(), rpc.output_type()}) {
      Expect(CountRpcsWith(type) == 1, "RPC_REQUEST_RESPONSE_UNIQUE", name,
             LastPart(type) + " is used by another rpc too, or twice by this one");
    }
    ExpectComment(path, "COMMENT_RPC", name);
    const std::string comment = Comment(path);
    Expect(comment.find("Errors") != std::string::npos, "COMMENT_RPC_ERRORS", name,
           "its comment has no \"Errors:\"; say which ones to expect");
    Expect(comment.find("Retry:") != std::string::npos, "COMMENT_RPC_RETRY", name,
           "its comment has no \"Retry:\"; say whether a second time does harm");
  }

  int CountRpcsWith(const std::string& type) const {
    int count = 0;
    for (const FileDescriptorProto& file : files_.file()) {
      for (const ServiceDescriptorProto& service : file.service()) {
        for (const MethodDescriptorProto& rpc : service.method()) {
          count += (rpc.input_type() == type) + (rpc.output_type() == type);
        }
      }
    }
    return count;
  }

  const FileDescriptorSet& files_;
  const FileDescriptorProto& file_;
  std::vector<Finding>* findings_;
  std::map<Path, std::string> comments_;
};

}  // namespace

std::ostream& operator<<(std::ostream& out, const Finding& finding) {
  return out << finding.rule << ": " << finding.where << " " << finding.what;
}

std::vector<Finding> Lint(const FileDescriptorSet& files, std::string_view package_prefix) {
  std::vector<Finding> findings;
  for (const FileDescriptorProto& file : files.file()) {
    if (file.package().rfind(package_prefix, 0) != 0) continue;
    FileLinter(files, file, &findings).Run();
  }
  return findings;
}

}  // namespace flotilla::proto_test
