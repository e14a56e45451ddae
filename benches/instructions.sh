#!/bin/bash
# Instructions per answer, from the packet to the written reply: on shared machines times are noise,
# these counts are not. Valgrind counts what benches/instructions.rs does; a count more than 5 %
# above its line in benches/instructions.limits is an error.
#   benches/instructions.sh             compare
#   benches/instructions.sh --renew     write the counts of today as the new limits
# Exit status 3: a tool is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
limits=$here/instructions.limits
TIMES=1000 # as in instructions.rs
HEADROOM=5 # per cent

case "${1:-}" in
'' | --renew) ;;
*) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
command -v valgrind >/dev/null || { echo "instructions.sh: valgrind is missing; apt-get install valgrind" >&2; exit 3; }
cargo build --locked --release --quiet --example instructions --manifest-path "$root/Cargo.toml"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Each call of `counted` is collected separately, and dumped when it returns.
timeout 300 valgrind --quiet --tool=callgrind --callgrind-out-file="$work/out" --collect-atstart=no \
	--toggle-collect=instructions::counted --dump-after=instructions::counted \
	"$target/release/examples/instructions" >"$work/names" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }

part=0
while read -r name; do
	part=$((part + 1))
	total=$(awk '/^(totals|summary):/ {print $2; exit}' "$work/out.$part")
	echo "$name $((total / TIMES))"
done < <(grep -x '[a-z0-9-]*' "$work/names") >"$work/counts" # lines of its log begin with a bracket
[ -s "$work/counts" ] || { echo "instructions.sh: nothing was counted" >&2; cat "$work/log" >&2; exit 1; }

if [ "${1:-}" = --renew ]; then
	{
		echo "# Instructions a query, from the packet to the written reply. Written by benches/instructions.sh --renew."
		cat "$work/counts"
	} >"$limits"
	cat "$limits"
	exit
fi
awk -v headroom=$HEADROOM '
	FNR == NR { if ($1 !~ /^#/) limit[$1] = $2; next }
	!($1 in limit) { printf "%-20s %8d, no limit\n", $1, $2; wrong = 1; next }
	{
		percent = ($2 - limit[$1]) * 100 / limit[$1]
		high = percent > headroom
		printf "%-20s %8d, %+.1f %% of %d%s\n", $1, $2, percent, limit[$1], high ? ": too many" : ""
		if (high) wrong = 1
		if (percent < -headroom) renew = 1
		delete limit[$1]
	}
	END {
		for (name in limit) { printf "%-20s has a limit and was not counted\n", name; wrong = 1 }
		if (wrong) print "More on purpose, or a new row: benches/instructions.sh --renew, and say why in the commit."
		else if (renew) print "Fewer by more than the head-room: benches/instructions.sh --renew keeps the gain."
		exit wrong
	}' "$limits" "$work/counts"
