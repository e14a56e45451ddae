#!/bin/bash
# demo.sh [SERVER]: builds Signpost unless a server is named, starts the demo, asks it for a Service, a headless Service, SRV, PTR and an external name, and stops it.
# Exit status 1 if an answer is not what the files in this folder say.
set -euo pipefail
cd "$(dirname "$0")/../.."
server=${1:-${CARGO_TARGET_DIR:-target}/release/signpost}
[ $# -gt 0 ] || cargo build --locked --release
command -v dig >/dev/null || {
	echo "The demo asks with dig: apt-get install bind9-dnsutils (Debian), dnf install bind-utils (Fedora)." >&2
	echo "Without it, start the server by hand and ask it with what you have:" >&2
	echo "  $server -conf Corefile.examples/demo/Corefile" >&2
	exit 1
}
log=$(mktemp)
"$server" -conf Corefile.examples/demo/Corefile >"$log" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null || :; rm -f "$log"' EXIT

for _ in {1..100}; do
	kill -0 $pid 2>/dev/null || { echo "demo.sh: the server ended:" >&2; cat "$log" >&2; exit 1; }
	[ "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:1081/ready || :)" = 200 ] && break
	sleep 0.05
done

failed=0
ask() { # WHAT EXPECTED NAME TYPE
	local answer
	echo
	echo "# $1"
	echo "dig @127.0.0.1 -p 1053 $3 $4"
	answer=$(dig @127.0.0.1 -p 1053 +noall +answer +additional +time=2 "$3" "$4")
	sed 's/^/    /' <<<"$answer"
	grep -qE "$2" <<<"$answer" || { echo "    (expected $2)"; failed=1; }
}
ask "a Service: its cluster address" '10\.96\.0\.20' web.shop.svc.cluster.local A
ask "a headless Service: the pods that are ready" '10\.244\.0\.2[12]' db.shop.svc.cluster.local A
ask "one of them by name" '10\.244\.0\.22' db-1.db.shop.svc.cluster.local A
ask "SRV: port and host of each" '5432 db-0\.db\.shop' _sql._tcp.db.shop.svc.cluster.local SRV
ask "PTR: whose address this is" 'web\.shop\.svc\.cluster\.local' 20.0.96.10.in-addr.arpa PTR
ask "an external name: an alias and where it leads" '192\.0\.2\.80' partner.shop.svc.cluster.local A
ask "the outside world, forwarded" '192\.0\.2\.80' www.web.svc.example.net A
echo
exit $failed
