#!/bin/sh
# Runs every benchmark that was built, one after the other, and prints their tables.
#
#   tests/bench/run.sh [BUILD_DIRECTORY] [--json]
#
# Benchmarks are the executables named *_bench. They report and never fail on a time; nothing else should run meanwhile. How many
# ran and how many could not is the last line, and not among the tables (standard error).
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build/release
case ${1-} in
  '' | --*) ;;
  *) build=$1 && shift ;;
esac

found=$(find "$build" -type f -name '*_bench' -perm -u+x | sort)
if [ -z "$found" ]; then
  echo "no benchmark in $build; build first: cmake --preset release && cmake --build --preset release" >&2
  exit 1
fi
cd "$build" # so that what they write lies on the disk of the build
echo "$(nproc) cores, $(uname -sr), $(date -u +%FT%TZ)" >&2
passed=0
failed=0
for bench in $found; do
  echo "== ${bench##*/}" >&2
  if "$bench" "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed" >&2
[ "$failed" -eq 0 ]
