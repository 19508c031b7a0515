// A queue in one vector, with access by position: an empty one costs no allocation, which matters when there are ten thousand idle
// groups. Pushing and popping are amortised O(1).
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace flotilla::raft {

template <typename T>
class Fifo {
 public:
  bool empty() const { return head_ == items_.size(); }
  size_t size() const { return items_.size() - head_; }
  T& operator[](size_t i) { return items_[head_ + i]; }
  const T& operator[](size_t i) const { return items_[head_ + i]; }
  T& front() { return items_[head_]; }
  const T& front() const { return items_[head_]; }
  T& back() { return items_.back(); }
  const T& back() const { return items_.back(); }

  void push_back(T item) { items_.push_back(std::move(item)); }
  void pop_back() {
    items_.pop_back();
    if (empty()) clear();
  }
  void pop_front() {
    items_[head_] = T{};
    ++head_;
    if (empty()) {
      clear();
    } else if (head_ >= 32 && head_ * 2 >= items_.size()) {
      items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
  }
  // Empty, and without memory if it had grown large.
  void clear() {
    items_.clear();
    head_ = 0;
    if (items_.capacity() > kKeep) items_.shrink_to_fit();
  }

  auto begin() const { return items_.begin() + static_cast<std::ptrdiff_t>(head_); }
  auto end() const { return items_.end(); }
  auto begin() { return items_.begin() + static_cast<std::ptrdiff_t>(head_); }
  auto end() { return items_.end(); }

 private:
  static constexpr size_t kKeep = 1024;
  std::vector<T> items_;
  size_t head_ = 0;
};

}  // namespace flotilla::raft
