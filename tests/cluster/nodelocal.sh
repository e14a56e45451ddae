#!/bin/bash
# nodelocal.sh SERVER: the program SERVER (static, as `just release` makes it) as NodeLocal DNSCache
# before the kube-dns that trial.sh has deployed, from the overlay `nodelocal` and the image that
# `just image` makes. The cluster and its clients are up. Prints a line per check; exit status: how
# many failed.
set -uo pipefail
. "$(dirname "$0")/env.sh"
server=${1:?SERVER: the program to deploy, for example target/release/signpost}
[ -x "$server" ] || die "no such program: $server"
[ -n "$(init_pid)" ] || die "the cluster is not up: up.sh"
K=$HERE/kubectl; T="$K -n trial" S="$K -n kube-system"
deploy=$HERE/../../deploy
failed=0
check() { # WHAT EXPECTED GOT
	if [ "$2" = "$3" ]; then echo "ok    $1: $(cut -c1-90 <<<"$3")"
	else echo "FAIL  $1: expected '$2', got '$3'"; failed=$((failed + 1)); fi
}
until_is() { # WHAT EXPECTED COMMAND...: tries for a minute
	local what=$1 want=$2 got; shift 2
	for _ in $(seq 120); do got=$("$@" 2>/dev/null); [ "$got" = "$want" ] && break; sleep 0.5; done
	check "$what" "$want" "$got"
}
from() { local pod=$1; shift; $T exec "$pod" -- "$@" 2>/dev/null; }
rules() { in_node nft list table inet nodelocaldns 2>/dev/null | grep -c notrack; }
interface() { in_node ip -o -4 addr show dev nodelocaldns 2>/dev/null | awk '{print $4}' | sort | xargs; }
cached() { # prints how many questions the node cache has answered
	in_node curl -s http://127.0.0.1:9253/metrics | awk '/^coredns_dns_requests_total/ { n += $NF } END { print n + 0 }'
}
pod() { $S get pod -l k8s-app=node-local-dns -o jsonpath='{.items[0].metadata.name}'; }
lookups() { # SECONDS: asks from a pod as a C library does (a second try after a second); prints how many, and how many failed
	from glibc bash -c "n=0 f=0; end=\$((SECONDS + $1)); while [ \$SECONDS -lt \$end ]; do n=\$((n+1)); dig +short +tries=2 +time=1 web.trial.svc.$DOMAIN | grep -q '^[0-9]' || f=\$((f+1)); sleep 0.02; done; echo \$n \$f"
}

image=registry.local/signpost/coredns:$(sha256sum "$server" | cut -c1-12)
"$deploy/image/image.py" "$server" "$image" "$CLUSTER_DIR/image.tar" &&
	in_node ctr -a /run/containerd/containerd.sock -n k8s.io images import - <"$CLUSTER_DIR/image.tar" || exit 99
overlay() { $K kustomize "$deploy/overlays/nodelocal" | sed "s|registry.local/signpost/coredns:.*|$image|"; }
overlay | $K apply -f - >/dev/null || exit 99
$S rollout status daemonset/node-local-dns --timeout=120s >/dev/null
vip=$($T get svc web -o jsonpath='{.spec.clusterIP}')

# --- it answers, and none of it is tracked -----------------------------------
check "ready on the node" 1 "$($S get daemonset node-local-dns -o jsonpath='{.status.numberReady}')"
check "interface" "$DNS_IP/32 169.254.20.10/32" "$(interface)"
check "rules" 16 "$(rules)"
before=$(cached)
in_node conntrack -D -d "$DNS_IP" >/dev/null 2>&1 # entries from before
for c in glibc musl; do
	check "$c: service" "$vip" "$(from $c resolve -4 web | cut -d' ' -f3- | xargs)"
	check "$c: outside" "198.51.100.80" "$(from $c resolve -4 www.example.com | cut -d' ' -f3- | xargs)"
done
check "from a pod, on the link-local address" "$vip" "$(from glibc dig +short @169.254.20.10 "web.trial.svc.$DOMAIN")"
check "from a pod, over TCP" "$vip" "$(from glibc dig +short +tcp "web.trial.svc.$DOMAIN")"
check "from the node" "$vip" "$(in_node dig +short "@$DNS_IP" "web.trial.svc.$DOMAIN")"
check "the node cache was asked" yes "$([ "$(cached)" -gt "$before" ] && echo yes)"
check "entries of connection tracking for $DNS_IP" 0 "$(in_node conntrack -L -d "$DNS_IP" 2>/dev/null | wc -l)"

# --- killed: the ClusterIP leads to kube-dns until it is back ----------------
lookups 15 >"$CLUSTER_DIR/lookups" &
load=$!
sleep 2
in_node kill -KILL "$(in_node pgrep -x node-cache)"
check "rules after kill -9" 0 "$(rules)"
wait $load
check "look-ups that failed around a kill -9, of $(cut -d' ' -f1 "$CLUSTER_DIR/lookups")" 0 "$(cut -d' ' -f2 "$CLUSTER_DIR/lookups")"
until_is "rules when it is back" 16 rules
check "interface when it is back" "$DNS_IP/32 169.254.20.10/32" "$(interface)"

# --- a rollout ---------------------------------------------------------------
lookups 20 >"$CLUSTER_DIR/lookups" &
load=$!
sleep 2
$S rollout restart daemonset/node-local-dns >/dev/null; $S rollout status daemonset/node-local-dns --timeout=90s >/dev/null; done_=$?
wait $load
check "rollout" 0 $done_
check "look-ups that failed during it, of $(cut -d' ' -f1 "$CLUSTER_DIR/lookups")" 0 "$(cut -d' ' -f2 "$CLUSTER_DIR/lookups")"
check "rules after it" 16 "$(rules)"

# --- removed ------------------------------------------------------------------
[ $failed = 0 ] || { echo "--- its last words"; $S logs "$(pod)" --tail=40; }
overlay | $K delete -f - >/dev/null
until_is "rules when it is deleted" 0 rules
until_is "interface when it is deleted" "" interface
check "look-up when it is deleted" "$vip" "$(from glibc dig +short "web.trial.svc.$DOMAIN")"
echo "$failed failed"
exit $failed
