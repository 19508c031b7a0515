#include "tests/sim/event_queue.h"

#include <gmock/gmock.h>

#include <vector>

namespace flotilla::sim {
namespace {

using ::testing::ElementsAre;

TEST(EventQueueTest, EarlierEventsRunFirst) {
  EventQueue events;
  std::vector<int> ran;
  events.At(30, [&] { ran.push_back(3); });
  events.At(10, [&] { ran.push_back(1); });
  events.At(20, [&] { ran.push_back(2); });
  while (events.RunOne()) {
  }
  EXPECT_THAT(ran, ElementsAre(1, 2, 3));
  EXPECT_EQ(events.now(), 30);
  EXPECT_EQ(events.executed(), 3u);
}

TEST(EventQueueTest, EventsOfOneMomentRunInTheOrderScheduled) {
  EventQueue events;
  std::vector<int> ran;
  for (int i = 0; i < 100; ++i) events.At(5, [&ran, i] { ran.push_back(i); });
  while (events.RunOne()) {
  }
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ran[static_cast<size_t>(i)], i);
}

TEST(EventQueueTest, AnEventForThePastRunsNowAndAfterThoseAlreadyDue) {
  EventQueue events;
  std::vector<int> ran;
  events.At(10, [&] {
    events.At(3, [&] { ran.push_back(2); });
    ran.push_back(1);
  });
  events.At(10, [&] { ran.push_back(9); });
  while (events.RunOne()) {
  }
  EXPECT_THAT(ran, ElementsAre(1, 9, 2));
  EXPECT_EQ(events.now(), 10);
}

}  // namespace
}  // namespace flotilla::sim
