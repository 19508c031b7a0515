// Protos written into a test, and those of the build.
#pragma once

#include <google/protobuf/compiler/importer.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <memory>
#include <string>

namespace flotilla::proto_test {

// Parses `files` (path -> source), which may import one another and google/protobuf/descriptor.proto. With
// comments.
inline google::protobuf::FileDescriptorSet ParseProtos(const std::map<std::string, std::string>& files) {
  namespace pb = google::protobuf;
  class Sources : public pb::compiler::SourceTree {
   public:
    explicit Sources(const std::map<std::string, std::string>& files) : files_(files) {}
    pb::io::ZeroCopyInputStream* Open(const std::string& name) override {
      const auto found = files_.find(name);
      if (found == files_.end()) return nullptr;
      return new pb::io::ArrayInputStream(found->second.data(), static_cast<int>(found->second.size()));
    }

   private:
    const std::map<std::string, std::string>& files_;
  };
  class Errors : public pb::compiler::MultiFileErrorCollector {
   public:
    void AddError(const std::string& file, int line, int /*column*/, const std::string& message) override {
      ADD_FAILURE() << file << ":" << line + 1 << ": " << message;
    }
  };
  Sources sources(files);
  Errors errors;
  pb::compiler::Importer importer(&sources, &errors);
  pb::FileDescriptorSet set;
  for (const auto& [name, source] : files) {
    const pb::FileDescriptor* file = importer.Import(name);
    if (file == nullptr) continue;
    pb::FileDescriptorProto* proto = set.add_file();
    file->CopyTo(proto);
    file->CopyJsonNameTo(proto);
    file->CopySourceCodeInfoTo(proto);
  }
  return set;
}

inline google::protobuf::FileDescriptorSet LoadDescriptors(const std::string& path) {
  google::protobuf::FileDescriptorSet set;
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in && set.ParseFromIstream(&in)) << "no descriptor set in " << path;
  return set;
}

}  // namespace flotilla::proto_test
