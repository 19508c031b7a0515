#include "server/metadata/persistent_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "storage/base/random.h"

namespace flotilla::metadata {
namespace {

using ::testing::ElementsAre;
using Map = PersistentMap<uint64_t, std::string>;

std::vector<std::string> Entries(const Map& map) {
  std::vector<std::string> entries;
  map.ForEach([&](uint64_t key, const std::string& value) { entries.push_back(std::to_string(key) + value); });
  return entries;
}

std::vector<std::string> Differences(const Map& before, const Map& after) {
  std::vector<std::string> found;
  Compare(before, after, [&](uint64_t key, const std::string* old_value, const std::string* new_value) {
    found.push_back(std::to_string(key) + ":" + (old_value ? *old_value : "-") + ">" + (new_value ? *new_value : "-"));
  });
  return found;
}

TEST(PersistentMapTest, AnOldMapDoesNotSeeWhatIsDoneToANewOne) {
  const Map one = Map().With(2, "b").With(1, "a");
  const Map two = one.With(3, "c").Without(1).With(2, "B");
  EXPECT_THAT(Entries(one), ElementsAre("1a", "2b"));
  EXPECT_THAT(Entries(two), ElementsAre("2B", "3c"));
  EXPECT_EQ(one.size(), 2u);
  EXPECT_EQ(two.size(), 2u);
}

TEST(PersistentMapTest, WhatIsNotThereCannotBeTakenAway) {
  const Map map = Map().With(1, "a");
  EXPECT_THAT(Entries(map.Without(7)), ElementsAre("1a"));
}

TEST(PersistentMapTest, CompareNamesWhatCameWentAndChanged) {
  const Map before = Map().With(1, "a").With(2, "b").With(3, "c");
  const Map after = before.Without(1).With(2, "B").With(4, "d");
  EXPECT_THAT(Differences(before, after), ElementsAre("1:a>-", "2:b>B", "4:->d"));
}

TEST(PersistentMapTest, EntriesAreVisitedFromAKeyOnUntilThatIsEnough) {
  const Map map = Map().With(1, "a").With(3, "c").With(5, "e").With(7, "g");
  std::string seen;
  map.ForEachFrom(2, [&](uint64_t, const std::string& value) {
    seen += value;
    return value != "e";
  });
  EXPECT_EQ(seen, "ce");
}

TEST(PersistentMapTest, BehavesAsAnOrdinaryMapWhateverIsDoneToIt) {
  Random random(7);
  std::map<uint64_t, std::string> model;
  std::map<uint64_t, std::string> model_before;
  Map map;
  Map before;
  for (int step = 0; step < 20'000; ++step) {
    const uint64_t key = random.Below(200);
    if (random.OneIn(3)) {
      map = map.Without(key);
      model.erase(key);
    } else {
      const std::string value = std::to_string(random.Below(5));
      map = map.With(key, value);
      model[key] = value;
    }
    ASSERT_EQ(map.size(), model.size());
    if (step % 100 != 0) continue;
    std::map<uint64_t, std::string> patched = model_before;
    Compare(before, map, [&](uint64_t changed, const std::string*, const std::string* now) {
      if (now == nullptr) {
        patched.erase(changed);
      } else {
        patched[changed] = *now;
      }
    });
    ASSERT_EQ(patched, model) << "step " << step;
    before = map;
    model_before = model;
  }
}

struct Counted {
  int value = 0;
  bool operator==(const Counted& other) const {
    ++comparisons;
    return value == other.value;
  }
  static inline int comparisons = 0;
};

TEST(PersistentMapTest, ComparingCostsByWhatDiffersNotByWhatThereIs) {
  PersistentMap<uint64_t, Counted> before;
  for (uint64_t key = 0; key < 10'000; ++key) before = before.With(key, Counted{1});
  const auto after = before.With(5'000, Counted{2}).Without(17).With(20'000, Counted{3});
  Counted::comparisons = 0;
  int found = 0;
  Compare(before, after, [&](uint64_t, const Counted*, const Counted*) { ++found; });
  EXPECT_EQ(found, 3);
  EXPECT_LT(Counted::comparisons, 300);
}

}  // namespace
}  // namespace flotilla::metadata
