#!/bin/bash
# scale-real.sh [SERVICES]: a tenth of the set of scale.py, in a real kube-apiserver with etcd.
# Default: 820 Services, 15,000 endpoints. Starts one, fills it, runs scale_real.py, stops it. Needs
# the results of tests/peers/build.sh (venv, kube, coredns) and of `just release`. Exit status 3:
# something is missing. Environment: as in scale.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$here/../target}")
export CARGO_TARGET_DIR=$target PEERS=$target/peers
for tool in openssl curl flock taskset; do
	command -v $tool >/dev/null || { echo "scale-real.sh: $tool is missing" >&2; exit 3; }
done
"$here/../tests/peers/build.sh" venv kube coredns >&2
mkdir -p "$target/scale-real"
STATE=$(mktemp -d "$target/scale-real/run.XXXXXX")
export STATE
cluster=$here/../tests/conformance/tools/cluster.sh
# The API server ends with this script, whatever ends it.
# shellcheck disable=SC2016
setsid bash -c 'tail --pid="$1" -f /dev/null; "$2" stop; rm -rf "$STATE"' guard $$ "$cluster" </dev/null >/dev/null 2>&1 &
eval "$("$cluster" api | grep '^export')"
export KUBE_API KUBE_CA KUBE_CERT KUBE_KEY
PYTHONDONTWRITEBYTECODE=1 "$PEERS/venv/bin/python" "$here/scale_real.py" "$@"
