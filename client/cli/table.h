// Aligned columns without boxes, made to be read and to be cut: no cell is empty, and none but the last has a space in it.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace flotilla::cli {

class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  // As many cells as the header has. An empty one is shown as "-".
  void Add(std::vector<std::string> row);
  void Print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace flotilla::cli
