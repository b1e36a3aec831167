#!/usr/bin/env bash
# Installs what the tests need and the machine lacks. What cannot be had is named, and the script fails.
set -euo pipefail

missing=()       # what people call it
packages=()      # what Debian and Ubuntu call it

need() { # need NAME PACKAGE TEST…
	local name=$1 package=$2
	shift 2
	if ! "$@" >/dev/null 2>&1; then
		missing+=("$name")
		packages+=("$package")
	fi
}

server() { # the programs of a PostgreSQL server, wherever packages put them
	command -v "$1" || compgen -G "/usr/lib/postgresql/*/bin/$1" || compgen -G "/usr/pgsql-*/bin/$1" ||
		compgen -G "/opt/homebrew/opt/postgresql@*/bin/$1" || compgen -G "/usr/local/opt/postgresql@*/bin/$1"
}

look() {
	missing=() packages=()
	need "a C compiler (for the race detector)" "gcc libc6-dev" sh -c 'echo "int main(void){return 0;}" | cc -x c -o /dev/null -'
	need "PostgreSQL (postgres)" postgresql server postgres
	need "PostgreSQL (initdb)" postgresql server initdb
	need "pgbench" postgresql server pgbench
	need "psql" postgresql-client server psql
	need "redis-server" redis-server command -v redis-server
}

fail() {
	printf 'deps: %s\n' "$1" >&2
	printf 'deps: missing: %s\n' "${missing[@]}" >&2
	exit 1
}

if ! command -v go >/dev/null; then
	echo "deps: missing: Go 1.26 or newer (https://go.dev/dl)" >&2
	exit 1
fi

look
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi

command -v apt-get >/dev/null || fail "cannot install anything here: no apt-get"
if [ "$(id -u)" -eq 0 ]; then
	sudo=()
elif sudo -n true 2>/dev/null; then
	sudo=(sudo -n)
else
	fail "cannot install anything: neither root nor sudo without a password"
fi
apt() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null; }

# The tests start their own servers on free ports. Packages must neither start theirs nor make a cluster.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap '"${sudo[@]}" rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
	"${sudo[@]}" chmod 755 "$policy"
fi

read -ra wanted <<<"${packages[*]}"
printf 'deps: installing %s\n' "$(printf '%s\n' "${wanted[@]}" | sort -u | paste -sd ' ')"
apt update || echo "deps: apt-get update failed, trying with the lists there are" >&2
if [[ " ${wanted[*]} " == *" postgresql "* ]] && apt install --no-install-recommends postgresql-common >/dev/null; then
	"${sudo[@]}" sed -i 's/^#* *create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
fi
# One by one where not all can be had together: the message then names only what is really missing.
apt install --no-install-recommends "${wanted[@]}" >/dev/null ||
	for package in "${wanted[@]}"; do apt install --no-install-recommends "$package" >/dev/null || true; done

look
[ ${#missing[@]} -eq 0 ] || fail "could not be installed"
