#!/bin/bash
# What an answer costs a whole server: queries a second and CPU per query for the A record of a cluster Service, for
# Signpost and CoreDNS with the Corefile that kubeadm writes, and for a bare UDP loop (benches/echo.rs), which is the floor.
# Each server runs on one core, the load (closed loop, 192 queries outstanding) on another, in turn, against the same real
# API server with the conformance fixture.
#   benches/peers.sh [--seconds N] [--rounds N] [--only NAME,...] [--out FILE]
# Default: 5 seconds, 3 rounds, echo,coredns,signpost, a table in benches/runs/DATE-MACHINE-peers.md.
# Environment: SERVER_CPU (0), LOAD_CPU (1), SIGNPOST (target/release/signpost).
# Exit status 3: a tool is missing (no Go to build the peers with, no dnsperf).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
export CARGO_TARGET_DIR=$target PEERS=$target/peers
cpu=${SERVER_CPU:-0} load_cpu=${LOAD_CPU:-1}
signpost=${SIGNPOST:-$target/release/signpost}

seconds=5 rounds=3 only=echo,coredns,signpost out=''
while [ $# -gt 0 ]; do
	case $1 in
	--seconds) seconds=${2:?} ;;
	--rounds) rounds=${2:?} ;;
	--only) only=${2:?} ;;
	--out) out=${2:?} ;;
	*) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
	esac
	shift 2
done
IFS=, read -ra servers <<<"$only"
for tool in dnsperf taskset dig curl; do
	command -v $tool >/dev/null || { echo "peers.sh: $tool is missing; apt-get install dnsperf util-linux bind9-dnsutils curl" >&2; exit 3; }
done
"$root/tests/peers/build.sh" venv kube coredns >&2
cargo build --locked --release --quiet --example echo --manifest-path "$root/Cargo.toml"

NAME=kubernetes.default.svc.cluster.local ADDRESS=10.96.0.1
work=$(mktemp -d)
export STATE=$work/state
server=''
clean() {
	trap - EXIT
	[ -z "$server" ] || kill "$server" 2>/dev/null || :
	wait
	"$root/tests/conformance/tools/cluster.sh" stop || :
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM
mkdir "$STATE"
taskset -c "$load_cpu" "$root/tests/conformance/tools/cluster.sh" start >"$work/variables"
grep '^#' "$work/variables" >&2
eval "$(grep '^export' "$work/variables")"

port() { "$PEERS/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
echo "$NAME A" >"$work/queries"

# The Corefile of kubeadm; only ports, the API server and the upstream (which is never asked) are ours.
corefile() { # PORT
	local health ready metrics upstream
	health=$(port) ready=$(port) metrics=$(port) upstream=$(port)
	sed "s#{\$DNS_PORT}#$1#; s#{\$HEALTH_PORT}#$health#; s#{\$READY_PORT}#$ready#; s#{\$METRICS_PORT}#$metrics#
		s#{\$KUBE_API}#$KUBE_API#; s#{\$KUBE_TLS}#tls $KUBE_CERT $KUBE_KEY $KUBE_CA#; s#{\$UPSTREAM}#127.0.0.1:$upstream#" \
		"$root/tests/conformance/corefiles/kubeadm.Corefile"
}

start() { # NAME PORT
	corefile "$2" >"$work/Corefile"
	case $1 in
	echo) set -- "$target/release/examples/echo" "127.0.0.1:$2" "$NAME" $ADDRESS ;;
	coredns) set -- env GOMAXPROCS=1 "$PEERS/coredns" -conf "$work/Corefile" ;;
	signpost) set -- "$signpost" -conf "$work/Corefile" ;;
	esac
	taskset -c "$cpu" "$@" >"$work/log" 2>&1 &
	server=$!
}

answered() { # PORT: whether the Service has its address
	dig +short +time=1 +tries=1 @127.0.0.1 -p "$1" $NAME A 2>/dev/null | grep -qx "$ADDRESS"
}

