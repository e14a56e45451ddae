#!/bin/bash
# The cost of one look-up with a Pod's search list and `ndots:5`: packets to the server, packets
# from it to its upstream, the time, and the program's result. For glibc, musl and Go, against
# Signpost and CoreDNS with the Corefile of kubeadm, each with and without `autopath @kubernetes`.
#   benches/ndots.sh [--rounds N] [--out FILE]
# Default: 15 rounds, tables in benches/runs/DATE-MACHINE-ndots.md. benches/README.md says how to
# read them.
# Everything runs in its own network and mount namespace: a real kube-apiserver with the conformance
# fixture, the servers on port 53 of the address of a Pod in the fixture, an upstream of
# benches/ndots.py, and a resolv.conf.
# Environment: SIGNPOST (target/release/signpost).
# Exit status 3: a tool is missing, or the right to make a namespace.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
export CARGO_TARGET_DIR=$target PEERS=$target/peers
: "${SIGNPOST:=$target/release/signpost}"
export SIGNPOST

if [ -z "${NDOTS_WORK:-}" ]; then
	rounds=15 out=''
	while [ $# -gt 0 ]; do
		case $1 in
		--rounds) rounds=${2:?} ;;
		--out) out=${2:?} ;;
		*) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
		esac
		shift 2
	done
	for tool in cc musl-gcc go unshare ip openssl curl; do
		command -v $tool >/dev/null || { echo "ndots.sh: $tool is missing; apt-get install gcc musl-tools util-linux iproute2 openssl curl, and Go" >&2; exit 3; }
	done
	"$root/tests/peers/build.sh" venv kube coredns >&2
	# It prints the expected walk, and is not measured.
	cargo build --locked --quiet --bin signpost-bench --manifest-path "$root/Cargo.toml"
	machine=$(nproc)-core-$(awk -F': ' '/model name/ {gsub(/[^A-Za-z0-9]+/, "-", $2); print tolower($2); exit}' /proc/cpuinfo)
	: "${out:=$here/runs/$(date +%F)-$machine-ndots.md}"
	NDOTS_WORK=$(mktemp -d)
	export NDOTS_WORK
	trap 'rm -rf "$NDOTS_WORK"' EXIT
	trap 'exit 130' INT TERM
	cc -O -o "$NDOTS_WORK/glibc" "$root/tests/cluster/src/resolve.c"
	musl-gcc -static -O -o "$NDOTS_WORK/musl" "$root/tests/cluster/src/resolve.c"
	CGO_ENABLED=0 go build -o "$NDOTS_WORK/go" "$root/tests/resolvers/resolve.go"
	namespaces=(--net --mount --uts --pid --fork --kill-child --mount-proc)
	[ "$(id -u)" = 0 ] || namespaces+=(--map-root-user)
	unshare "${namespaces[@]}" true 2>/dev/null || { echo "ndots.sh: no right to make a namespace" >&2; exit 3; }
	# The folder is made outside; all processes inside end with the namespace's first process.
	unshare "${namespaces[@]}" "$0" "$rounds" >"$NDOTS_WORK/tables"
	{
		echo "# What ndots:5 makes of one look-up, $(date +%F)"
		echo
		echo "$(nproc) cores of $(awk -F': ' '/model name/ {print $2; exit}' /proc/cpuinfo), Linux $(uname -r). \`benches/ndots.sh --rounds $rounds\`; how to read it: benches/README.md."
		echo "glibc $(ldd --version | awk 'NR == 1 {print $NF}'), musl $(dpkg-query -f '${Version}' -W musl 2>/dev/null || echo '?'), $(go version | awk '{print $3}')."
		echo "Signpost: $(git -C "$root" rev-parse --short HEAD). CoreDNS: $("$PEERS/coredns" -version | head -1)."
		cat "$NDOTS_WORK/tables"
	} >"$out"
	cat "$out"
	exit
fi

# Inside: a loopback with the address of the Pod paths/client-a, which is also the source of packets
# to it, and a route from which the API server takes its address.
rounds=$1
CLIENT=127.10.0.5
ip link set lo up
ip route replace local $CLIENT dev lo table local src $CLIENT
ip link add out type veth peer name nowhere
ip link set nowhere up
ip address add 192.0.2.2/24 dev out
ip link set out up
ip route add default via 192.0.2.1
hostname box
: >"$NDOTS_WORK/resolv.conf"
mount --bind "$NDOTS_WORK/resolv.conf" /etc/resolv.conf
export STATE=$NDOTS_WORK/state
mkdir "$STATE"
trap '"$root/tests/conformance/tools/cluster.sh" stop >&2 || :' EXIT
"$root/tests/conformance/tools/cluster.sh" start >"$NDOTS_WORK/variables"
grep '^#' "$NDOTS_WORK/variables" >&2 || :
eval "$(grep '^export' "$NDOTS_WORK/variables")"
"$PEERS/venv/bin/python" "$here/ndots.py" "$NDOTS_WORK" "$CLIENT" "$rounds" \
	"$target/debug/signpost-bench" "$root/tests/conformance/corefiles/kubeadm.Corefile"
