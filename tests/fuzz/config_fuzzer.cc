// Arbitrary bytes as a configuration file: refused with reasons, or read; what was read is printed and reads as the same.
#include "server/config/load.h"
#include "server/config/print.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla::config;

FLOTILLA_FUZZ(input) {
  const Environment host{.variables = {}, .hostname = "host"};
  const LoadedConfig loaded = ParseConfig("f.yaml", input, host);
  CHECK_EQ(loaded.settings.size(), Keys().size());
  for (const ConfigError& problem : loaded.problems) CHECK(!problem.ToString().empty());
  if (!loaded.ok()) return;
  const LoadedConfig again = ParseConfig("f.yaml", PrintConfig(loaded), host);
  CHECK(again.ok()) << again.problems.front().ToString() << "\n" << PrintConfig(loaded);
  CHECK(again.config == loaded.config) << PrintConfig(loaded);
}
