#include "raft/node/timer_wheel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "storage/base/random.h"

namespace flotilla::raft {
namespace {

using testing::ElementsAre;

struct NamedTimer : Timer {
  explicit NamedTimer(int timer_name) : name(timer_name) {}
  int name;
};

class TimerWheelTest : public testing::Test {
 protected:
  // The names of those that fire on the way to `now`.
  std::vector<int> AdvanceTo(Tick now) {
    std::vector<int> fired;
    wheel.AdvanceTo(now, [&](Timer& timer) { fired.push_back(static_cast<NamedTimer&>(timer).name); });
    return fired;
  }
  TimerWheel wheel{0};
  NamedTimer a{1}, b{2}, c{3};
};

TEST_F(TimerWheelTest, ATimerFiresOnceInItsTick) {
  wheel.Schedule(a, 3);
  EXPECT_EQ(a.due(), 3u);
  EXPECT_THAT(AdvanceTo(2), ElementsAre());
  EXPECT_THAT(AdvanceTo(3), ElementsAre(1));
  EXPECT_EQ(a.due(), kNever);
  EXPECT_THAT(AdvanceTo(1000), ElementsAre());
}

TEST_F(TimerWheelTest, TimersOfATickFireInTheOrderInWhichTheyWereSet) {
  wheel.Schedule(b, 5);
  wheel.Schedule(a, 5);
  wheel.Schedule(c, 4);
  EXPECT_THAT(AdvanceTo(10), ElementsAre(3, 2, 1));
}

TEST_F(TimerWheelTest, ATimerThatIsSetAgainForgetsItsFirstTime) {
  wheel.Schedule(a, 3);
  wheel.Schedule(a, 6);
  EXPECT_THAT(AdvanceTo(5), ElementsAre());
  EXPECT_THAT(AdvanceTo(6), ElementsAre(1));
}

TEST_F(TimerWheelTest, ACancelledTimerDoesNotFire) {
  wheel.Schedule(a, 3);
  wheel.Schedule(b, 3);
  wheel.Cancel(a);
  wheel.Schedule(c, 3);
  wheel.Schedule(c, kNever);
  EXPECT_THAT(AdvanceTo(10), ElementsAre(2));
}

TEST_F(TimerWheelTest, ATimerOfALaterTurnOfTheWheelWaits) {
  wheel.Schedule(a, 256 * 3 + 7);
  wheel.Schedule(b, 7);
  EXPECT_THAT(AdvanceTo(256 * 3 + 6), ElementsAre(2));
  EXPECT_THAT(AdvanceTo(256 * 3 + 7), ElementsAre(1));
}

TEST_F(TimerWheelTest, ATimerMaySetItselfAgainAndCancelItsNeighbour) {
  wheel.Schedule(a, 2);
  wheel.Schedule(b, 2);
  int fired = 0;
  wheel.AdvanceTo(5, [&](Timer& timer) {
    EXPECT_EQ(&timer, &a);
    wheel.Cancel(b);
    if (++fired < 3) wheel.Schedule(timer, static_cast<Tick>(2 + fired));
  });
  EXPECT_EQ(fired, 3);
}

TEST_F(TimerWheelTest, ATimerThatDiesIsCancelled) {
  auto dies = std::make_unique<NamedTimer>(9);
  wheel.Schedule(*dies, 3);
  wheel.Schedule(a, 3);
  dies.reset();
  EXPECT_THAT(AdvanceTo(3), ElementsAre(1));
}

TEST_F(TimerWheelTest, BehavesAsASortedList) {
  Random random(7);
  std::vector<std::unique_ptr<NamedTimer>> timers;
  for (int i = 0; i < 50; ++i) timers.push_back(std::make_unique<NamedTimer>(i));
  std::map<int, Tick> expected;
  for (Tick now = 1; now < 3000; ++now) {
    for (int i = 0; i < 3; ++i) {
      const int name = static_cast<int>(random.Below(timers.size()));
      const Tick due = random.OneIn(5) ? kNever : now + random.Between(0, random.OneIn(10) ? 1000 : 40);
      wheel.Schedule(*timers[static_cast<size_t>(name)], due);
      expected[name] = due;
    }
    std::vector<int> fired = AdvanceTo(now);
    std::sort(fired.begin(), fired.end());
    std::vector<int> due_now;
    for (auto& [name, due] : expected) {
      if (due == now) due_now.push_back(name);
    }
    for (int name : due_now) expected[name] = kNever;
    ASSERT_EQ(fired, due_now) << "tick " << now;
  }
}

}  // namespace
}  // namespace flotilla::raft
