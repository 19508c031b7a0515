// Immutable bytes with shared ownership: a view, and whatever keeps it alive. Copying costs a reference count, so one
// received buffer serves the log, the followers and the readers without being copied.
#pragma once

#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

namespace flotilla {

class Bytes {
 public:
  Bytes() = default;
  // Takes the string over.
  explicit Bytes(std::string text) {
    if (text.empty()) return;
    auto owned = std::make_shared<const std::string>(std::move(text));
    view_ = *owned;
    owner_ = std::move(owned);
  }
  // `view` stays valid as long as `owner` lives.
  Bytes(std::shared_ptr<const void> owner, std::string_view view) : owner_(std::move(owner)), view_(view) {}

  static Bytes Copy(std::string_view text) { return Bytes(std::string(text)); }
  // Bytes that live for ever, such as literals.
  static Bytes Static(std::string_view text) { return Bytes(nullptr, text); }

  std::string_view view() const { return view_; }
  const char* data() const { return view_.data(); }
  size_t size() const { return view_.size(); }
  bool empty() const { return view_.empty(); }

  // A part of it that shares the owner. `position + count` is inside.
  Bytes Slice(size_t position, size_t count) const { return Bytes(owner_, view_.substr(position, count)); }

  friend bool operator==(const Bytes& a, const Bytes& b) { return a.view_ == b.view_; }

 private:
  std::shared_ptr<const void> owner_;
  std::string_view view_;
};

}  // namespace flotilla
