#!/usr/bin/env bash
# Runs golangci-lint in the pinned version, which it builds once into bin/. With an argument, only on these packages;
# --install builds it and looks at nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v2.15.0
tool=$PWD/bin/golangci-lint-$version

if [ ! -x "$tool" ]; then
	echo "lint: building golangci-lint $version, once" >&2
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	GOBIN=$scratch GOFLAGS=-buildvcs=false go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version"
	mkdir -p bin
	mv "$scratch/golangci-lint" "$tool"
fi
[ "${1:-}" = --install ] && exit 0
"$tool" run "${@:-./...}"
