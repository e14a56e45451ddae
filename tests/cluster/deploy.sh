#!/bin/bash
# deploy.sh SERVER: deploys the program SERVER as the cluster's DNS, as kubeadm deploys CoreDNS, and
# the pods that look names up (manifests/clients.yaml); waits until they are ready. The cluster is
# already up (up.sh). Prints the image's name.
# OVERLAY=NAME applies that overlay of deploy/ over kubeadm's manifest, with the image that `just
# image` makes of SERVER.
set -euo pipefail
. "$(dirname "$0")/env.sh"
server=${1:?SERVER: the program to deploy, for example target/peers/coredns}
[ -x "$server" ] || die "no such program: $server"
[ -n "$(init_pid)" ] || die "the cluster is not up: up.sh"
K=$HERE/kubectl T="$K -n trial" S="$K -n kube-system"
images() { in_node ctr -a /run/containerd/containerd.sock -n k8s.io images "$@"; }

r=$CLUSTER_DIR/rootfs
mkdir -p "$r"
have=$(images ls -q)
for k in glibc musl; do
	grep -qx "registry.local/$k:1" <<<"$have" ||
		{ "$HERE/rootfs.sh" "$r/$k" $k && "$HERE/image.sh" "$r/$k" "registry.local/$k:1" /bin/sh; } >&2
done
image=registry.local/dns:$(sha256sum "$server" | cut -c1-12)
as_kubeadm() { # without `apply`, like kubeadm: otherwise a later `apply` would remove the replicas as its own
	local verb=create
	! $S get deploy coredns >/dev/null 2>&1 || verb=replace
	sed "s|registry.local/coredns:v1.15.0.*|$image|" "$HERE/manifests/coredns.yaml" | $K $verb -f - >/dev/null
}
if [ -n "${OVERLAY:-}" ]; then
	deploy=$HERE/../../deploy image=${image/dns:/signpost/coredns:}
	grep -qx "$image" <<<"$have" || {
		"$deploy/image/image.py" "$server" "$image" "$CLUSTER_DIR/image.tar"
		images import - <"$CLUSTER_DIR/image.tar"
	} >&2
	$S get deploy coredns >/dev/null 2>&1 || as_kubeadm
	# kubectl warns for each object that it was not made by `apply`.
	$K kustomize "$deploy/overlays/$OVERLAY" | sed "s|registry.local/signpost/coredns:.*|$image|" |
		$K apply -f - 2> >(grep -v last-applied-configuration >&2) >/dev/null
else
	grep -qx "$image" <<<"$have" || LIBS=1 AS=/coredns "$HERE/image.sh" "$server" "$image" >&2
	as_kubeadm
fi
$K apply -f "$HERE/manifests/clients.yaml" >/dev/null
$S rollout status deploy/coredns --timeout=120s >&2
$T rollout status deploy/web --timeout=60s >/dev/null
$T rollout status sts/db --timeout=60s >/dev/null
$T wait --for=condition=Ready pod/glibc pod/musl pod/tcp --timeout=60s >/dev/null
# The kubelet may need another moment before it runs commands in them.
for pod in glibc musl tcp; do
	for _ in $(seq 60); do
		$T exec "$pod" -- true 2>/dev/null && break
		sleep 0.5
	done
done
echo "$image"
