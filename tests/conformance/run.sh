#!/bin/bash
# The conformance suite from a clone: builds or finds its tools (tests/peers), starts an API server
# with the fixture on free ports, asks the server under test, and stops everything it started.
#   run.sh --server PATH [--source api|manifests] [--keep] [OPTION OF dnscase.py check]...
#   run.sh --live --server PATH [OPTION OF live.py]...      changes and outages, no questions
# --source manifests: no API server; Corefiles have `manifests DIR` (Signpost only) for `endpoint`.
# --transport tls (of dnscase.py): questions for UDP go through DNS over TLS.
# --keep: leave the API server running with its state, and say how to use and stop it.
# Exit status: that of dnscase.py or live.py; 3 if a tool is missing (Go for the peers, or Python).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$here/../../target}")
export CARGO_TARGET_DIR=$target PEERS=$target/peers
python=$PEERS/venv/bin/python

server='' source=api keep='' live='' options=()
while [ $# -gt 0 ]; do
	case $1 in
	--server) server=${2:?--server: which program?}; shift ;;
	--source) source=${2:-}; shift ;;
	--keep) keep=1 ;;
	--live) live=1 ;;
	-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$here/run.sh"; exit 0 ;;
	*) options+=("$1") ;;
	esac
	shift
done
[ -n "$server" ] || { echo "run.sh: --server PATH is missing" >&2; exit 2; }
case $source in api | manifests) ;; *) echo "run.sh: --source is api or manifests" >&2; exit 2 ;; esac
[ -z "$live" ] || [ "$source" = api ] || { echo "run.sh: --live needs an API server" >&2; exit 2; }

for tool in openssl curl ip unshare setpriv flock; do
	command -v $tool >/dev/null || { echo "run.sh: $tool is missing; apt-get install openssl curl iproute2 util-linux" >&2; exit 3; }
done
"$here/../peers/build.sh" venv >&2
mkdir -p "$target/conformance"
STATE=$(mktemp -d "$target/conformance/run.XXXXXX")
export STATE

# From here on something may run. It is stopped at the end, or by a guard if this script is killed.
clean() {
	trap - EXIT
	kill "$child" "$guard" 2>/dev/null || :
	wait
	if [ -n "$keep" ] && [ -n "$variables" ]; then
		echo "run.sh: the API server is left running; use and stop it with"
		echo "  $variables"
		echo "  STATE=$STATE $here/tools/cluster.sh stop && rm -r $STATE"
	else
		"$here/tools/cluster.sh" stop || :
		rm -rf "$STATE"
	fi
}
attend() { # COMMAND...: in the background, so that this script handles signals at once
	"$@" &
	child=$!
	wait "$child"
}
# shellcheck disable=SC2016
setsid bash -c 'tail --pid="$1" -f /dev/null & trap "kill $!; exit" TERM; wait; "$2" stop; rm -rf "$STATE"' \
	guard $$ "$here/tools/cluster.sh" </dev/null >/dev/null 2>&1 &
guard=$! child='' variables=''
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

command=("$python" "$here/tools/dnscase.py" check --server "$server")
if [ "$source" = manifests ]; then
	"$python" "$here/tools/fixture.py" "$STATE/manifests"
	command+=(--manifests "$STATE/manifests")
else
	"$here/../peers/build.sh" kube >&2
	attend "$here/tools/cluster.sh" start >"$STATE/variables"
	grep '^#' "$STATE/variables"
	variables=$(grep '^export' "$STATE/variables")
	eval "$variables"
	[ -z "$live" ] || command=("$python" "$here/live.py" --server "$server")
fi
attend "${command[@]}" "${options[@]}"
