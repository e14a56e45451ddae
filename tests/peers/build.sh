#!/bin/bash
# Builds the programs that Signpost is compared with or runs against, each once, into target/peers:
#   coredns   CoreDNS 1.15.0 with its default plugins
#   kube      one binary for etcd, the control plane, kubelet and kubectl, with a link for each
#             (etcd means the same)
#   e2e       Kubernetes' own network tests (e2e.test), and agnhost, which their pods run
#   helm      Helm 4
#   promtool  Prometheus's tool for rules, without its service discoveries
#   crds      definitions of the Prometheus operator's custom resources
#   venv      a Python environment with the packages of requirements.txt
# build.sh [coredns|kube|etcd|e2e|helm|promtool|crds|venv|all]...     default: all
# Prints a line for each: built in N s, or found. Builds again what changed in sources or versions.
# Exit status 3: there is no Go (for venv: no Python); callers say "skipped" then.
# Environment: CARGO_TARGET_DIR; JOBS is the number of compilers at a time (default: all CPUs).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
mkdir -p "$target/peers"
peers=$(cd "$target/peers" && pwd)
KUBERNETES=v1.36.1 # the version that the components report; kube/go.mod sets the code

usage() { sed -n '2,14s/^# \{0,1\}//p' "$here/build.sh"; }

# stamp FLAGS FILE...: a digest of everything that determines the result
stamp() { { echo "$1"; cat "${@:2}"; } | sha256sum | cut -d' ' -f1; }

# found NAME FILE STAMP: whether FILE exists, made from exactly these sources
found() {
	[ -x "$2" ] && [ "$(cat "$peers/$1.stamp" 2>/dev/null)" = "$3" ] && echo "$1: found, $2"
}

# has_go NAME: finds Go, or says that NAME cannot be built
has_go() {
	! command -v go >/dev/null || return 0
	[ -x /usr/local/go/bin/go ] || { echo "$1: no Go here (go 1.26 is needed to build it); not built" >&2; return 3; }
	PATH=$PATH:/usr/local/go/bin
}

# go_program NAME LDFLAGS [TAGS [PACKAGE [MODULE [VERB...]]]]: builds NAME from a package (the
# module's own, or one of a required module) of the module in the folder MODULE (default: NAME).
# VERB is `build` or `test -c`.
go_program() {
	local name=$1 flags=$2 tags=${3:-} package=${4:-.} module=${5:-$1} verb=("${@:6}") sources=() mark began
	[ ${#verb[@]} -gt 0 ] || verb=(build)
	# A package of another module has no source here.
	case $package in
	./* | .) sources=("$here/$module/$package"/*.go) ;;
	esac
	sources+=("$here/$module"/go.{mod,sum})
	mark=$(stamp "$flags$tags" "${sources[@]}")
	found "$name" "$peers/$name" "$mark" && return
	has_go "$name" || return
	began=$(date +%s)
	echo "$name: building, this takes some minutes the first time" >&2
	(cd "$here/$module" && GOFLAGS='' GOWORK=off CGO_ENABLED=0 nice go "${verb[@]}" -p "${JOBS:-$(nproc)}" -mod=readonly -trimpath \
		-buildvcs=false -tags "$tags" -ldflags "-s -w $flags" -o "$peers/$name.new" "$package") || return 1
	mv "$peers/$name.new" "$peers/$name" && echo "$mark" >"$peers/$name.stamp" || return 1
	echo "$name: built in $(($(date +%s) - began)) s, $peers/$name"
}

coredns() { go_program coredns ''; }

helm() { go_program helm ''; }

promtool() { go_program promtool '' remove_all_sd github.com/prometheus/prometheus/cmd/promtool; }

crds() {
	local module mark folder
	mark=$(stamp crds "$here"/crds/go.{mod,sum})
	found crds "$peers/crds" "$mark" && return
	has_go crds || return
	module=$(sed -n 's/^require \(.*\) \(.*\)/\1@\2/p' "$here/crds/go.mod")
	folder=$(cd "$here/crds" && GOFLAGS='' GOWORK=off go mod download -json "$module" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
	rm -rf "$peers/crds"
	mkdir "$peers/crds"
	# Only these kinds are needed, and others exceed the limit of kubectl's annotations.
	cp "$folder"/example/prometheus-operator-crd/*_{servicemonitors,prometheusrules}.yaml "$peers/crds/" || return 1
	echo "$mark" >"$peers/crds.stamp"
	echo "crds: copied, $peers/crds"
}

# kube_flags: makes the components, and the tests, report their version
kube_flags() {
	local v=k8s.io/component-base/version major minor
	IFS=. read -r major minor _ <<<"${KUBERNETES#v}"
	echo "-X $v.gitVersion=$KUBERNETES -X $v.gitMajor=$major -X $v.gitMinor=$minor -X $v.gitTreeState=clean \
		-X $v.gitCommit=$(printf %040d 0) -X $v.buildDate=1970-01-01T00:00:00Z"
}

kube() {
	local n
	go_program kube "$(kube_flags)" || return
	for n in etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
		ln -sfn kube "$peers/$n"
	done
}

e2e() {
	go_program agnhost '' '' k8s.io/kubernetes/test/images/agnhost kube &&
		# Vetting other people's code would take minutes.
		go_program e2e.test "$(kube_flags)" '' ./e2e kube test -c -vet=off
}

venv() {
	local mark began pip
	mark=$(stamp venv "$here/requirements.txt")
	found venv "$peers/venv/bin/python" "$mark" && "$peers/venv/bin/python" -c 'import dns, yaml' && return
	command -v python3 >/dev/null || { echo "venv: no python3 here" >&2; return 3; }
	began=$(date +%s)
	rm -rf "$peers/venv" "$peers/venv.stamp"
	pip=("$peers/venv/bin/python" -m pip)
	python3 -m venv "$peers/venv" >/dev/null 2>&1 || {
		# Debian has a separate package for ensurepip; the machine's pip can replace it.
		rm -rf "$peers/venv"
		python3 -m venv --without-pip "$peers/venv" || return 1
		pip=(python3 -m pip --python "$peers/venv/bin/python")
	}
	"${pip[@]}" install -q --disable-pip-version-check -r "$here/requirements.txt" || return 1
	echo "$mark" >"$peers/venv.stamp"
	echo "venv: built in $(($(date +%s) - began)) s, $peers/venv"
}

[ $# -gt 0 ] || set -- all
for what; do
	case $what in
	coredns | kube | etcd | e2e | helm | promtool | crds | venv | all) ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done
case " $* " in *" all "*) set -- venv coredns kube e2e helm promtool crds ;; esac
status=0
for what; do
	[ "$what" != etcd ] || what=kube
	exec 9>"$peers/$what.lock" # a second caller waits for the build of the first
	flock 9
	"$what" || status=$?
done
exit $status
