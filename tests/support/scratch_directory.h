// A directory that is empty at first and gone at the end.
#pragma once

#include <glog/logging.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

namespace flotilla {

class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string pattern = std::filesystem::temp_directory_path() / "flotilla-XXXXXX";
    CHECK(mkdtemp(pattern.data()) != nullptr) << "cannot make a directory like " << pattern << "; is TMPDIR writable?";
    path_ = pattern;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace flotilla
