#!/bin/bash
# run.sh SERVER...: the whole test, from nothing to nothing: starts a fresh cluster, runs trial.sh
# with each SERVER, and takes the cluster down, also on failure and Ctrl-C. Environment: as trial.sh
# and up.sh (LONG=1, DUAL=1, ...), and
# KEEP=1: leave the cluster up. NODELOCAL=1: nodelocal.sh after each trial. COREDNS=PROGRAM: with
# the first SERVER also the trial of the overlay kubeadm, rights.sh, stranger.sh, restarts.sh with
# two restarts (RESTARTS=N), and e2e.sh.
# ONLY=SCRIPT runs only that script of this folder, with all SERVERs.
# Exit status: 1 if a check failed, 3 if Go or root is missing.
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ $# -gt 0 ] || die "usage: run.sh SERVER..."
[ "$(id -u)" = 0 ] || { echo "run.sh: needs root" >&2; exit 3; }
mkdir -p "$TARGET/cluster"
exec 9>"$TARGET/cluster/lock" # one run at a time: the node's name and addresses are fixed
flock -n 9 || die "another run.sh is at work"
"$HERE/build.sh" 9>&-

child=''
clean() {
	local status=$?
	trap - EXIT
	kill "$guard" 2>/dev/null || :
	[ -z "$child" ] || kill "$child" 2>/dev/null || :
	wait
	if [ -n "${KEEP:-}" ]; then
		echo "run.sh: the cluster stays; $HERE/down.sh --purge removes it"
		return
	fi
	"$HERE/down.sh"
	if [ $status != 0 ] && [ -d "$CLUSTER_DIR/log" ]; then
		rm -rf "$TARGET/cluster/log"
		cp -r "$CLUSTER_DIR/log" "$TARGET/cluster/log"
		echo "run.sh: the logs are in $TARGET/cluster/log" >&2
	fi
	"$HERE/down.sh" --purge
}
# Takes the cluster down if this script is killed.
# shellcheck disable=SC2016
setsid bash -c 'tail --pid="$1" -f /dev/null & trap "kill $!; exit" TERM; wait; "$2" --purge' \
	guard $$ "$HERE/down.sh" </dev/null >/dev/null 2>&1 9>&- &
guard=$!
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
attend() { # in the background, so that this script handles signals at once
	setpriv --pdeathsig TERM -- "$@" 9>&- &
	child=$!
	wait "$child"
}
attend "$HERE/up.sh" --fresh
failed=0
if [ -n "${ONLY:-}" ]; then
	attend "$HERE/$ONLY" "$@"
	exit
fi
for server; do
	[ $# = 1 ] || echo "=== $server"
	attend "$HERE/trial.sh" "$server" || failed=$((failed + $?))
	[ -z "${NODELOCAL:-}" ] || attend "$HERE/nodelocal.sh" "$server" || failed=$((failed + $?))
done
if [ -n "${COREDNS:-}" ]; then
	echo "=== Kubernetes' own tests"
	attend "$HERE/e2e.sh" "$1" || failed=$((failed + $?))
	echo "=== the overlay kubeadm"
	OVERLAY=kubeadm attend "$HERE/trial.sh" "$1" || failed=$((failed + $?))
	echo "=== rights"
	attend "$HERE/rights.sh" "$1" || failed=$((failed + $?))
	echo "=== a stranger's move"
	attend "$HERE/stranger.sh" "$1" "$COREDNS" || failed=$((failed + $?))
	echo "=== restarts"
	RESTARTS=${RESTARTS:-2} attend "$HERE/restarts.sh" "$1" || failed=$((failed + $?))
fi
[ $failed = 0 ]
