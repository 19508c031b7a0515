// The newest image, and how it came to be: for watchers that want every change without being waited for.
//
//   feed.AddWatcher(watcher);               // it is told that there is news, and posts to its own thread
//   FeedUpdate update = feed.After(seen);   // what has it missed since version `seen`?
//     update.changes     the steps from there, oldest first; none: it is up to date
//     update.image       the newest image; with update.reset it has to begin anew from it
//
// A bounded number of changes is kept: a watcher that is slower gets the image instead, and costs nothing
// while it sleeps.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "server/metadata/difference.h"
#include "server/metadata/image.h"
#include "server/metadata/limits.h"
#include "storage/base/mutex.h"

namespace flotilla::metadata {

struct FeedUpdate {
  Shared<Image> image;
  bool reset = false;
  std::vector<Shared<Difference>> changes;
};

class FeedWatcher {
 public:
  virtual ~FeedWatcher() = default;
  // There is a newer image. On the publisher's executor; returns quickly.
  virtual void OnMetadata(LogIndex version) = 0;
};

class ChangeFeed {
 public:
  explicit ChangeFeed(size_t changes_max = limits::kFeedChangesMax);

  // Any thread.
  Shared<Image> Current() const;
  // What follows `version`, which the watcher got from this feed or another node's. `reset`: this feed does
  // not know the way from there.
  FeedUpdate After(LogIndex version) const;

  // Publisher's executor only. `image` is newer than the current one.
  void Publish(Shared<Image> image);
  // The watchers outlive their place in the list. Not from OnMetadata.
  void AddWatcher(FeedWatcher& watcher);
  void RemoveWatcher(FeedWatcher& watcher);

 private:
  const size_t changes_max_;
  std::vector<FeedWatcher*> watchers_;  // the publisher's
  mutable Mutex mutex_;
  Shared<Image> current_ FLOTILLA_GUARDED_BY(mutex_);
  std::deque<Shared<Difference>> changes_ FLOTILLA_GUARDED_BY(mutex_);  // the last ones, without a gap
};

}  // namespace flotilla::metadata
