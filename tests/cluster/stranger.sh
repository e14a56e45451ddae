#!/bin/bash
# stranger.sh SIGNPOST COREDNS: a newcomer's move from CoreDNS to Signpost and back, with the
# commands of docs/migrate.md, so that the page stays correct: check the Corefile, run beside,
# compare, save the current state, switch, back. The cluster is up (up.sh). A client looks names up
# all the time. Prints a line per step; exit status: how many failed.
set -uo pipefail
. "$(dirname "$0")/env.sh"
[ $# = 2 ] || die "usage: stranger.sh SIGNPOST COREDNS"
signpost=$(realpath "$1") coredns=$(realpath "$2")
cd "$HERE/../.." || exit 99
page=docs/migrate.md
work=$CLUSTER_DIR/stranger
rm -rf "$work"
mkdir -p "$work/bin"
ln -s "$HERE/kubectl" "$work/bin/kubectl"
ln -s "$signpost" "$work/bin/signpost"
PATH=$work/bin:$PATH
image=registry.local/signpost/coredns:v1.14.2 # the page's image for kubeadm
failed=0
step() { # WHAT COMMAND...
	local what=$1 began=$SECONDS
	shift
	if "$@" >"$work/out" 2>&1; then
		echo "ok    $what ($((SECONDS - began)) s)"
	else
		echo "FAIL  $what:"
		sed 's/^/      /' "$work/out" | tail -n 20
		failed=$((failed + 1))
	fi
}
# Prints the page's command that begins with these words, with its names filled in.
said() { # TEXT
	python3 - "$page" "$1" "$image" <<'PYTHON'
import re, sys
page, start, image = open(sys.argv[1]).read(), re.escape(sys.argv[2]), sys.argv[3]
found = re.search(rf"^    ({start}.*(?:(?<=[|\\])\n.*)*)", page, re.M) or re.search(rf"`({start}[^`]*)`", page)
if not found:
    sys.exit(f"{sys.argv[1]} has no command that begins with: {sys.argv[2]}")
print(re.sub(r"registry\.example\.com/dns/coredns:v[\d.]+|NAME:TAG", image, found.group(1)))
PYTHON
}
run() { # TEXT: runs the command of the page, as typed into a shell
	local command
	command=$(said "$1") || { echo "$command"; return 1; }
	echo "$ $command"
	bash -o pipefail -c "$command"
}
serves() { # signpost|coredns: whether the pods of kube-dns say that they run it
	local newest second
	newest=$(kubectl -n kube-system get pods -l k8s-app=kube-dns --sort-by=.metadata.creationTimestamp -o name | tail -n 1)
	second=$(kubectl -n kube-system logs "$newest" | grep -m 1 '^linux/')
	echo "$second"
	case $1 in signpost) grep -q signpost <<<"$second" ;; coredns) ! grep -q signpost <<<"$second" ;; esac
}
resolves() {
	kubectl -n trial exec glibc -- resolve -4 web web.trial.svc.cluster.local www.example.com &&
		kubectl -n trial exec musl -- resolve -4 web www.example.com
}

# A usual cluster: CoreDNS as kubeadm deploys it, with `log` in its Corefile.
"$HERE/deploy.sh" "$coredns" >/dev/null || exit 99
kubectl -n kube-system get configmap coredns -o yaml | sed 's/^        errors$/        errors\n        log/' |
	kubectl apply -f - >/dev/null 2>&1
kubectl -n kube-system rollout restart deployment/coredns >/dev/null
kubectl -n kube-system rollout status deployment/coredns --timeout=90s >/dev/null
vip=$(kubectl -n trial get service web -o jsonpath='{.spec.clusterIP}')
kubectl -n trial exec glibc -- sh -c "look 100000 2 20 web=$vip www.example.com.=198.51.100.80 & echo \$! >/tmp/stranger.pid; wait" \
	>"$work/looked" 2>&1 &
sleep 5

step "the image (there is no registry here: straight into the node)" bash -c "deploy/image/image.py '$signpost' $image '$work/image.tar' &&
	nsenter -t $(init_pid) -m -n -p -u -i -- ctr -a /run/containerd/containerd.sock -n k8s.io images import - <'$work/image.tar'"
step "the Corefile is checked" run "kubectl -n kube-system get configmap coredns -o jsonpath='{.data.Corefile}' | signpost"
step "the Corefile is checked in the cluster" run "kubectl -n kube-system get configmap coredns -o jsonpath='{.data.Corefile}' |
      kubectl"
step "beside CoreDNS" run "kubectl kustomize deploy/overlays/beside"
step "it is there" run "kubectl -n kube-system rollout status deployment/signpost-coredns"
new=$(bash -c "$(said 'new='); echo \$new") old=$(bash -c "$(said 'old='); echo \$old")
export new old
step "it answers at $new" bash -c "nsenter -t $(init_pid) -n -- dig +short @$new web.trial.svc.cluster.local | grep -qx $vip"
step "compared with $old, by what pods asked lately" run "kubectl -n kube-system logs -l k8s-app=kube-dns --tail"
tail -n 2 "$work/out" | sed 's/^/      /'
cd "$work" && ln -sfn "$HERE/../../deploy" deploy && ln -sfn "$HERE/../../docs" docs || exit 99 # keeps before.yaml out of the checkout
step "what there is is kept" run "kubectl -n kube-system get deployment/coredns service/kube-dns configmap/coredns -o yaml"
step "CoreDNS serves" serves coredns
step "switched, the image only" run "kubectl -n kube-system set image deployment/coredns"
step "watched" run "kubectl -n kube-system rollout status deployment/coredns"
step "Signpost serves" serves signpost
step "pods look names up" resolves
step "back" run "kubectl -n kube-system rollout undo deployment/coredns"
step "watched" run "kubectl -n kube-system rollout status deployment/coredns"
step "CoreDNS serves again" serves coredns
step "pods look names up" resolves
step "what was beside it is gone" run "kubectl delete -k deploy/overlays/beside"

kubectl -n trial exec glibc -- sh -c 'kill $(cat /tmp/stranger.pid)'
wait
read -r -a counts <<<"$(tail -n 1 "$work/looked")"
# kubeadm's own readiness probe, so some may be late, with either server: docs/restarts.md.
# restarts.sh judges the rest.
echo "      meanwhile ${counts[0]:-0} look-ups, ${counts[1]:-?} failed, ${counts[2]:-?} took a second or longer"
sed '$d' "$work/looked" | sed 's/^/      /'
echo "$failed failed"
exit $failed
