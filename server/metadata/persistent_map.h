// An ordered map that never changes: With and Without return a new one that shares all but O(log n) of the
// old one's memory. Images of ten thousand partitions can so be made a thousand times a second and kept by
// whoever still reads them.
//
//   PersistentMap<NodeId, std::string> a;
//   PersistentMap<NodeId, std::string> b = a.With(NodeId{1}, "one");
//   Compare(a, b, [](NodeId id, const std::string* before, const std::string* after) { ... });
//
// A treap (Seidel and Aragon, 1996) whose priorities are hashes of the keys. Its shape follows from its keys
// alone, so that two maps with a common past share whole subtrees, and Compare skips them: it costs by what
// differs, not by what there is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace flotilla::metadata {

template <typename Key, typename Value>
class PersistentMap {
 public:
  PersistentMap() = default;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Null when there is none. Valid as long as this map or one that shares the entry lives.
  template <typename K>
  const Value* Find(const K& key) const {
    const Node* node = root_.get();
    while (node != nullptr) {
      if (key < node->key) {
        node = node->left.get();
      } else if (node->key < key) {
        node = node->right.get();
      } else {
        return &node->value;
      }
    }
    return nullptr;
  }
  bool Contains(const Key& key) const { return Find(key) != nullptr; }

  // With the entry, in place of what the key had.
  [[nodiscard]] PersistentMap With(Key key, Value value) const {
    const size_t size = size_ + (Contains(key) ? 0 : 1);
    const uint64_t priority = PriorityOf(key);
    return PersistentMap(Put(root_, std::move(key), priority, std::move(value)), size);
  }
  [[nodiscard]] PersistentMap Without(const Key& key) const {
    if (!Contains(key)) return *this;
    return PersistentMap(Remove(root_, key), size_ - 1);
  }

  // `visit(key, value)` for each entry, in order.
  template <typename Visit>
  void ForEach(Visit visit) const {
    VisitAll(root_, visit);
  }
  // The same from the first key that is not less than `from`, until `visit` returns false.
  template <typename Visit>
  void ForEachFrom(const Key& from, Visit visit) const {
    VisitFrom(root_.get(), from, visit);
  }

  // `visit(key, before, after)` for each key whose entry is in one only, or whose values are not equal, in
  // order; the missing one is null.
  template <typename Visit>
  friend void Compare(const PersistentMap& before, const PersistentMap& after, Visit visit) {
    CompareTrees(before.root_, after.root_, visit);
  }

 private:
  struct Node;
  using Tree = std::shared_ptr<const Node>;
  struct Node {
    Key key;
    Value value;
    uint64_t priority;
    Tree left;
    Tree right;
  };
  struct Halves {
    Tree less;
    Tree greater;
  };

  PersistentMap(Tree root, size_t size) : root_(std::move(root)), size_(size) {}

  static uint64_t PriorityOf(const Key& key) {
    uint64_t z = std::hash<Key>{}(key) + 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  // Whether an entry stands above `node`. Keys decide between equal priorities: the shape stays unique.
  static bool Above(uint64_t priority, const Key& key, const Node& node) {
    return priority != node.priority ? priority > node.priority : key < node.key;
  }
  static Tree Make(const Node& like, Tree left, Tree right) {
    return std::make_shared<const Node>(Node{like.key, like.value, like.priority, std::move(left), std::move(right)});
  }

  // Without `key` itself.
  static Halves Split(const Tree& tree, const Key& key) {
    if (tree == nullptr) return {};
    if (tree->key < key) {
      Halves right = Split(tree->right, key);
      return {Make(*tree, tree->left, std::move(right.less)), std::move(right.greater)};
    }
    if (key < tree->key) {
      Halves left = Split(tree->left, key);
      return {std::move(left.less), Make(*tree, std::move(left.greater), tree->right)};
    }
    return {tree->left, tree->right};
  }
  static Tree Merge(const Tree& less, const Tree& greater) {
    if (less == nullptr) return greater;
    if (greater == nullptr) return less;
    if (Above(less->priority, less->key, *greater)) return Make(*less, less->left, Merge(less->right, greater));
    return Make(*greater, Merge(less, greater->left), greater->right);
  }
  static Tree Put(const Tree& tree, Key key, uint64_t priority, Value value) {
    if (tree == nullptr || Above(priority, key, *tree)) {
      Halves halves = Split(tree, key);
      return std::make_shared<const Node>(
          Node{std::move(key), std::move(value), priority, std::move(halves.less), std::move(halves.greater)});
    }
    if (key < tree->key) {
      return Make(*tree, Put(tree->left, std::move(key), priority, std::move(value)), tree->right);
    }
    if (tree->key < key) {
      return Make(*tree, tree->left, Put(tree->right, std::move(key), priority, std::move(value)));
    }
    return std::make_shared<const Node>(Node{std::move(key), std::move(value), priority, tree->left, tree->right});
  }
  static Tree Remove(const Tree& tree, const Key& key) {
    if (key < tree->key) return Make(*tree, Remove(tree->left, key), tree->right);
    if (tree->key < key) return Make(*tree, tree->left, Remove(tree->right, key));
    return Merge(tree->left, tree->right);
  }

  template <typename Visit>
  static void VisitAll(const Tree& tree, Visit& visit) {
    if (tree == nullptr) return;
    VisitAll(tree->left, visit);
    visit(tree->key, tree->value);
    VisitAll(tree->right, visit);
  }
  template <typename Visit>
  static bool VisitFrom(const Node* node, const Key& from, Visit& visit) {
    if (node == nullptr) return true;
    if (!(node->key < from)) {
      if (!VisitFrom(node->left.get(), from, visit)) return false;
      if (!visit(node->key, node->value)) return false;
    }
    return VisitFrom(node->right.get(), from, visit);
  }

  template <typename Visit>
  static void CompareTrees(const Tree& before, const Tree& after, Visit& visit) {
    if (before == after) return;
    if (before == nullptr) {
      auto added = [&](const Key& key, const Value& value) { visit(key, static_cast<const Value*>(nullptr), &value); };
      VisitAll(after, added);
      return;
    }
    if (after == nullptr) {
      auto removed = [&](const Key& key, const Value& value) { visit(key, &value, static_cast<const Value*>(nullptr)); };
      VisitAll(before, removed);
      return;
    }
    const bool same_key = !(before->key < after->key) && !(after->key < before->key);
    if (same_key) {
      CompareTrees(before->left, after->left, visit);
      if (!(before->value == after->value)) visit(before->key, &before->value, &after->value);
      CompareTrees(before->right, after->right, visit);
      return;
    }
    // The root that stands above the other is in one tree only: in the other one it would be the root too.
    if (Above(before->priority, before->key, *after)) {
      const Halves halves = Split(after, before->key);
      CompareTrees(before->left, halves.less, visit);
      visit(before->key, &before->value, static_cast<const Value*>(nullptr));
      CompareTrees(before->right, halves.greater, visit);
    } else {
      const Halves halves = Split(before, after->key);
      CompareTrees(halves.less, after->left, visit);
      visit(after->key, static_cast<const Value*>(nullptr), &after->value);
      CompareTrees(halves.greater, after->right, visit);
    }
  }
  Tree root_;
  size_t size_ = 0;
};

}  // namespace flotilla::metadata
