#!/bin/bash
# run.sh [TEST]...: tests everything in deploy/ that needs no cluster: manifests and chart against a
# real API server, rules and dashboards against the series of a running Signpost, the image in runc.
# TEST is a name as unittest has it: test_chart, test_image.Container. Default: all.
# Environment: SERVER (default: target/release/signpost, static, as `just release` makes it).
# Exit status: 1 if a test failed, 3 if a tool or root is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$here/../../target}")
export CARGO_TARGET_DIR=$target PEERS=$target/peers
[ "$(id -u)" = 0 ] || { echo "run.sh: needs root: the image is unpacked with its capability, and run" >&2; exit 3; }
PATH=$PATH:/usr/sbin:/sbin
for tool in openssl curl flock runc nsenter nft; do
	command -v $tool >/dev/null || { echo "run.sh: $tool is missing; apt-get install openssl curl util-linux runc nftables" >&2; exit 3; }
done
"$here/../peers/build.sh" venv kube helm promtool crds >&2

mkdir -p "$target/deploy"
STATE=$(mktemp -d "$target/deploy/run.XXXXXX")
export STATE
cluster=$here/../conformance/tools/cluster.sh
# The API server ends with this script, whatever ends it.
# shellcheck disable=SC2016
setsid bash -c 'tail --pid="$1" -f /dev/null; "$2" stop; rm -rf "$STATE"' guard $$ "$cluster" </dev/null >/dev/null 2>&1 &
eval "$("$cluster" api | grep '^export')"
export KUBECONFIG=$STATE/kubeconfig
kubectl=$PEERS/kubectl
"$kubectl" config set-cluster it --server="$KUBE_API" --certificate-authority="$KUBE_CA" >/dev/null
"$kubectl" config set-credentials it --client-certificate="$KUBE_CERT" --client-key="$KUBE_KEY" >/dev/null
"$kubectl" config set-context it --cluster=it --user=it >/dev/null
"$kubectl" config use-context it >/dev/null
until "$kubectl" get namespace kube-system >/dev/null 2>&1 && "$kubectl" get priorityclass system-cluster-critical >/dev/null 2>&1; do sleep 0.2; done
"$kubectl" create -f "$PEERS/crds" >/dev/null
"$kubectl" wait --for=condition=Established --timeout=60s -f "$PEERS/crds" >/dev/null

cd "$here"
[ $# -gt 0 ] || set -- test_*.py
PYTHONDONTWRITEBYTECODE=1 "$PEERS/venv/bin/python" -m unittest --verbose "$@"
