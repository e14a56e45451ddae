#!/bin/bash
# e2e.sh SERVER...: Kubernetes' own end-to-end tests of DNS (the specs `[sig-network] DNS`, those of
# Services that look names up, and with SCALE=1 the one with 10,000 Services), with each SERVER as
# the cluster's DNS. The cluster is up (up.sh).
# Prints a table: spec, and for each SERVER its result and its time. PAGE=FILE also writes it to
# that page, between the lines `<!-- e2e -->` and `<!-- end -->`.
# OVERLAY=kubeadm deploys the first SERVER with that overlay of deploy/. FOCUS=EXPRESSION runs other
# specs.
# WITHOUT=PLUGIN removes that plugin from the Corefile, to see what fails then.
# STUB=PROGRAM is the DNS server that some specs run in a Pod of their own; default:
# target/peers/coredns.
# Exit status: how many specs the first SERVER failed, 99 if none could be run.
set -uo pipefail
. "$(dirname "$0")/env.sh"
[ $# -gt 0 ] || die "usage: e2e.sh SERVER..."
[ -n "$(init_pid)" ] || die "the cluster is not up: up.sh"
"$HERE/../peers/build.sh" e2e >&2 || exit
stub=${STUB:-$PEERS/coredns}
[ -x "$stub" ] || { "$HERE/../peers/build.sh" coredns >&2 || exit; }
focus=${FOCUS:-'\[sig-network\] DNS|\[sig-network\] Services should (be able to change the type from (ExternalName|ClusterIP to E|NodePort to E)|create endpoints for unready pods)'${SCALE:+'|PerformanceDNS'}}
registry=registry.k8s.io/e2e-test-images
work=$CLUSTER_DIR/log/e2e # run.sh keeps log if something fails
mkdir -p "$work"

# The images of the specs, by the names that the specs use.
r=$CLUSTER_DIR/rootfs
mkdir -p "$r"
{
	"$HERE/rootfs.sh" "$r/agnhost" agnhost "$stub" && "$HERE/image.sh" "$r/agnhost" $registry/agnhost:2.63.0 /agnhost &&
		"$HERE/rootfs.sh" "$r/glibc" glibc && "$HERE/image.sh" "$r/glibc" $registry/glibc-dns-testing:2.0.0 /bin/sh
} >&2 || exit 99

take_out() { # PLUGIN
	local S="$HERE/kubectl -n kube-system"
	$S get cm coredns -o json | python3 -c '
import json, re, sys
it = json.load(sys.stdin)
it["data"]["Corefile"] = re.sub(rf"(?m)^ +{sys.argv[1]}\b(.*\{{(.|\n)*?\}}|.*)\n", "", it["data"]["Corefile"], count=1)
json.dump(it, sys.stdout)' "$1" | $S replace -f - >/dev/null
	$S rollout restart deploy/coredns >/dev/null
	$S rollout status deploy/coredns --timeout=120s >&2
}

reports=()
for server; do
	name=$(basename "$server")
	"$HERE/deploy.sh" "$server" >/dev/null || exit 99
	unset OVERLAY
	[ -z "${WITHOUT:-}" ] || take_out "$WITHOUT"
	echo "=== Kubernetes' tests of DNS, $name" >&2
	report=$work/$name.json
	rm -f "$report"
	# The tests run inside the cluster's network, as kubectl does.
	(cd "$work" && nsenter -t "$(init_pid)" -n -- "$PEERS/e2e.test" -ginkgo.focus="$focus" -ginkgo.skip='Provider:GCE' \
		-ginkgo.json-report="$report" -ginkgo.no-color -kubeconfig="$CLUSTER_DIR/conf/admin.kubeconfig" -kubectl-path="$PEERS/kubectl" \
		-provider=local -minStartupPods=2 -dns-domain="$DOMAIN" -report-dir="$work") >"$work/$name.log" 2>&1
	[ -s "$report" ] || { tail -n 30 "$work/$name.log" >&2; die "no report: $work/$name.log"; }
	reports+=("$name=$report")
done
python3 "$HERE/e2e.py" ${PAGE:+--page "$PAGE"} "${reports[@]}"
