// flotilla-broker-sim: whole brokers, clients and operators in one thread; which seed breaks a rule, where, and how to repeat it.
//
//   flotilla-broker-sim --seed 17 [--trace]
//   flotilla-broker-sim --seeds 1..1000 [--jobs 2]
//   flotilla-broker-sim --minutes 60 [--from 1] [--jobs 2] [--coverage]
#include "tests/sim/broker/simulation.h"
#include "tests/sim/broker/world.h"
#include "tests/sim/command_line.h"

namespace flotilla::sim::broker {
namespace {

Subject BrokerSubject() {
  return {.program = "flotilla-broker-sim",
          .expected = ExpectedMet(),
          .run =
              [](uint64_t seed, const Excerpt& excerpt, Trace::Mode mode, std::ostream* out) {
                RunResult result = RunSeed(seed, {.mode = mode, .out = out, .excerpt = excerpt});
                return SeedReport{.failure = std::move(result.failure),
                                  .trace_hash = result.trace_hash,
                                  .events = result.events,
                                  .virtual_time = result.virtual_time,
                                  .tally = std::move(result.tally),
                                  .parts = std::move(result.parts),
                                  .hurt_for = result.hurt_for};
              },
          .print_under_way = PrintRunUnderWay};
}

}  // namespace
}  // namespace flotilla::sim::broker

int main(int argc, char** argv) { return flotilla::sim::RunCommand(flotilla::sim::broker::BrokerSubject(), argc, argv); }
