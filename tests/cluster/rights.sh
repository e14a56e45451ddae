#!/bin/bash
# rights.sh SERVER: kubeadm's own manifest with only the image changed, and one right removed at a
# time: the log of a new pod has to name the verb and the resource, and once the right is back the
# pod becomes ready without a restart. The cluster is up (up.sh). Prints a line per check; exit
# status: how many failed.
set -uo pipefail
. "$(dirname "$0")/env.sh"
S="$HERE/kubectl -n kube-system"
failed=0
report() { # WHAT STATUS DETAIL
	if [ "$2" = 0 ]; then echo "ok    $1: $3"; else echo "FAIL  $1: $3"; failed=$((failed + 1)); fi
}
until_true() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.3
	done
}
role() { # RESOURCE that is left out, or -
	$S get clusterrole system:coredns -o json >"$CLUSTER_DIR/role.json"
	python3 - "$1" "$CLUSTER_DIR/role.json" <<'PYTHON' | $S replace -f - >/dev/null
import json, sys
role = json.load(open(sys.argv[2]))
groups = [("", ["endpoints", "services", "pods", "namespaces"]), ("discovery.k8s.io", ["endpointslices"])]
kept = [(group, [name for name in names if name != sys.argv[1]]) for group, names in groups]
role["rules"] = [{"apiGroups": [group], "resources": names, "verbs": ["list", "watch"]} for group, names in kept if names]
print(json.dumps(role))
PYTHON
}
newest() { $S get pods -l k8s-app=kube-dns --sort-by=.metadata.creationTimestamp -o name | tail -n 1; }
complains() { # POD RESOURCE
	line=$($S logs "$1" 2>/dev/null | grep -m 1 -E "cannot (list|watch) resource \"$2\".*list and watch on $2")
	[ -n "$line" ]
}

"$HERE/deploy.sh" "${1:?SERVER: the program to deploy}" >/dev/null || exit 99
for resource in services endpointslices namespaces; do
	role $resource
	$S delete "$(newest)" --wait=false >/dev/null
	until_true 20 test "$(newest)" # the Deployment makes another pod at once
	sleep 2
	pod=$(newest) line=''
	until_true 30 complains "$pod" $resource
	report "without the rights on $resource" $? "${line:-$($S logs "$pod" | tail -n 3)}"
	[ "$($S get "$pod" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" = False ]
	report "it is not ready then" $? "$($S get "$pod" --no-headers)"
	role -
	$S wait --for=condition=Ready "$pod" --timeout=90s >/dev/null
	report "with the right it becomes ready by itself" $? "$($S get "$pod" --no-headers)"
done
echo "$failed failed"
exit $failed
