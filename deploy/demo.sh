#!/usr/bin/env bash
# Shows Flotilla at work on this machine: three nodes, one killed while lines of real files are written; then everything
# is read back and compared byte for byte. Exit status 0: nothing was lost, nothing is there twice.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly DAEMON=$ROOT/build/release/server/flotillad
readonly CLI=$ROOT/build/release/client/cli/flotilla
readonly EXAMPLES=$ROOT/client/examples/python
readonly PYTHON=/usr/bin/python3 # another python3 on the PATH may not see Debian's gRPC
readonly RECORDS_MIN=10000 RECORDS_ENOUGH=20000 SHIP_SECONDS=8
# shellcheck source=deploy/packages.sh
. "$ROOT/deploy/packages.sh"

usage() {
  cat <<'TXT'
usage: deploy/demo.sh          three nodes on free ports of this machine; all is gone afterwards
       KEEP=1 deploy/demo.sh   leaves the nodes running, and says how to stop them

Installs missing Debian packages and builds first (some minutes, once); the demonstration takes half a minute.
TXT
}

# ---- Saying what happens ---------------------------------------------------------------------------------------------

started_at=${EPOCHREALTIME/[.,]/}
say() {
  local ms=$(((${EPOCHREALTIME/[.,]/} - started_at) / 1000))
  printf '[%4d.%d s] %s\n' $((ms / 1000)) $((ms % 1000 / 100)) "$*"
}

# step TEXT COMMAND...: says what begins, and when it failed.
step() {
  local text=$1
  shift
  say "$text"
  "$@" || { say "$text: failed"; return 1; }
}

# fail TEXT...: what went wrong and what to do about it.
fail() {
  printf 'deploy/demo.sh: %s\n' "$@" >&2
  exit 1
}

# ---- Nodes: number 1 to 3; their pids by number ----------------------------------------------------------------------

declare -A pids=()
ship_pid=
work=

client_port() { echo "${ports[$1 * 3 - 3]}"; }
peer_port() { echo "${ports[$1 * 3 - 2]}"; }
http_port() { echo "${ports[$1 * 3 - 1]}"; }
address() { echo "127.0.0.1:$(client_port "$1")"; }

free_ports() {
  "$PYTHON" - <<'PY'
import random, socket
# Below those that the kernel gives to whoever asks for any; all at once, so that none comes twice.
first_of_kernel = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
sockets = []
while len(sockets) < 9:
    try:
        sockets.append(socket.create_server(("127.0.0.1", random.randrange(10_000, first_of_kernel) if first_of_kernel > 20_000 else 0)))
    except OSError:
        pass  # somebody listens there
print(*(s.getsockname()[1] for s in sockets))
PY
}

write_config() {
  local node=$1
  mkdir "$work/node$node"
  cat >"$work/node$node.yaml" <<YAML
node:
  name: node$node
  data_dir: $work/node$node
cluster:
  name: demo
  seeds: [127.0.0.1:$(peer_port 1), 127.0.0.1:$(peer_port 2), 127.0.0.1:$(peer_port 3)]
listen:
  client: $(address "$node")
  peer: 127.0.0.1:$(peer_port "$node")
  http: 127.0.0.1:$(http_port "$node")
YAML
}

# A session of its own: what is left running outlives this terminal.
start_node() {
  local node=$1
  setsid "$DAEMON" --config "$work/node$node.yaml" >>"$work/node$node.log" 2>&1 </dev/null &
  pids[$node]=$!
  echo "${pids[*]}" >"$work/pids"
}

wait_until_it_listens() {
  local node=$1 attempt
  for ((attempt = 0; attempt < 100; ++attempt)); do
    if (: <"/dev/tcp/127.0.0.1/$(client_port "$node")") 2>/dev/null; then return; fi
    kill -0 "${pids[$node]}" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 5 "$work/node$node.log" >&2
  fail "node $node does not listen on $(address "$node"); its last words are above." \
    "If another program took the port in this moment, run the demonstration again."
}

# ---- The way out -----------------------------------------------------------------------------------------------------

