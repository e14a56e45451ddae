//! What the directive takes and refuses. Questions are asked of a real etcd in
//! `tests/behaviour/etcd.rs`.

use crate::testing::Server;

#[test]
fn what_is_taken_and_refused() {
    for (lines, error) in [
        ("etcd", ""),
        (
            "etcd a.example {\nstubzones\ndebug\nupstream 1.1.1.1\npath /x\nno_apex_fallback\nfallthrough\n}\netcd {\nx\n}",
            "",
        ),
        ("etcd {\nendpoint localhost:2379 https://[::1]:2379/\ntls\ncredentials a b\n}", ""),
        ("etcd {\nmin-lease-ttl 60\nmax-lease-ttl 2h30m\n}", ""),
        ("etcd {\nmin-lease-ttl \"\"\n}", ""),
        ("etcd {\nendpoint\n}", "unexpected line ending after 'endpoint'"),
        (
            "etcd {\nendpoint unix:///x\n}",
            "plugin/etcd: Corefile:3 - endpoint \"unix:///x\" is no URL of http or https",
        ),
        ("etcd {\ncredentials\n}", "unexpected line ending after 'credentials'"),
        ("etcd {\ncredentials a\n}", "credentials requires 2 arguments, username and password"),
        ("etcd {\npath\n}", "unexpected line ending after 'path'"),
        ("etcd {\nno_apex_fallback x\n}", "unexpected line ending after 'x'"),
        (
            "etcd {\nmin-lease-ttl x\n}",
            "invalid min-lease-ttl value: invalid TTL format, use format like '30', '30s', '5m', '1h', or '2h30m'",
        ),
        ("etcd {\nmax-lease-ttl -5s\n}", "invalid max-lease-ttl value: TTL must be non-negative"),
        (
            "etcd {\nmax-lease-ttl 4294967296\n}",
            "invalid max-lease-ttl value: TTL too large, maximum is 4294967295 seconds",
        ),
        ("etcd {\ntls a\n}", "error reading a: open a: no such file or directory"),
        ("etcd {\nfoo\n}", "Corefile:3 - Error during parsing: unknown property 'foo'"),
    ] {
        let refusal = Server::refusal(lines);
        assert!(refusal.ends_with(error) && refusal.is_empty() == error.is_empty(), "{lines}: {refusal}");
    }
}
