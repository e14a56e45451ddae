#!/bin/bash
# Instructions and cache misses of an answer, from the packet to the written reply: on shared
# machines times are noise, these counts are not. Valgrind counts what benches/instructions.rs does.
#
# Its caches have two levels: 32 KiB in 8 ways, and 512 KiB in 8 ways, as a core of a server has. A
# third level of 32 MiB, which others share, would have room for all that the rows touch, and count
# nothing. So the second count is of lines of data (64 octets) that have to come from beyond a first
# level, and the third of those that have to come from beyond the core.
#
# More than 5 % above its line in benches/instructions.limits is an error. Where memory lies differs
# from run to run, and with it what shares a set of a cache: so of lines it is 50 % and 32 lines more
# than in the file for the first level, and 25 % and 2 lines for the second.
#   benches/instructions.sh             compare
#   benches/instructions.sh --renew     write the counts of today as the new limits
#   benches/instructions.sh --keep DIR  compare, and leave what callgrind wrote in DIR, part by part
# Exit status 3: a tool is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
limits=$here/instructions.limits

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case "${1:-}" in
'' | --renew) kept=$work ;;
--keep) kept=${2:?--keep DIR} ;;
*) sed -n '2,17s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
command -v valgrind >/dev/null || { echo "instructions.sh: valgrind is missing; apt-get install valgrind" >&2; exit 3; }
cargo build --locked --release --quiet --example instructions --manifest-path "$root/Cargo.toml"

# Each call of `counted` is collected; `done` ends a row.
timeout 600 valgrind --quiet --tool=callgrind --callgrind-out-file="$kept/out" --collect-atstart=no \
	--cache-sim=yes --I1=32768,8,64 --D1=32768,8,64 --LL=524288,8,64 \
	--toggle-collect=instructions::counted --dump-after=instructions::done \
	"$target/release/examples/instructions" >"$work/names" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }

# The name of a row, and a query's instructions, lines from beyond level 1, and from beyond level 2.
part=0
while read -r name times; do
	part=$((part + 1))
	awk -v name="$name" -v times="$times" '
		/^events:/ { for (at = 2; at <= NF; at++) event[$at] = at }
		/^(totals|summary):/ {
			lines = $event["D1mr"] + $event["D1mw"]; far = $event["DLmr"] + $event["DLmw"]
			printf "%s %d %.1f %.1f\n", name, $event["Ir"] / times, lines / times, far / times
			exit
		}' "$kept/out.$part"
done < <(grep -x '[a-z0-9-]* [0-9]*' "$work/names") >"$work/counts" # lines of its log begin with a bracket
[ -s "$work/counts" ] || { echo "instructions.sh: nothing was counted" >&2; cat "$work/log" >&2; exit 1; }

if [ "${1:-}" = --renew ]; then
	{
		echo "# A query's instructions, the lines of data that are not in 32 KiB, and those of them not in 512 KiB."
		echo "# From the packet to the written reply. Written by benches/instructions.sh --renew."
		cat "$work/counts"
	} >"$limits"
	cat "$limits"
	exit
fi
awk '
	# More by both, per cent and number, is too many.
	function against(count, limit, headroom, least,    percent, high) {
		percent = limit > 0 ? (count - limit) * 100 / limit : count > 0 ? 100 : 0
		high = percent > headroom && count - limit > least
		if (high) wrong = 1
		if (percent < -headroom && limit - count > least) renew = 1
		return sprintf("%9s %+5.1f %% of %-7s%s", count, percent, limit, high ? "too many" : "        ")
	}
	FNR == NR { if ($1 !~ /^#/) limit[$1] = $0; next }
	FNR == 1 { printf "%-24s %34s %34s %34s\n", "", "instructions", "lines not in 32 KiB", "of them not in 512 KiB" }
	!($1 in limit) { printf "%-24s %9s %9s %9s, no limit\n", $1, $2, $3, $4; wrong = 1; next }
	{
		split(limit[$1], known)
		printf "%-24s %s %s %s\n", $1, against($2, known[2], 5, 0), against($3, known[3], 50, 32), against($4, known[4], 25, 2)
		delete limit[$1]
	}
	END {
		for (name in limit) { printf "%-24s has a limit and was not counted\n", name; wrong = 1 }
		if (wrong) print "More on purpose, or a new row: benches/instructions.sh --renew, and say why in the commit."
		else if (renew) print "Fewer by more than the head-room: benches/instructions.sh --renew keeps the gain."
		exit wrong
	}' "$limits" "$work/counts"
