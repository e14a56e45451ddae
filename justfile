# Every task of the project. CI calls these and nothing else: `just ci` is what it runs, in order.
# A recipe that needs Go or root and has neither says "skipped" and why; with CI=1 that is a failure.

set shell := ["bash", "-euo", "pipefail", "-c"]

target := env("CARGO_TARGET_DIR", "target")
server := target / "release/signpost"

# The recipes.
default:
    @just --list --unsorted

# Format all Rust code.
fmt:
    cargo fmt
    rustfmt --edition 2024 fuzz/fuzz_targets/*.rs

# Format, clippy, documentation and shell scripts: nothing may be wrong.
lint: (need "shellcheck")
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    cargo check --locked --quiet --manifest-path fuzz/Cargo.toml --target-dir target
    RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --locked --no-deps --document-private-items --quiet
    git ls-files -z '*.sh' .ci/run tests/cluster/kubectl | xargs -0 shellcheck -x -P SCRIPTDIR -S warning

# docs/plugins: the manual of each plugin, as `signpost -manual` prints it. `just test` holds the pages equal to that.
manuals:
    # With an example, cargo chooses the features of the tests' build, and finds it.
    cargo build --locked --bin signpost --example scale-bed
    mkdir -p docs/plugins && rm -f docs/plugins/*.md
    set -e; for name in $({{target}}/debug/signpost -plugins); do {{target}}/debug/signpost -manual "$name" >"docs/plugins/$name.md"; done

# Unit and integration tests. What a machine lacks (root, Go, musl-tools) is skipped with its reason, unless CI=1.
test:
    cargo test --locked --no-fail-fast

# The short form of each row is a test of `just test`; `just faults C13 K2` runs the long form of these and writes their rows.
# What upstreams and clients do wrong, row by row, beside CoreDNS: about 25 minutes, writes docs/faults.md.
faults *rows: peers
    FAULTS_TABLE=docs/faults.md FAULTS=long FAULTS_ROWS="{{rows}}" cargo test --locked --release --test faults

# A cycle of faults each minute; `just soak 60` judges the slope of an hour. CI runs five minutes.
# Load of all kinds with changes, reloads and faults: memory, files and threads stay, and no promised answer is lost.
soak minutes="5":
    SOAK_MINUTES={{minutes}} cargo test --locked --test soak -- --ignored --nocapture

# `ZONES_SEED=7 just zones` makes other random zones.
# Zone files beside NSD and Knot, as they run: 100,000 questions, no difference unexplained. `just test` asks some thousand.
zones: (need "nsd" "knotd")
    ZONES=100000 cargo test --locked --test zones -- --nocapture

# Each listener layout reloaded into each other one, both ways, under 2,000 questions a second: 4 minutes. `just test` has a short form.
listeners:
    LISTENERS=long cargo test --locked --release --test behaviour listeners::

# The program as it is shipped: linked to no library, not even glibc's, so that an image needs nothing else.
# Its relocations are packed (600 kB less), which glibc 2.36 and later undo in a static program: an older one to build with is too old.
release:
    cargo rustc --locked --release --bin signpost -- -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs

# An OCI image of it in target/image, without a container engine; `role`: coredns or node-cache. The tag: docs/migrate.md.
image name="registry.local/signpost/coredns:v1.15.0" role="coredns": release
    deploy/image/image.py {{server}} {{name}} {{target}}/image/{{role}}.tar {{role}}

# The DNS of a cluster, question by question: from manifests and from a real API server.
conformance: release (need "openssl" "curl" "ip" "unshare" "setpriv" "flock" "python3")
    just or-skip tests/conformance/run.sh --server {{server}} --source manifests
    just or-skip tests/conformance/run.sh --server {{server}} --source api

# Changes and outages of a real API server.
live: release (need "openssl" "curl" "ip" "unshare" "setpriv" "flock" "python3")
    just or-skip tests/conformance/run.sh --live --server {{server}}

# Manifests, chart, alerts, dashboards and image, as far as they can be tried without a cluster.
deploy-test: release (need "openssl" "curl" "flock" "runc" "nsenter" "python3" "dig" "nft" "ip")
    just or-skip tests/deploy/run.sh

# A real one-node cluster with Signpost as its DNS: kubeadm's manifest and ours, rights, moving over and back, restarts, Kubernetes' own tests.
cluster: release peers
    NODELOCAL=1 COREDNS={{target}}/peers/coredns just or-skip tests/cluster/run.sh {{server}}

# Kubernetes' own tests of DNS, beside CoreDNS: 10 minutes, writes docs/proof.md. `just e2e PROGRAM` tries another server alone.
e2e program="": release peers
    {{ if program == "" { "PAGE=docs/proof.md" } else { "" } }} ONLY=e2e.sh just or-skip tests/cluster/run.sh {{ if program == "" { server + " " + target / "peers/coredns" } else { program } }}

# What clients lose in ten rolling restarts, beside CoreDNS: 7 minutes, writes docs/restarts.md.
restarts: release peers
    just or-skip tests/cluster/restarts-page.sh {{server}} {{target}}/peers/coredns

# Start the demo, ask it some questions, stop it.
demo: release
    Corefile.examples/demo/demo.sh {{server}}

# `just bench chain` runs those whose name has "chain" in it.
# All of criterion's benches, as `cargo bench` runs them: whole servers (load, ndots), then parts.
bench *filter:
    cargo bench --locked -- {{filter}}

# What two workers cost each other, without sockets, on two cores; three quarters of a minute.
bench-cores:
    cargo run --locked --release --example cores

# What an answer costs whole servers: tables of Signpost, CoreDNS, others and a bare UDP loop; `--rows`, `--names`, `--law`.
bench-peers *options: release peers (need "taskset" "python3" "openssl")
    cargo build --locked --release --bin signpost-bench --example scale-bed
    benches/peers/run.py {{options}}

# Each goal for one name and for a whole cluster's, beside the servers that it names: `just bench-goals --rounds 5`.
bench-goals *options: (bench-peers "--goals" options)

# Those of its rows that are about forwarded queries.
bench-forward *options: (bench-peers "--rows forward,forward-chain" options)

# How many instructions an answer takes and how many lines it needs from beyond the caches, against benches/instructions.limits; `--renew` writes them anew.
instructions *options:
    just or-skip benches/instructions.sh {{options}}

# What a look-up costs with `ndots:5`, for glibc, musl and Go, with and without `autopath`, beside CoreDNS: benches/ndots.sh.
bench-ndots *options: release peers (need "unshare" "ip" "openssl" "curl" "musl-gcc" "python3")
    just or-skip benches/ndots.sh {{options}}

# A cluster of 5,000 nodes beside CoreDNS: memory, start, changes, latency: benches/scale.py.
bench-scale *options: release peers (need "taskset" "python3")
    cargo build --locked --release --bin signpost-bench --example scale-bed
    just or-skip benches/scale.py {{options}}

# A tenth of it in a real kube-apiserver: start, memory, PATCH to changed answer, beside CoreDNS; half a minute.
bench-scale-real: release (need "taskset" "python3" "openssl" "curl" "flock")
    just or-skip benches/scale-real.sh

# The whole set of 5,000 nodes with Pods, and a relist, stay under the memory limit of the manifests.
scale: release (need "taskset" "python3")
    cargo build --locked --release --example scale-bed
    just or-skip benches/scale.py --only signpost --part pods --minute 0 --limit 170 --out -

# Each fuzz target for some seconds. Needs a nightly compiler; the same checks run in `just test`.
fuzz seconds="60":
    #!/usr/bin/env bash
    set -euo pipefail
    rustup toolchain list | grep -q nightly || { echo "fuzz: skipped, there is no nightly compiler: rustup toolchain install nightly"; exit 0; }
    cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
    cd fuzz
    for name in fuzz_targets/*.rs; do
        cargo +nightly fuzz run -s none "$(basename "$name" .rs)" -- -max_total_time={{seconds}} -print_final_stats=1
    done

# Licenses, bans and sources of everything we build on. Advisories need a network: see deny.toml.
deny:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! cargo deny --version >/dev/null 2>&1 && ! cargo install --locked --quiet cargo-deny; then
        echo "deny: skipped, cargo-deny could not be installed"
        [ -z "${CI:-}" ]
        exit
    fi
    cargo deny --offline --locked check licenses bans sources || cargo deny --locked check licenses bans sources

# Everything that CI runs, in order; the last lines say what passed and how long it took.
ci:
    #!/usr/bin/env bash
    set -uo pipefail
    export CI=1
    steps=(lint peers test instructions deny demo soak conformance live scale deploy-test cluster) passed=()
    for step in "${steps[@]}"; do
        echo "=== just $step"
        began=$SECONDS
        if ! just "$step"; then
            printf 'passed: %s\n' "${passed[@]}"
            echo "FAILED: $step after $((SECONDS - began)) s"
            exit 1
        fi
        passed+=("$step in $((SECONDS - began)) s")
    done
    printf 'passed: %s\n' "${passed[@]}"
    echo "all passed in $SECONDS s"

# The real CoreDNS and etcd, which the tests run beside Signpost where they are built.
[private]
peers:
    just or-skip tests/peers/build.sh coredns etcd

# Status 3 of a script means that a tool is missing: skipped, unless CI asks.
[private]
or-skip +command:
    #!/usr/bin/env bash
    set -u
    {{command}}
    status=$?
    if [ $status = 3 ]; then
        echo "skipped: {{command}} (why is said above)"
        [ -z "${CI:-}" ] && exit 0
    fi
    exit $status

# Says which packages a recipe needs.
[private]
need +tools:
    #!/usr/bin/env bash
    for tool in {{tools}}; do
        command -v "$tool" >/dev/null && continue
        case $tool in
            ip) package=iproute2 ;;
            nft) package=nftables ;;
            unshare | setpriv | flock | taskset | nsenter) package=util-linux ;;
            dig) package=bind9-dnsutils ;;
            musl-gcc) package=musl-tools ;;
            knotd) package=knot ;;
            *) package=$tool ;;
        esac
        echo "$tool is missing: apt-get install $package" >&2
        exit 1
    done
