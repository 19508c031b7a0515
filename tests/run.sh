#!/usr/bin/env bash
# Builds Flotilla and runs one set of its tests. On a fresh Debian 12 it installs what is missing first; once that is done
# it needs no network. The last line is `N passed, N failed`, and the exit status agrees with it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TXT'
usage: tests/run.sh [--label SET] [--jobs N]

  --label SET   which tests to run (default: unit)
                  unit     what every change must pass, in the release build: small tests by the thousand, simulators, real nodes
                  asan     the same under AddressSanitizer and UndefinedBehaviorSanitizer
                  tsan     the same under ThreadSanitizer
                  sim      whole clusters in one thread, thousands of seeds
                  crash    processes that are killed while they write
                  torture  real nodes, killed, frozen, cut off and filled up for 20 minutes (links and disks only as root)
                  abuse    real nodes and clients that want too much, take too long, or mean harm
                  deploy   three machines with systemd, as containers: the package, power cuts, full disks (root)
                  fuzz     every fuzzer for 30 seconds (clang 14)
                  mutants  break the code on purpose; a test must notice
                  bench    benchmarks: they report, they gate nothing
                  all      all of these, one after the other, with a total
  --jobs N      how many compilers and tests run at once (default: one per processor)
  --help        this text
TXT
}

readonly SETS=(unit asan tsan sim crash torture abuse deploy fuzz mutants bench)
readonly FUZZ_PACKAGES=(clang-14 libclang-rt-14-dev llvm-14) # llvm-14: names instead of addresses in reports

say() { printf '==> %s\n' "$*"; }
refuse() {
  printf 'tests/run.sh: %s\n\n' "$*" >&2
  usage >&2
  exit 2
}

# step TEXT COMMAND...: says what begins, and how long it took.
step() {
  local text=$1 start=$SECONDS status=0
  shift
  say "$text"
  "$@" || status=$?
  if ((status == 0)); then say "$text: $((SECONDS - start)) s"; else say "$text: failed after $((SECONDS - start)) s"; fi
  return "$status"
}

# shellcheck source=deploy/packages.sh
. deploy/packages.sh # ensure_packages, BUILD_PACKAGES, PYTHON_PACKAGES

# ---- Sets: each leaves its result in $passed, $failed and $skipped ----------------------------------------------------

build() {
  local preset=$1
  step "configure $preset" configure "$preset" &&
    step "build $preset" cmake --build --preset "$preset" --parallel "$jobs"
}

configure() {
  local log=build/$1.configure.log # a successful configuration is twenty lines nobody reads
  mkdir -p build
  cmake --preset "$1" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
}

# ctest_set BUILD_PRESET TEST_PRESET
ctest_set() {
  build "$1" || { failed=1; return; }
  local junit=$PWD/build/$1/$2.xml status=0
  rm -f "$junit"
  step "test $2" "${personality[@]}" ctest --preset "$2" --parallel "$jobs" --output-junit "$junit" || status=$?
  if [ -e "$junit" ]; then
    passed=$(cases run "$junit")
    failed=$(cases fail "$junit")
    skipped=$(($(cases notrun "$junit") + $(cases disabled "$junit")))
  fi
  # A program that cannot list its tests, or a test that could not start, is a failure that no test case reports. A set
  # without any test is one too: it would be green for ever.
  if ((status != 0 && failed == 0)); then failed=1; fi
}

# How many test cases have this status in a JUnit file of ctest.
cases() { grep -cE "^[[:space:]]*<testcase name=.* status=\"$1\">" "$2" || true; }

# script_set SCRIPT: a set that has a runner of its own, which ends in a line like ours.
script_set() {
  local script=$1 log=build/${1//\//-}.log status=0 line
  if [ ! -x "$script" ]; then
    say "$script does not exist, or is not executable"
    failed=1
    return
  fi
  mkdir -p build
  step "$script" run_logged "$log" "$script" || status=$?
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1) || true
  if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)? ]]; then
    passed=${BASH_REMATCH[1]} failed=${BASH_REMATCH[2]} skipped=${BASH_REMATCH[4]:-0}
  else
    say "$script ended without a line 'N passed, N failed'"
    failed=1
  fi
  if ((status != 0 && failed == 0)); then failed=1; fi
}

# All but the runner's own result line, which is ours to print, at the end.
run_logged() {
  local log=$1
  shift
  JOBS=$jobs CMAKE_BUILD_PARALLEL_LEVEL=$jobs "$@" 2>&1 | tee "$log" |
    { grep --line-buffered -vE '^[0-9]+ passed, [0-9]+ failed' || true; }
}

run_set() {
  case $1 in
    fuzz) ensure_packages "${BUILD_PACKAGES[@]}" "${PYTHON_PACKAGES[@]}" "${FUZZ_PACKAGES[@]}" || { failed=1; return; } ;;
    deploy)
      ensure_packages "${BUILD_PACKAGES[@]}" "${PYTHON_PACKAGES[@]}" "${DEPLOY_TEST_PACKAGES[@]}" "${PACKAGING_PACKAGES[@]}" ||
        { failed=1; return; }
      ;;
    unit) ensure_packages "${BUILD_PACKAGES[@]}" "${PYTHON_PACKAGES[@]}" "${DEPLOY_CHECK_PACKAGES[@]}" || { failed=1; return; } ;;
    *) ensure_packages "${BUILD_PACKAGES[@]}" "${PYTHON_PACKAGES[@]}" || { failed=1; return; } ;;
  esac
  local personality=()
  case $1 in
    unit) ctest_set release release ;;
    asan) ctest_set asan asan ;;
    tsan)
      # ThreadSanitizer of GCC 12 wants its memory layout; some kernels randomise more than it can cope with.
      if setarch -R true 2>/dev/null; then personality=(setarch -R); fi
      ctest_set tsan tsan
      ;;
    sim | crash | torture | abuse | deploy) ctest_set release "$1" ;;
    fuzz)
      export ASAN_SYMBOLIZER_PATH=${ASAN_SYMBOLIZER_PATH:-/usr/bin/llvm-symbolizer-14}
      ctest_set fuzz fuzz
      ;;
    mutants) script_set tests/mutants/run.sh ;;
    bench) if build release; then script_set tests/bench/run.sh; else failed=1; fi ;;
  esac
}

# ---- Main -----------------------------------------------------------------------------------------------------------

label=unit
jobs=$(nproc)
while (($# > 0)); do
  case $1 in
    --help | -h) usage; exit ;;
    --label | --jobs)
      (($# > 1)) || refuse "option '$1' needs a value"
      if [ "$1" = --label ]; then label=$2; else jobs=$2; fi
      shift 2
      ;;
    *) refuse "unknown option '$1'" ;;
  esac
done
[[ $jobs =~ ^[1-9][0-9]*$ ]] || refuse "--jobs is '$jobs'; use a number from 1"
case " ${SETS[*]} all " in
  *" $label "*) ;;
  *) refuse "unknown label '$label'; use one of: ${SETS[*]} all" ;;
esac

total_passed=0 total_failed=0 total_skipped=0
selected=("$label")
if [ "$label" = all ]; then selected=("${SETS[@]}"); fi
for set in "${selected[@]}"; do
  passed=0 failed=0 skipped=0
  run_set "$set"
  if [ "$label" = all ]; then say "set $set: $passed passed, $failed failed, $skipped skipped"; fi
  total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed)) total_skipped=$((total_skipped + skipped))
done

tail=""
if ((total_skipped > 0)); then tail=", $total_skipped skipped"; fi
echo "$total_passed passed, $total_failed failed$tail"
((total_failed == 0))
