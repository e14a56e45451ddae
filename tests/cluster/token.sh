#!/bin/bash
# token.sh SERVER: the service-account token expires and is replaced without a failure. The pods get
# tokens for 10 minutes, the shortest lifetime; the kubelet writes a new one after 8. After 11
# minutes, when the first one has expired, the API server is restarted, so that every request needs
# the new token, and a new Service has to be seen.
# The cluster is up (up.sh). Takes 12 minutes. Exit status: how many checks failed.
set -uo pipefail
. "$(dirname "$0")/env.sh"
K=$HERE/kubectl S="$K -n kube-system"
minutes=${MINUTES:-11}
failed=0
report() { # WHAT STATUS DETAIL
	if [ "$2" = 0 ]; then echo "ok    $1: $3"; else echo "FAIL  $1: $3"; failed=$((failed + 1)); fi
}
OVERLAY=kubeadm "$HERE/deploy.sh" "${1:?SERVER: the program to deploy}" >/dev/null || exit 99
$S patch deploy coredns --type=strategic -p '{"spec": {"replicas": 2, "template": {"spec": {
	"automountServiceAccountToken": false,
	"volumes": [{"name": "token", "projected": {"sources": [
		{"serviceAccountToken": {"path": "token", "expirationSeconds": 600}},
		{"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}]}}],
	"containers": [{"name": "coredns", "volumeMounts": [
		{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}]}]}}}}' >/dev/null
$S rollout status deploy/coredns --timeout=90s >/dev/null || exit 99
sleep $((minutes * 60))
"$HERE/service.sh" restart kube-apiserver >/dev/null
until $K get --raw /readyz >/dev/null 2>&1; do sleep 0.2; done
# kube-proxy first has to find its API server; until then the ClusterIP does not work: seconds,
# sometimes half a minute.
until in_node curl -sk -o /dev/null --max-time 1 "https://$API_IP/readyz"; do sleep 0.1; done
$K -n trial create service clusterip late --tcp=80 >/dev/null
address=$($K -n trial get service late -o jsonpath='{.spec.clusterIP}')
began=$SECONDS
for pod in $($S get pods -l k8s-app=kube-dns --field-selector=status.phase=Running -o jsonpath='{.items[*].status.podIP}'); do
	until [ "$($K -n trial exec glibc -- dig +short +time=1 +tries=1 "@$pod" "late.trial.svc.$DOMAIN")" = "$address" ] ||
		[ $((SECONDS - began)) -gt 30 ]; do sleep 0.2; done
	[ $((SECONDS - began)) -le 30 ]
	report "$pod knows a Service that was made after its first token had expired" $? "$((SECONDS - began)) s"
done
refused=$($S logs -l k8s-app=kube-dns --tail=-1 | grep -c 'Unauthorized\|not accepted')
[ "$refused" = 0 ]
report "no token was refused" $? "$refused lines"
$K -n trial delete service late >/dev/null
echo "$failed failed"
exit $failed
