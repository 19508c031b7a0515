// flotilla-sim: runs seeds, and says which one breaks a rule, where, and how to repeat it.
//
//   flotilla-sim --seed 17 [--trace]
//   flotilla-sim --seeds 1..1000 [--jobs 2]
//   flotilla-sim --minutes 60 [--from 1] [--jobs 2] [--coverage]
#include "tests/sim/command_line.h"
#include "tests/sim/simulation.h"

namespace flotilla::sim {
namespace {

Subject RaftSubject() {
  Subject subject{.program = "flotilla-sim", .expected = {}, .run = {}, .print_under_way = PrintRunUnderWay};
  for (size_t i = 0; i < kMetCount; ++i) subject.expected.emplace_back(MetName(static_cast<Met>(i)));
  subject.run = [](uint64_t seed, const Excerpt& excerpt, Trace::Mode mode, std::ostream* out) {
    RunResult result = RunSeed(seed, {.mode = mode, .out = out, .excerpt = excerpt});
    SeedReport report{.failure = std::move(result.failure),
                      .trace_hash = result.trace_hash,
                      .events = result.events,
                      .virtual_time = result.virtual_time,
                      .tally = {},
                      .parts = std::move(result.parts),
                      .hurt_for = result.hurt_for};
    for (size_t i = 0; i < kMetCount; ++i) report.tally.Add(MetName(static_cast<Met>(i)), result.coverage.Of(static_cast<Met>(i)));
    return report;
  };
  return subject;
}

}  // namespace
}  // namespace flotilla::sim

int main(int argc, char** argv) { return flotilla::sim::RunCommand(flotilla::sim::RaftSubject(), argc, argv); }
