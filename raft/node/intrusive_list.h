// A list of objects that carry their own links: joining, leaving and moving cost no allocation, and an object that dies leaves by
// itself. An object is in one list per kind of link; `Tag` names the kind.
//
//   struct Timer : ListNode<struct WheelTag> { ... };
//   IntrusiveList<Timer, WheelTag> due;
//   due.PushBack(timer);
#pragma once

#include <glog/logging.h>

namespace flotilla::raft {

template <typename Tag>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { Unlink(); }

  bool linked() const { return next_ != nullptr; }
  void Unlink() {
    if (!linked()) return;
    previous_->next_ = next_;
    next_->previous_ = previous_;
    previous_ = next_ = nullptr;
  }

 private:
  template <typename T, typename OtherTag>
  friend class IntrusiveList;

  ListNode* previous_ = nullptr;
  ListNode* next_ = nullptr;
};

template <typename T, typename Tag>
class IntrusiveList {
 public:
  IntrusiveList() { head_.previous_ = head_.next_ = &head_; }
  ~IntrusiveList() {
    while (!empty()) PopFront();
    head_.previous_ = head_.next_ = nullptr;
  }

  bool empty() const { return head_.next_ == &head_; }
  void PushBack(T& item) {
    ListNode<Tag>& node = item;
    CHECK(!node.linked());
    node.previous_ = head_.previous_;
    node.next_ = &head_;
    head_.previous_->next_ = &node;
    head_.previous_ = &node;
  }
  T& front() { return static_cast<T&>(*head_.next_); }
  T& PopFront() {
    T& item = front();
    static_cast<ListNode<Tag>&>(item).Unlink();
    return item;
  }
  // All of `other`, behind what is here.
  void TakeAll(IntrusiveList& other) {
    if (other.empty()) return;
    other.head_.next_->previous_ = head_.previous_;
    other.head_.previous_->next_ = &head_;
    head_.previous_->next_ = other.head_.next_;
    head_.previous_ = other.head_.previous_;
    other.head_.previous_ = other.head_.next_ = &other.head_;
  }
  // Calls `visit(item)` for each, in order. `visit` may unlink the item it is given, and no other.
  template <typename Visit>
  void ForEach(Visit visit) {
    for (ListNode<Tag>* node = head_.next_; node != &head_;) {
      ListNode<Tag>* next = node->next_;
      visit(static_cast<T&>(*node));
      node = next;
    }
  }

 private:
  ListNode<Tag> head_;
};

}  // namespace flotilla::raft
