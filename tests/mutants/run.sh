#!/usr/bin/env bash
# Plants known bugs, one at a time, and shows that the tests find each of them. A bug that nobody finds, or a patch that no longer
# applies, is a failure. See README.md.
#
#   tests/mutants/run.sh                 all of them
#   tests/mutants/run.sh vote broker/    those whose names contain one of the words
#   tests/mutants/run.sh --list          what there is
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
work=$top/build/mutants
jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
sim_seeds=${MUTANT_SIM_SEEDS:-1..400}
broker_seeds=${MUTANT_BROKER_SEEDS:-1..1000}
limit_seconds=${MUTANT_LIMIT_SECONDS:-240}

field() { sed -n "s/^$1: *//p" "$2" | head -n 1; }
selected=()
name_of() { # patch: "old_term_commit", "broker/disk_error_ignored"
  local name=${1#"$here"/}
  echo "${name%.patch}"
}
for patch in "$here"/*.patch "$here"/*/*.patch; do
  name=$(name_of "$patch")
  if [ "${1:-}" = --list ]; then
    printf '%-44s %s\n' "$name" "$(field Bug "$patch")"
    continue
  fi
  if [ $# -eq 0 ]; then
    selected+=("$patch")
    continue
  fi
  for word in "$@"; do
    if [[ $name == *"$word"* ]]; then
      selected+=("$patch")
      break
    fi
  done
done
[ "${1:-}" = --list ] && exit 0
if [ ${#selected[@]} -eq 0 ]; then
  echo "mutants: no patch has one of these in its name: $*; --list shows them" >&2
  exit 2
fi

# A copy of the tree that this script alone changes. Files keep their times, so that a second run builds little.
mkdir -p "$work/src"
(cd "$top" && git ls-files -z --cached --others --exclude-standard) |
  (cd "$top" && xargs -0 -I{} sh -c '[ -e "$1" ] && printf "%s\0" "$1"' sh {}) > "$work/files"
(cd "$top" && tar --null -T "$work/files" -cf -) | tar -C "$work/src" --keep-newer-files -xf - 2> /dev/null || true
# --keep-newer-files leaves what an interrupted run had patched: put those back for certain.
(cd "$top" && while IFS= read -r -d '' file; do cmp -s "$file" "$work/src/$file" || cp -p "$file" "$work/src/$file"; done < "$work/files")

build() { # target...
  cmake --build "$work/tree" --parallel "$jobs" --target "$@" > "$work/build.log" 2>&1
}
# Each probe is a program of the tests; it finds the bug by failing. Usage: probe NAME LOG
probe() {
  case $1 in
    scenarios) timeout "$limit_seconds" "$work/tree/tests/raft/raft_scenarios" --gtest_brief=1 ;;
    sim) timeout "$limit_seconds" "$work/tree/tests/sim/flotilla-sim" --seeds "$sim_seeds" --jobs "$jobs" --failures 1 --shrink 0 ;;
    brokersim)
      timeout "$limit_seconds" "$work/tree/tests/sim/broker/flotilla-broker-sim" --seeds "$broker_seeds" --jobs "$jobs" --failures 1 --shrink 0
      ;;
    *) timeout "$limit_seconds" "$(find "$work/tree/tests" -name "$1" -type f -perm -u+x)" --gtest_brief=1 ;;
  esac > "$2" 2>&1
}
targets_of() { # probe...
  for one in "$@"; do
    case $one in
      scenarios) echo raft_scenarios ;;
      sim) echo flotilla-sim ;;
      brokersim) echo flotilla-broker-sim ;;
      *) echo "$one" ;;
    esac
  done
}
shown_by() { # probe log: the line that says what was seen
  grep -m 1 -E 'invariant|Check failed|expect|FAILED|Failure|: error' "$2" | sed 's/^ *//' | cut -c 1-160
}

probes_of() {
  local probes
  probes=$(field Found-by "$1")
  echo "${probes:-scenarios sim}"
}

all_probes=$(for patch in "${selected[@]}"; do probes_of "$patch"; done | tr ' ' '\n' | sort -u)
echo "mutants: building the unchanged tree ($jobs jobs)"
cmake -S "$work/src" -B "$work/tree" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo > "$work/configure.log" 2>&1 || {
  tail -n 20 "$work/configure.log" >&2
  echo "0 passed, 1 failed"
  exit 1
}
# shellcheck disable=SC2046,SC2086
build $(targets_of $all_probes) || {
  tail -n 30 "$work/build.log" >&2
  echo "0 passed, 1 failed"
  exit 1
}
for one in $all_probes; do
  if ! probe "$one" "$work/unchanged.log"; then
    tail -n 20 "$work/unchanged.log" >&2
    echo "mutants: '$one' fails on the unchanged tree: mend that first" >&2
    echo "0 passed, 1 failed"
    exit 1
  fi
done

passed=0
failed=0
undo() { patch -s -R -p1 -d "$work/src" < "$1" > /dev/null; }
for patch in "${selected[@]}"; do
  name=$(name_of "$patch")
  log=$work/${name//\//.}
  started=$(date +%s)
  if ! patch -s -p1 --dry-run -d "$work/src" < "$patch" > "$work/patch.log" 2>&1; then
    printf '%-44s NOT APPLICABLE  %s\n' "$name" "$(head -n 1 "$work/patch.log")"
    failed=$((failed + 1))
    continue
  fi
  patch -s -p1 -d "$work/src" < "$patch"
  probes=$(probes_of "$patch")
  found=""
  # shellcheck disable=SC2046,SC2086
  if ! build $(targets_of $probes); then
    undo "$patch"
    printf '%-44s DOES NOT BUILD  %s\n' "$name" "$(grep -m 1 'error:' "$work/build.log" | cut -c 1-110)"
    failed=$((failed + 1))
    continue
  fi
  for one in $probes; do
    status=0
    probe "$one" "$log.$one.log" || status=$?
    # Running out of time is no finding: a bug has to show itself.
    if [ "$status" -ne 0 ] && [ "$status" -ne 124 ]; then
      found=$one
      break
    fi
  done
  undo "$patch"
  if [ -n "$found" ]; then
    printf '%-44s found by %-10s %3ds  %s\n' "$name" "$found" $(($(date +%s) - started)) "$(shown_by "$found" "$log.$found.log")"
    passed=$((passed + 1))
  else
    printf '%-44s NOT FOUND by %s\n' "$name" "$probes"
    failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
