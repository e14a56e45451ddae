#!/bin/bash
# What a forwarded query costs a whole server: CPU per query for names that nobody has asked before, with `forward` alone in
# the Corefile, for Signpost, CoreDNS, Unbound and dnsdist where they are installed, and for a bare UDP loop that answers
# itself (benches/echo.rs), which is the floor. The upstream is the same loop. Each server runs on one core; the load
# (signpost-bench, closed loop, 192 queries outstanding, each reply looked at) and the upstream on another; in turn.
#   benches/forward.sh [--seconds N] [--rounds N] [--only NAME,...] [--out FILE]
# Default: 5 seconds, 3 rounds, echo,coredns,unbound,dnsdist,signpost, a table in benches/runs/DATE-MACHINE-forward.md.
# Environment: SERVER_CPU (0), LOAD_CPU (1), SIGNPOST (target/release/signpost), ECHO (built, unless it is given).
# Exit status 3: a tool is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
cpu=${SERVER_CPU:-0} load_cpu=${LOAD_CPU:-1}
signpost=${SIGNPOST:-$target/release/signpost}

seconds=5 rounds=3 only=echo,coredns,unbound,dnsdist,signpost out=''
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
for tool in taskset dig python3; do
	command -v $tool >/dev/null || { echo "forward.sh: $tool is missing; apt-get install util-linux bind9-dnsutils python3" >&2; exit 3; }
done
IFS=, read -ra servers <<<"$only"
echo=${ECHO:-$target/release/examples/echo}
bench=$target/release/signpost-bench
cargo build --locked --release --quiet --bin signpost-bench --manifest-path "$root/Cargo.toml"
[ -n "${ECHO:-}" ] || cargo build --locked --release --quiet --example echo --manifest-path "$root/Cargo.toml"

work=$(mktemp -d)
server='' upstream=''
clean() {
	trap - EXIT
	for process in $server $upstream; do kill "$process" 2>/dev/null || :; done
	wait
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
echo 'n{n}.example.org A NOERROR 1' >"$work/questions"
to=$(port)
taskset -c "$load_cpu" "$echo" "127.0.0.1:$to" . 192.0.2.1 &
upstream=$!

start() { # NAME PORT
	printf '.:%s {\n    forward . 127.0.0.1:%s\n}\n' "$2" "$to" >"$work/Corefile"
	printf 'setLocal("127.0.0.1:%s")\nnewServer({address="127.0.0.1:%s", healthCheckMode="up"})\nsetSecurityPollSuffix("")\n' "$2" "$to" >"$work/dnsdist"
	cat >"$work/unbound" <<-UNBOUND
		server:
		    interface: 127.0.0.1@$2
		    num-threads: 1
		    chroot: ""
		    username: ""
		    directory: "$work"
		    pidfile: ""
		    use-syslog: no
		    do-daemonize: no
		    do-not-query-localhost: no
		    module-config: "iterator"
		    outgoing-range: 4096
		    num-queries-per-thread: 2048
		remote-control:
		    control-enable: no
		forward-zone:
		    name: "."
		    forward-addr: 127.0.0.1@$to
	UNBOUND
	case $1 in
	echo) set -- "$echo" "127.0.0.1:$2" . 192.0.2.1 ;;
	coredns) set -- env GOMAXPROCS=1 "$target/peers/coredns" -conf "$work/Corefile" ;;
	unbound) set -- unbound -d -c "$work/unbound" ;;
	dnsdist) set -- dnsdist --supervised --disable-syslog -C "$work/dnsdist" ;;
	signpost) set -- "$signpost" -conf "$work/Corefile" ;;
	esac
	taskset -c "$cpu" "$@" >"$work/log" 2>&1 </dev/null &
	server=$!
}

# One round: prints "queries a second, CPU microseconds a query".
measure() { # NAME
	local port n=0
	port=$(port)
	start "$1" "$port"
	until dig +short +time=1 +tries=1 @127.0.0.1 -p "$port" first.example.org A 2>/dev/null | grep -qx 192.0.2.1; do
		n=$((n + 1))
		kill -0 "$server" 2>/dev/null && [ $n -lt 50 ] || { cat "$work/log" >&2; return 1; }
		sleep 0.1
	done
	taskset -c "$load_cpu" "$bench" load --server "127.0.0.1:$port" --questions "$work/questions" --outstanding 192 \
		--clients 20 --seconds "$seconds" --process "$server" --json "$work/json" --quiet >"$work/report" ||
		{ echo "$1:" >&2; cat "$work/report" >&2; }
	kill "$server"
	wait "$server" 2>/dev/null || :
	server=''
	python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); print(round(r["answered_per_second"]), round(r["cpu_us"], 2))' "$work/json"
}

for ((round = 1; round <= rounds; round++)); do
	for name in "${servers[@]}"; do
		[[ $name != dnsdist && $name != unbound ]] || command -v "$name" >/dev/null || continue
		measure "$name" >"$work/result"
		read -r qps micros <"$work/result"
		echo "round $round: $name $qps queries a second, $micros us of CPU a query" >&2
		echo "$name $qps $micros" >>"$work/results"
	done
done

machine=$(nproc)-core-$(awk -F': ' '/model name/ {gsub(/[^A-Za-z0-9]+/, "-", $2); print tolower($2); exit}' /proc/cpuinfo)
: "${out:=$here/runs/$(date +%F)-$machine-forward.md}"
{
	echo "# A forwarded query, whole servers, $(date +%F)"
	echo
	echo "$(nproc) cores of $(awk -F': ' '/model name/ {print $2; exit}' /proc/cpuinfo), Linux $(uname -r); load average at the end $(cut -d' ' -f1 /proc/loadavg)."
	echo "Each server on one core; signpost-bench (20 clients, 192 outstanding) and the upstream (benches/echo.rs) on another; names that were not asked"
	echo "before; $rounds rounds of $seconds s in turn; medians, lowest and highest in ( ). \`benches/forward.sh --seconds $seconds --rounds $rounds\`"
	echo
	echo "| server | queries a second | CPU µs a query | CPU / floor |"
	echo "|---|---|---|---|"
	python3 - "$work/results" <<'PYTHON'
import statistics, sys
rows = {}
for line in open(sys.argv[1]):
    name, qps, micros = line.split()
    rows.setdefault(name, []).append((int(qps), float(micros)))
median = {name: statistics.median(micros for _, micros in row) for name, row in rows.items()}
titles = {"echo": "bare UDP loop (floor)", "coredns": "CoreDNS", "unbound": "Unbound", "signpost": "Signpost"}
for name, row in rows.items():
    qps, micros = [q for q, _ in row], [m for _, m in row]
    ratio = f"{median[name] / median['echo']:.2f}" if "echo" in median else ""
    print(f"| {titles.get(name, name)} | {statistics.median(qps):,.0f} ({min(qps):,}–{max(qps):,}) | {median[name]:.2f} ({min(micros)}–{max(micros)}) | {ratio} |")
PYTHON
	echo
	echo "Signpost: $(git -C "$root" rev-parse --short HEAD)."
} >"$out"
cat "$out"
