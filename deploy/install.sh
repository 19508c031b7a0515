#!/usr/bin/env bash
# Installs Flotilla on this machine from a build tree; the package does the same (deploy/package.sh) and is the better way where
# there is dpkg. Again: updates. Nothing is started. Data and configuration are never touched.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT

usage() {
  cat <<'TXT'
usage: deploy/install.sh [--build-dir DIR] [--stage DIR]
       deploy/install.sh --uninstall [--stage DIR]

  --build-dir DIR   where flotillad and flotilla were built (default: build/release)
  --stage DIR       install under DIR, for a package: no user is made, systemd is not told
  --uninstall       remove what was installed; /etc/flotilla and /var/lib/flotilla stay
TXT
}
fail() {
  printf 'deploy/install.sh: %s\n' "$*" >&2
  exit 1
}

build=$ROOT/build/release stage='' uninstall=
while (($# > 0)); do
  case $1 in
    --build-dir | --stage)
      (($# > 1)) || { usage >&2; exit 2; }
      if [ "$1" = --stage ]; then stage=$(realpath -m "$2"); else build=$(realpath -m "$2"); fi
      shift 2
      ;;
    --uninstall) uninstall=1; shift ;;
    -h | --help) usage; exit ;;
    *) usage >&2; exit 2 ;;
  esac
done

readonly UNITS=/lib/systemd/system
readonly SHARE=/usr/share/flotilla
readonly MADE='@made' # marks files that are made from the programs

# Mode, source, destination: everything that is installed, for package and script alike.
files() {
  echo "755 $build/server/flotillad /usr/bin/flotillad"
  echo "755 $build/client/cli/flotilla /usr/bin/flotilla"
  echo "644 $ROOT/deploy/systemd/flotilla.service $UNITS/flotilla.service"
  echo "644 $ROOT/deploy/systemd/flotilla@.service $UNITS/flotilla@.service"
  echo "644 $ROOT/deploy/sysusers.d/flotilla.conf /usr/lib/sysusers.d/flotilla.conf"
  echo "644 $ROOT/deploy/tmpfiles.d/flotilla.conf /usr/lib/tmpfiles.d/flotilla.conf"
  [ -n "$uninstall" ] || echo "644 $ROOT/deploy/default/flotilla /etc/default/flotilla"
  echo "644 $MADE/bash /usr/share/bash-completion/completions/flotilla"
  echo "644 $MADE/zsh /usr/share/zsh/vendor-completions/_flotilla"
  echo "644 $MADE/fish /usr/share/fish/vendor_completions.d/flotilla.fish"
  echo "644 $MADE/flotilla.1 /usr/share/man/man1/flotilla.1"
  echo "644 $MADE/flotillad.8 /usr/share/man/man8/flotillad.8"
  echo "644 $MADE/flotilla.yaml.5 /usr/share/man/man5/flotilla.yaml.5"
  echo "644 $ROOT/deploy/flotilla.yaml $SHARE/flotilla.yaml"
  echo "644 $ROOT/deploy/RUNBOOK.md $SHARE/RUNBOOK.md"
  echo "644 $ROOT/deploy/sysctl.d/60-flotilla.conf $SHARE/60-flotilla.conf"
  local file
  for file in README.md node1.yaml node2.yaml node3.yaml; do
    echo "644 $ROOT/deploy/example-3node/$file $SHARE/example-3node/$file"
  done
  for file in scrape.yml alerts.yml; do echo "644 $ROOT/deploy/prometheus/$file $SHARE/prometheus/$file"; done
  echo "644 $ROOT/deploy/grafana/flotilla.json $SHARE/grafana/flotilla.json"
  for file in "$ROOT"/proto/flotilla/v1/*.proto; do echo "644 $file $SHARE/proto/flotilla/v1/${file##*/}"; done
}

make_files() {
  "$ROOT/deploy/man/make.py" "$build/server/flotillad" "$build/client/cli/flotilla" "$made"
  local shell
  for shell in bash zsh fish; do "$build/client/cli/flotilla" completion "$shell" >"$made/$shell"; done
  # zsh finds it by its name and its first line, and runs it as a function
  sed -i '1i #compdef flotilla' "$made/zsh"
}

if [ -z "$stage" ]; then
  [ "$(id -u)" = 0 ] || fail "needs root"
  if [ "$(dpkg-query -W -f '${db:Status-Status}' flotilla 2>/dev/null)" = installed ]; then
    fail "the package flotilla is installed; use dpkg, or remove it first"
  fi
fi

if [ -n "$uninstall" ]; then
  [ -n "$stage" ] || systemctl disable --now flotilla.service 2>/dev/null || true
  while read -r _ _ to; do rm -f "$stage$to"; done < <(files)
  find "$stage$SHARE" -depth -type d -empty -delete 2>/dev/null || true
  [ -n "$stage" ] || systemctl daemon-reload 2>/dev/null || true
  echo "removed; configuration and data are as they were: $stage/etc/flotilla $stage/var/lib/flotilla"
  exit 0
fi

for program in server/flotillad client/cli/flotilla; do
  [ -x "$build/$program" ] ||
    fail "$build/$program is not there; build it: cmake --preset release && cmake --build --preset release --target flotillad flotilla"
done
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
make_files
while read -r mode from to; do
  # what an operator has written stays
  if [ "$to" = /etc/default/flotilla ] && [ -z "$stage" ] && [ -e "$to" ]; then continue; fi
  install -D -m "$mode" "${from/#$MADE/$made}" "$stage$to"
done < <(files)
install -d -m 755 "$stage/etc/flotilla"

if [ -z "$stage" ]; then
  systemd-sysusers flotilla.conf
  systemd-tmpfiles --create flotilla.conf
  if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
  cat <<'TXT'
installed. Next:
  cp /usr/share/flotilla/flotilla.yaml /etc/flotilla/      # and set cluster.name, cluster.seeds, listen
  flotillad --check-config /etc/flotilla/flotilla.yaml
  systemctl enable --now flotilla
TXT
fi