ticks() { awk '{print $14 + $15}' "/proc/$server/stat"; }

# One round: prints "queries a second, CPU microseconds a query".
measure() { # NAME
	local port n=0 before after completed
	port=$(port)
	start "$1" "$port"
	until answered "$port"; do
		n=$((n + 1))
		kill -0 "$server" 2>/dev/null && [ $n -lt 100 ] || { cat "$work/log" >&2; return 1; }
		sleep 0.1
	done
	load() { taskset -c "$load_cpu" dnsperf -s 127.0.0.1 -p "$port" -d "$work/queries" -c 20 -T 1 -q 192 -l "$1"; }
	load 1 >/dev/null
	before=$(ticks)
	load "$seconds" >"$work/load"
	after=$(ticks)
	kill "$server"
	wait "$server" 2>/dev/null || :
	server=''
	completed=$(awk '/Queries completed:/ {print $3}' "$work/load")
	grep -qE 'NOERROR [0-9]+ \(100.00%\)' "$work/load" || { echo "$1 did not answer everything:" >&2; cat "$work/load" >&2; return 1; }
	awk -v n="$completed" -v s="$seconds" -v t="$((after - before))" -v hz="$(getconf CLK_TCK)" \
		'BEGIN {printf "%d %.2f\n", n / s, t / hz * 1e6 / n}'
}

for ((round = 1; round <= rounds; round++)); do
	for name in "${servers[@]}"; do
		measure "$name" >"$work/result"
		read -r qps micros <"$work/result"
		echo "round $round: $name $qps queries a second, $micros us of CPU a query" >&2
		echo "$name $qps $micros" >>"$work/results"
	done
done

machine=$(nproc)-core-$(awk -F': ' '/model name/ {gsub(/[^A-Za-z0-9]+/, "-", $2); print tolower($2); exit}' /proc/cpuinfo)
: "${out:=$here/runs/$(date +%F)-$machine-peers.md}"
version() { "$1" -version 2>&1 | head -1 || :; }
{
	echo "# A record of a cluster Service, whole servers, $(date +%F)"
	echo
	echo "$(nproc) cores of $(awk -F': ' '/model name/ {print $2; exit}' /proc/cpuinfo), Linux $(uname -r). Each server on one core, dnsperf \`-c 20 -q 192\` on"
	echo "another, $rounds rounds of $seconds s in turn; medians, lowest and highest in ( ). Corefile: tests/conformance/corefiles/kubeadm.Corefile."
	echo "Data: a real kube-apiserver with the conformance fixture. CPU is user and system of the server's process."
	echo
	echo "| server | queries a second | CPU µs a query | CPU / floor | CoreDNS CPU / this |"
	echo "|---|---|---|---|---|"
	"$PEERS/venv/bin/python" - "$work/results" <<'PYTHON'
import statistics, sys
rows = {}
for line in open(sys.argv[1]):
    name, qps, micros = line.split()
    rows.setdefault(name, []).append((int(qps), float(micros)))
median = {name: statistics.median(micros for _, micros in row) for name, row in rows.items()}
ratio = lambda a, b: f"{median[a] / median[b]:.2f}" if a in median and b in median else ""
titles = {"echo": "bare UDP loop (floor)", "coredns": "CoreDNS", "signpost": "Signpost"}
for name, row in rows.items():
    qps, micros = [q for q, _ in row], [m for _, m in row]
    print(f"| {titles[name]} | {statistics.median(qps):,.0f} ({min(qps):,}–{max(qps):,}) | {median[name]:.2f} ({min(micros)}–{max(micros)}) "
          f"| {ratio(name, 'echo')} | {ratio('coredns', name)} |")
PYTHON
	echo
	case " ${servers[*]} " in *" coredns "*) echo "CoreDNS: $(version "$PEERS/coredns")." ;; esac
	case " ${servers[*]} " in *" signpost "*) echo "Signpost: $(git -C "$root" rev-parse --short HEAD)." ;; esac
} >"$out"
cat "$out"
