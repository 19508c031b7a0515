#include "server/metadata/change_feed.h"

#include <algorithm>

#include "storage/base/status.h"

namespace flotilla::metadata {

ChangeFeed::ChangeFeed(size_t changes_max) : changes_max_(changes_max), current_(std::make_shared<const Image>()) {}

Shared<Image> ChangeFeed::Current() const {
  MutexLock lock(mutex_);
  return current_;
}

FeedUpdate ChangeFeed::After(LogIndex version) const {
  MutexLock lock(mutex_);
  FeedUpdate update{.image = current_, .reset = false, .changes = {}};
  if (version == current_->version) return update;
  const auto next =
      std::find_if(changes_.begin(), changes_.end(), [&](const Shared<Difference>& change) { return change->from == version; });
  update.reset = next == changes_.end();
  update.changes.assign(next, changes_.end());
  return update;
}

void ChangeFeed::Publish(Shared<Image> image) {
  const Shared<Image> before = Current();
  CHECK_GT(image->version, before->version);
  const LogIndex version = image->version;
  auto change = std::make_shared<const Difference>(Between(*before, *image));
  {
    MutexLock lock(mutex_);
    current_ = std::move(image);
    changes_.push_back(std::move(change));
    if (changes_.size() > changes_max_) changes_.pop_front();
  }
  for (FeedWatcher* watcher : watchers_) watcher->OnMetadata(version);
}

void ChangeFeed::AddWatcher(FeedWatcher& watcher) { watchers_.push_back(&watcher); }

void ChangeFeed::RemoveWatcher(FeedWatcher& watcher) { std::erase(watchers_, &watcher); }

}  // namespace flotilla::metadata