stop_all() {
  local pid attempt
  for pid in $ship_pid "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for ((attempt = 0; attempt < 50; ++attempt)); do
    # shellcheck disable=SC2086 # no ship_pid is no word
    kill -0 $ship_pid "${pids[@]}" 2>/dev/null || break
    sleep 0.1
  done
  { # the last ones have nobody to hand over to, and would wait; bash would say that they were killed
    for pid in $ship_pid "${pids[@]}"; do kill -KILL "$pid" || true; done
    wait || true
  } 2>/dev/null
}

leave() {
  local status=$?
  trap - EXIT INT TERM
  if ((status == 0)) && [ -n "${KEEP:-}" ]; then
    say "the nodes go on; stop them with: kill ${pids[*]}; rm -rf $work"
    exit 0
  fi
  if ((status != 0)) && [ -n "$work" ]; then
    local log
    for log in "$work"/*.log; do
      if [ -s "$log" ]; then
        printf -- '--- the end of %s\n' "${log##*/}"
        tail -n 8 "$log"
      fi >&2
    done
  fi
  if ((${#pids[@]} > 0)); then stop_all; fi
  [ -z "$work" ] || rm -rf "$work"
  exit "$status"
}

look_for_leftovers() {
  local old pid alive known
  for old in "${TMPDIR:-/tmp}"/flotilla-demo.*; do
    [ -d "$old" ] || continue
    alive=() known=()
    read -r -a known 2>/dev/null <"$old/pids" || true
    for pid in "${known[@]}"; do
      if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = flotillad ]; then alive+=("$pid"); fi
    done
    if ((${#alive[@]} > 0)); then
      say "an earlier demonstration still runs; it does not disturb. To stop it: kill ${alive[*]}; rm -rf $old"
    else
      say "an earlier demonstration left $old; it does not disturb. To remove it: rm -rf $old"
    fi
  done
}

# ---- What is shipped -------------------------------------------------------------------------------------------------

# Readable text files of this machine, as a list that ends each name with NUL.
text_files() {
  find /var/log /usr/share/common-licenses /usr/share/perl /usr/share/doc /etc/services -xdev -follow -type f \
    -readable -size -2048k ! -name '*.gz' -print0 2>/dev/null || true
}

# Copies files until there are enough lines: originals may grow while they are shipped. Fills `files` and `lines`.
collect_files() {
  local file count
  files=() lines=0
  mkdir "$work/files"
  while IFS= read -r -d '' file; do
    grep -Iq . "$file" 2>/dev/null || continue                      # text, and not empty
    (($(wc -L <"$file") <= 65536)) || continue                      # a line is a record
    cp -L --parents "$file" "$work/files" 2>/dev/null || continue
    count=$(wc -l <"$work/files$file")
    files+=("${file#/}") lines=$((lines + count))
    ((lines < RECORDS_ENOUGH)) || break
  done < <(text_files)
  ((lines >= RECORDS_MIN)) ||
    fail "only $lines lines of text under /var/log and /usr/share, not $RECORDS_MIN; apt-get install perl-modules-5.36"
}

acknowledged() { sed -n 's/^acknowledged \([0-9]*\) of .*/\1/p' "$work/ship.log" | tail -n 1; }

# field NAME FILE: a number out of the JSON in the file's last line.
field() { tail -n 1 "$2" | "$PYTHON" -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }

# ---- Main ------------------------------------------------------------------------------------------------------------

case ${1:-} in
  '') ;;
  -h | --help) usage; exit ;;
  *) usage >&2; exit 2 ;;
esac
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

ensure_packages "${BUILD_PACKAGES[@]}" "${PYTHON_PACKAGES[@]}"
"$PYTHON" -c 'import grpc, google.protobuf' 2>/dev/null ||
  fail "$PYTHON has no gRPC; install it with: apt-get install ${PYTHON_PACKAGES[*]}"
cd "$ROOT"
mkdir -p build
say "build (the first time takes minutes)"
cmake --preset release >build/release.configure.log 2>&1 ||
  { cat build/release.configure.log >&2; fail "cmake failed; what it said is above"; }
cmake --build --preset release --target flotillad flotilla >build/demo.build.log 2>&1 ||
  { tail -n 30 build/demo.build.log >&2; fail "the build failed; all it said is in build/demo.build.log"; }

started_at=${EPOCHREALTIME/[.,]/} # what follows is the demonstration
look_for_leftovers
work=$(mktemp -d "${TMPDIR:-/tmp}/flotilla-demo.XXXXXX")
step "generate Python clients from the protos" "$EXAMPLES/generate.sh" "$work/stubs"
export PYTHONPATH=$work/stubs PYTHONDONTWRITEBYTECODE=1

read -r -a ports <<<"$(free_ports)"
say "start three nodes: $(address 1) $(address 2) $(address 3), data in $work"
for node in 1 2 3; do write_config "$node"; done
for node in 1 2 3; do start_node "$node"; done
for node in 1 2 3; do wait_until_it_listens "$node"; done
step "make a cluster of them: flotilla cluster init" "$CLI" -b "$(address 1)" cluster init
"$CLI" -b "$(address 1)" --timeout 30s cluster health --watch --exit-when-healthy >"$work/health.log" 2>&1 ||
  fail "the cluster does not become healthy"
step "create topic logs: 3 partitions, 3 replicas" \
  "$CLI" -b "$(address 1)" topic create logs -p 3 -r 3

collect_files
say "ship $lines lines of ${#files[@]} files of this machine through node 1, in about $SHIP_SECONDS s"
cd "$work/files"
brokers=$(address 1),$(address 2),$(address 3)
"$PYTHON" "$EXAMPLES/ship.py" --brokers "$brokers" --topic logs --records-per-second $((lines / SHIP_SECONDS)) \
  "${files[@]}" >"$work/ship.json" 2>"$work/ship.log" &
ship_pid=$!
while (($(acknowledged || true) + 0 < lines / 2)); do
  kill -0 "$ship_pid" 2>/dev/null || fail "ship.py ended early"
  sleep 0.05
done

leader=$("$PYTHON" "$EXAMPLES/leaders.py" "$(address 2)" logs 0)
victim=0
for node in 1 2 3; do if [ "$leader" = "$(address "$node")" ]; then victim=$node; fi; done
((victim > 0)) || fail "partition 0 is led by '$leader', which is none of the three nodes"
say "kill -9 node $victim, the leader of partition 0, after $(acknowledged) records were acknowledged"
{ # bash would say that its child was killed
  kill -9 "${pids[$victim]}"
  wait "${pids[$victim]}" || true
} 2>/dev/null
sleep 3
say "start node $victim again"
start_node "$victim"
wait "$ship_pid" || fail "ship.py failed"
ship_pid=
gap_ms=$(field longest_gap_without_ack_ms "$work/ship.json")
say "all $(field records "$work/ship.json") lines are acknowledged; longest time without an acknowledgement: $gap_ms ms"
wait_until_it_listens "$victim"

reader=$((victim % 3 + 1))
if ((reader == 1)); then reader=2; fi
if ((reader == victim)); then reader=3; fi
say "read everything through node $reader and compare it with the files"
status=0
"$PYTHON" "$EXAMPLES/rebuild.py" --brokers "$(address "$reader"),$brokers" --topic logs "${files[@]}" \
  >"$work/rebuild.json" 2>"$work/rebuild.log" || status=$?
[ -s "$work/rebuild.json" ] || fail "rebuild.py failed"
say "$(field records "$work/rebuild.json") records: $(field lost "$work/rebuild.json") lost, \
$(field duplicated "$work/rebuild.json") duplicated, $(field out_of_order "$work/rebuild.json") out of order, \
$(field files_different "$work/rebuild.json") of ${#files[@]} files different"
((status == 0)) || fail "that should be 0 everywhere: $(cat "$work/rebuild.json")"

if [ -z "${KEEP:-}" ]; then
  say "done; KEEP=1 deploy/demo.sh leaves the nodes running, for you to try things"
  exit 0
fi
cat <<TXT

Next things to try:
  $CLI -b $(address 1) cluster health
  $CLI -b $(address 1) partition list logs
  kill -9 ${pids[3]}; $DAEMON --config $work/node3.yaml     # node 3 dies and comes back
  export PYTHONPATH=$PYTHONPATH
  $EXAMPLES/hello.py $(address 1) logs
TXT
