#!/bin/bash
# restarts.sh SERVER...: what clients lose while the cluster's DNS is restarted, scaled up and
# scaled down. For each SERVER: deploys it (deploy.sh; a program called signpost with the overlay
# kubeadm), runs five clients that look names up all the time through kube-proxy (glibc, musl and Go
# over UDP, glibc and Go over TCP), and prints a row of a table. The cluster is up (up.sh).
# Environment: RESTARTS=10. TABLE=FILE also writes the table to that file.
# Exit status: 1 if a look-up failed with signpost, else 0: CoreDNS is only there to compare.
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ $# -gt 0 ] || die "usage: restarts.sh SERVER..."
restarts=${RESTARTS:-10}
K=$HERE/kubectl T="$K -n trial" S="$K -n kube-system"
out=$CLUSTER_DIR/look
mkdir -p "$out"

# NAME POD PROGRAM, of each client. Four threads with a pause of 5 ms are about 500 look-ups a
# second.
clients=("glibc-udp glibc look" "musl-udp musl look" "go-udp glibc look-go" "glibc-tcp tcp look" "go-tcp tcp look-go")

look() { # NAME POD PROGRAM: until `enough`
	# shellcheck disable=SC2086
	$T exec "$2" -- sh -c "$3 100000 4 5 $names & echo \$! >/tmp/$1.pid; wait" >"$out/$1" 2>"$out/$1.err" &
}
enough() {
	local client name pod
	for client in "${clients[@]}"; do
		read -r name pod _ <<<"$client"
		$T exec "$pod" -- sh -c "kill \$(cat /tmp/$name.pid)"
	done
	wait
}
roll() { # WORD...: does it, waits, and waits two seconds more, so that clients see each restart separately
	$S "$@" >/dev/null
	$S rollout status deploy/coredns --timeout=120s >/dev/null
	sleep 2
}
last() { tail -n 1 "$out/$1"; }

try() { # SERVER: prints the row
	local server=$1 client name pod program vip began total=0 failed=0 late=0 longest=0 each='' counts
	case $(basename "$server") in
	signpost*) OVERLAY=kubeadm "$HERE/deploy.sh" "$server" ;;
	*) "$HERE/deploy.sh" "$server" ;;
	esac >/dev/null
	vip=$($T get svc web -o jsonpath='{.spec.clusterIP}')
	names="web.trial.svc.$DOMAIN.=$vip web=$vip www.example.com.=198.51.100.80"
	for client in "${clients[@]}"; do
		read -r name pod program <<<"$client"
		look "$name" "$pod" "$program"
	done
	sleep 3
	began=$SECONDS
	for ((i = 1; i <= restarts; i++)); do
		roll rollout restart deploy/coredns
		echo "$(basename "$server"): restart $i of $restarts, $((SECONDS - began)) s" >&2
	done
	for replicas in 4 1 2; do roll scale deploy/coredns --replicas=$replicas; done
	enough
	for client in "${clients[@]}"; do
		read -r name _ <<<"$client"
		read -r -a counts <<<"$(last "$name")"
		[ ${#counts[@]} = 4 ] || die "$name: $(cat "$out/$name" "$out/$name.err")"
		total=$((total + counts[0])) failed=$((failed + counts[1])) late=$((late + counts[2]))
		[ "${counts[3]}" -le $longest ] || longest=${counts[3]}
		each="$each${each:+, }$name ${counts[0]}/${counts[1]}/${counts[2]}"
		sed '$d' "$out/$name" | sed "s/^/$(basename "$server") $name /" >&2
	done
	echo "| $(basename "$server") | $restarts | $total | $failed | $late | $longest ms | $each |"
	case $(basename "$server") in signpost*) [ $failed = 0 ] ;; esac
}

status=0
rows=''
for server; do
	row=$(try "$server") || status=1
	rows="$rows$row"$'\n'
done
{
	echo "| server | restarts, then 4, 1, 2 replicas | look-ups | failed | a second or longer | longest | each client: look-ups/failed/late |"
	echo "|---|---|---|---|---|---|---|"
	printf '%s' "$rows"
} | tee ${TABLE:+"$TABLE"}
exit $status
