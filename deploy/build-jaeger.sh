#!/usr/bin/env bash
# Builds Jaeger from its Go module into the cache folder, once; needs Go, and takes some minutes.
# This build has no web page, only the query API that `tandem trace cost` reads.
set -euo pipefail
version=v1.76.0
folder=${TANDEM_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/tandem/bin}
target=$folder/jaeger
if [ -x "$target" ]; then echo "$target is there"; exit 0; fi
command -v go >/dev/null || { echo "Go is needed to build Jaeger: install it, or put a jaeger binary on PATH" >&2; exit 1; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir -p "$folder"; cd "$work"; go mod init build/jaeger 2>/dev/null
GOFLAGS=-mod=mod go get -tool "github.com/jaegertracing/jaeger/cmd/jaeger@$version"
CGO_ENABLED=0 GOFLAGS='-mod=mod -buildvcs=false' nice go build -trimpath -ldflags='-s -w' -o "$target.partial" github.com/jaegertracing/jaeger/cmd/jaeger
mv "$target.partial" "$target"; echo "$target"
