#include "tests/sim/trace.h"

#include <iomanip>
#include <utility>

namespace flotilla::sim {

void Trace::PrintLast(std::ostream& out) const {
  for (const std::string& line : last_) out << line << '\n';
}

void Trace::Begin(NodeId node, std::ostream* line) const {
  *line << std::setw(5) << clock_.now() / kSecond << '.' << std::setfill('0') << std::setw(6) << clock_.now() % kSecond << std::setfill(' ')
        << "  ";
  if (node.value() == 0) {
    *line << "     ";
  } else {
    *line << 'n' << std::left << std::setw(4) << node.value() << std::right;
  }
}

void Trace::Keep(std::string line) {
  if (mode_ != Mode::kKeepLast && out_ != nullptr) *out_ << line << '\n';
  last_.push_back(std::move(line));
  if (last_.size() > keep_) last_.pop_front();
}

}  // namespace flotilla::sim
