#!/usr/bin/env bash
# Runs every fuzz target for a while: fuzz.sh TIME [PACKAGE…]. A failing input stays in the package's testdata/fuzz and
# becomes a test case there.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-20s}
shift || true
for package in $(go list "${@:-./...}"); do
	# One package may have several targets, but go test takes one at a time.
	for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "fuzz: $package $target for $time"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package"
	done
done
