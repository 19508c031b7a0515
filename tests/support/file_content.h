// What a file holds, all of it, read in pieces: iterators read it byte by byte, which takes minutes under sanitizers.
#pragma once

#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

namespace flotilla {

// Nothing: it cannot be opened.
inline std::optional<std::string> FileContent(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream content;
  content << in.rdbuf();
  return std::move(content).str();
}

}  // namespace flotilla
