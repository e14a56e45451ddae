#!/bin/bash
# demo.sh [SERVER]: builds Signpost unless SERVER is given, starts the demo, asks for a Service, a
# headless Service, SRV, PTR and an external name, and stops it.
# Needs only Rust. Asks with dig if it is installed, otherwise with `signpost ask`.
# Exit status 1 if an answer differs from the files in this folder, or a tool is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ $# -gt 0 ]; then
	server=$1
else
	command -v cargo >/dev/null || { echo "demo.sh: cargo is missing; https://rustup.rs installs it (Rust 1.95 or newer)" >&2; exit 1; }
	# A debug build of the server alone: optimizing and linking the program as it is shipped (`just
	# release`) takes several times as long.
	server=${CARGO_TARGET_DIR:-target}/debug/signpost
	cargo build --locked --bin signpost
fi
log=$(mktemp)
"$server" -conf Corefile.examples/demo/Corefile >"$log" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null || :; rm -f "$log"' EXIT

# The first question about the cluster waits until its objects are read.
until "$server" ask @127.0.0.1:1053 +tries=1 +time=5 web.shop.svc.cluster.local >/dev/null 2>&1; do
	kill -0 $pid 2>/dev/null || { echo "demo.sh: the server ended:" >&2; cat "$log" >&2; exit 1; }
	sleep 0.05
done

failed=0
ask() { # WHAT EXPECTED NAME TYPE
	local answer
	echo
	echo "# $1"
	if command -v dig >/dev/null; then
		echo "dig @127.0.0.1 -p 1053 $3 $4"
		answer=$(dig @127.0.0.1 -p 1053 +noall +answer +additional +time=2 "$3" "$4") || :
	else
		echo "signpost ask @127.0.0.1:1053 $3 $4"
		answer=$("$server" ask @127.0.0.1:1053 +time=2 "$3" "$4") || :
	fi
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
