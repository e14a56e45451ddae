#!/bin/bash
# All tests, on a fresh Debian 12 machine with Rust and Go: installs missing packages and runs `just
# ci`. CI took 1,591 s for a clean checkout on 2026-11-29; with empty caches of cargo and Go it
# takes longer.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
want() { # COMMAND PACKAGE
	command -v "$1" >/dev/null || missing+=("$2")
}
want cc build-essential
want git git
want curl curl
want openssl openssl
want ip iproute2
want nft nftables
want unshare util-linux
want python3 python3
want dig bind9-dnsutils
want shellcheck shellcheck
want ps procps
want runc runc
want unbound unbound
want nsd nsd
want knotd knot
want musl-gcc musl-tools
want valgrind valgrind
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
python3 -c 'import ensurepip' 2>/dev/null || python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
	sudo=()
	[ "$(id -u)" = 0 ] || sudo=(sudo)
	"${sudo[@]}" apt-get update -q
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
fi

PATH=$HOME/.cargo/bin:/usr/local/go/bin:$PATH
cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
command -v just >/dev/null || cargo install --locked just
just ci
