#!/bin/bash
# restarts-page.sh SERVER...: runs restarts.sh with ten restarts in its own cluster, and writes its
# table to docs/restarts.md.
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ "$(id -u)" = 0 ] || { echo "restarts-page.sh: needs root" >&2; exit 3; }
"$HERE/build.sh"
trap '"$HERE/down.sh" --purge' EXIT
"$HERE/up.sh" --fresh
TABLE=$CLUSTER_DIR/table "$HERE/restarts.sh" "$@"
page=$HERE/../../docs/restarts.md
{
	sed '/^## Results/,$d' "$page"
	echo "## Results"
	echo
	echo "$(date +%F), $(nproc) cores of $(awk -F': ' '/model name/ {print $2; exit}' /proc/cpuinfo), signpost $(git -C "$HERE" rev-parse --short HEAD): \`just restarts\`."
	echo
	cat "$CLUSTER_DIR/table"
} >"$page.new"
mv "$page.new" "$page"
