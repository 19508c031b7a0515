# shellcheck shell=bash
# Which Debian packages Flotilla needs, and how to get those that are missing. Sourced by tests/run.sh and
# deploy/demo.sh, which have the functions `say TEXT` and `step TEXT COMMAND...` that are used here.

# shellcheck disable=SC2034 # used by those who source this
readonly BUILD_PACKAGES=(cmake ninja-build g++ ccache librocksdb-dev libgoogle-glog-dev libgtest-dev libgmock-dev
  libbenchmark-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev libprotoc-dev libgrpc++-dev libcli11-dev
  nlohmann-json3-dev libyaml-cpp-dev libcpp-httplib-dev libgoogle-perftools-dev)
# shellcheck disable=SC2034
readonly PYTHON_PACKAGES=(python3-grpcio python3-protobuf)

# shellcheck disable=SC2034
readonly PACKAGING_PACKAGES=(debhelper dpkg-dev lintian)
# What checks of deploy/ use; those that miss one are skipped. promtool is left out: its package would start a server.
# shellcheck disable=SC2034
readonly DEPLOY_CHECK_PACKAGES=(systemd shellcheck)
# shellcheck disable=SC2034
readonly DEPLOY_TEST_PACKAGES=(systemd-container mmdebstrap iproute2 nftables e2fsprogs)

missing_packages() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
  done
}

apt_get() {
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "neither root nor sudo; ask somebody to install: ${absent[*]}" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 "$@"
}

install_absent() {
  apt_get update && apt_get install -y --no-install-recommends "${absent[@]}" >/dev/null
}

# ensure_packages PACKAGE...: installs what is missing of them; needs the network only then.
ensure_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian: taking it that the equivalents of these are installed: $*"
    return
  fi
  local absent
  mapfile -t absent < <(missing_packages "$@")
  ((${#absent[@]} == 0)) || step "install ${absent[*]}" install_absent
}
