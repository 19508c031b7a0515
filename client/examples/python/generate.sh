#!/bin/sh
# Generates the Python code of the public API from proto/flotilla/v1: ./generate.sh OUT
# Needs the Debian packages protobuf-compiler and protobuf-compiler-grpc; running it needs python3-grpcio and
# python3-protobuf.
set -eu
if [ $# -ne 1 ]; then
  echo "usage: $0 OUT" >&2
  exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/../../../proto"
protoc -I. --python_out="$out" --grpc_python_out="$out" --plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin \
  flotilla/v1/*.proto
