#!/usr/bin/env bash
# Makes the Debian package, with debhelper, in a copy: nothing in the source tree changes.
#
#   deploy/package.sh                              # builds, and writes build/packages/flotilla_VERSION_ARCH.deb
#   deploy/package.sh --build-dir DIR --output DIR # from programs that are built already
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
say() { printf '==> %s\n' "$*"; }
step() {
  say "$1"
  "${@:2}"
}
fail() {
  printf 'deploy/package.sh: %s\n' "$*" >&2
  exit 1
}
# shellcheck source=deploy/packages.sh
. "$ROOT/deploy/packages.sh"

build='' output=$ROOT/build/packages
while (($# > 0)); do
  case $1 in
    --build-dir | --output)
      (($# > 1)) || fail "$1 needs a directory"
      if [ "$1" = --output ]; then output=$(realpath -m "$2"); else build=$(realpath -m "$2"); fi
      shift 2
      ;;
    -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit ;;
    *) fail "unknown argument $1; see --help" ;;
  esac
done

cd "$ROOT"
ensure_packages "${PACKAGING_PACKAGES[@]}"
if [ -z "$build" ]; then
  ensure_packages "${BUILD_PACKAGES[@]}"
  build=$ROOT/build/release
  step "build" cmake --preset release >/dev/null
  cmake --build --preset release --target flotillad flotilla
fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/flotilla"
cp -a deploy proto LICENSE "$copy/flotilla"
mv "$copy/flotilla/deploy/debian" "$copy/flotilla/debian"
version=$("$build/client/cli/flotilla" version | cut -d' ' -f2)
# 0.1.0-1 (package) is 0.1.0 (program)
[ "$(cd "$copy/flotilla" && dpkg-parsechangelog -S Version)" = "$version-1" ] ||
  fail "deploy/debian/changelog does not begin with version $version-1; add an entry for it"
(cd "$copy/flotilla" && FLOTILLA_BUILD_DIR=$build dpkg-buildpackage --build=binary --no-sign --no-check-builddeps >"$copy/log" 2>&1) ||
  { cat "$copy/log" >&2; fail "dpkg-buildpackage failed; what it said is above"; }
mkdir -p "$output"
cp "$copy"/*.deb "$output/"
ls -1 "$output"/flotilla_"$version"-1_*.deb
