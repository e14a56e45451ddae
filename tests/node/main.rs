//! A node cache with a real kernel: interface, rules and Corefile, from start to end, and after a
//! crash.
//!
//! Each test runs in its own network namespace. The Corefile has the shape of the one that
//! Kubernetes ships for its NodeLocal DNSCache. The upstream is a Signpost that refuses everything
//! outside cluster.local and arpa, so an answer shows which server gave it.

mod place;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use place::{Pod, Running, addresses, ask, ask_until, inside, page, rules, shell};

/// For iptables mode: `sed` has filled in the addresses; the program fills in the other words.
const BASE: &str = "cluster.local:53 {
    errors
    cache {
            success 9984 30
            denial 9984 5
    }
    reload 2s 1s
    loop
    bind 169.254.20.10 10.96.0.10
    forward . __PILLAR__CLUSTER__DNS__ {
            force_tcp
    }
    prometheus :9253
    health 169.254.20.10:8080
    }
in-addr.arpa:53 {
    errors
    cache 30
    reload 2s 1s
    loop
    bind 169.254.20.10 10.96.0.10
    forward . __PILLAR__CLUSTER__DNS__ {
            force_tcp
    }
    prometheus :9253
    }
.:53 {
    errors
    cache 30
    reload 2s 1s
    loop
    bind 169.254.20.10 10.96.0.10
    forward . __PILLAR__UPSTREAM__SERVERS__
    prometheus :9253
    }
";

/// The server behind the ClusterIP of `kube-dns-upstream`, which `kube-dns` leads to without a node
/// cache.
const UPSTREAM: &str = "cluster.local:53 in-addr.arpa:53 {
    bind 10.96.3.4
    whoami
}
";

const ARGUMENTS: &str = "-localip 169.254.20.10,10.96.0.10 -conf /etc/Corefile -upstreamsvc kube-dns-upstream \
    -basecorefile Corefile.base -kubednscm kube-dns";

const NAME: &str = "web.default.svc.cluster.local.";
const LINK_LOCAL: &str = "169.254.20.10:53";
const CLUSTER_IP: &str = "10.96.0.10:53";

/// Returns a folder with the Corefile, and the upstream that runs there.
fn place(base: &str) -> (tempfile::TempDir, Running) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("kube-dns")).expect("a folder");
    std::fs::write(folder.path().join("Corefile.base"), base).expect("writes");
    std::fs::write(folder.path().join("Corefile.upstream"), UPSTREAM).expect("writes");
    shell("ip addr add 10.96.3.4/32 dev lo");
    let upstream = Running::start(folder.path(), "upstream", "-conf Corefile.upstream");
    upstream.wait_for("CoreDNS-", 1);
    (folder, upstream)
}

fn node(folder: &Path, more: &str) -> Running {
    let running = Running::start(folder, "node", &format!("{ARGUMENTS} {more}"));
    let starts = running.output().matches("CoreDNS-").count();
    running.wait_for("Added nodelocaldns rules", starts + 1);
    running
}

/// Does what kube-proxy does for the Service kube-dns, for pods and for the host itself.
fn kube_proxy() {
    shell("nft add table ip nat");
    for (chain, hook) in [("pods", "prerouting"), ("host", "output")] {
        shell(&format!("nft 'add chain ip nat {chain} {{ type nat hook {hook} priority -100; }}'"));
        shell(&format!("nft add rule ip nat {chain} ip daddr 10.96.0.10 udp dport 53 dnat to 10.96.3.4:53"));
    }
}

#[test]
fn the_interface_is_set_up_once_and_removed_at_the_end() {
    inside("the_interface_is_set_up_once_and_removed_at_the_end", || {
        let (folder, _upstream) = place(BASE);
        let first = node(folder.path(), "");
        for (server, name) in [(LINK_LOCAL, NAME), (CLUSTER_IP, NAME), (LINK_LOCAL, "4.3.96.10.in-addr.arpa.")] {
            ask_until(server, name, "NOERROR");
        }
        assert_eq!(addresses("nodelocaldns").unwrap(), ["10.96.0.10/32", "169.254.20.10/32"]);
        assert_eq!(rules(), Some(16));
        assert!(page("169.254.20.10:8080", "/health").ends_with("OK"));
        let metrics = page("127.0.0.1:9353", "/metrics");
        for kind in ["iptables", "iptables_lock", "interface_add", "interface_check", "configmap"] {
            let line = format!("coredns_nodecache_setup_errors_total{{errortype=\"{kind}\"}} 0");
            assert!(metrics.contains(&line), "{line} is not in:\n{metrics}");
        }
        let entries = page("127.0.0.1:9253", "/metrics");
        assert!(entries.contains("coredns_cache_entries{"), "{entries}");
        assert!(entries.contains("coredns_nodecache_setup_errors_total{"), "one scrape is enough: {entries}");

        assert!(!first.end("KILL").success());
        assert_eq!(rules(), None, "the kernel takes the rules of a process that is killed");
        assert_eq!(addresses("nodelocaldns").map(|all| all.len()), Some(2), "the next start finds the interface");
        let second = node(folder.path(), "");
        ask_until(LINK_LOCAL, NAME, "NOERROR");
        assert_eq!((rules(), addresses("nodelocaldns").map(|all| all.len())), (Some(16), Some(2)));
        assert!(second.end("TERM").success());
        assert_eq!((rules(), addresses("nodelocaldns")), (None, None));
    });
}

#[test]
fn queries_to_the_cluster_ip_are_answered_by_others_after_its_end() {
    inside("queries_to_the_cluster_ip_are_answered_by_others_after_its_end", || {
        // The upstream answers only for cluster.local; the node cache also for the root.
        let base = ".:53 {\n    bind 169.254.20.10 10.96.0.10\n    whoami\n}\n";
        let (folder, _upstream) = place(base);
        let pod = Pod::start();
        kube_proxy();
        // Counts which queries are tracked.
        shell("nft add table ip watch");
        shell("nft 'add chain ip watch input { type filter hook input priority 0; }'");
        shell("nft add rule ip watch input ip daddr 10.96.0.10 udp dport 53 ct state untracked counter");
        shell("nft add rule ip watch input ip daddr 10.96.0.10 udp dport 53 counter");
        let from_both = || (pod.ask("10.96.0.10", "any.test."), ask(CLUSTER_IP, "any.test."));
        let (here, elsewhere) = (("NOERROR".into(), "NOERROR aa".into()), ("REFUSED".into(), "REFUSED".into()));
        assert_eq!(from_both(), elsewhere);
        let running = node(folder.path(), "");
        assert_eq!(from_both(), here);
        running.end("KILL");
        assert_eq!(from_both(), elsewhere, "at once, with the interface still there");
        let running = node(folder.path(), "");
        assert_eq!(from_both(), here);
        running.end("TERM");
        assert_eq!(from_both(), elsewhere);
        let counted = shell("nft list chain ip watch input");
        assert_eq!(
            counted.matches("counter packets 4 ").count(),
            2,
            "all four that came here are untracked: {counted}"
        );
    });
}

#[test]
fn what_shall_stay_stays_and_the_next_start_takes_it_over() {
    inside("what_shall_stay_stays_and_the_next_start_takes_it_over", || {
        let (folder, _upstream) = place(BASE);
        node(folder.path(), "-skipteardown").end("TERM");
        assert_eq!((rules(), addresses("nodelocaldns").map(|all| all.len())), (Some(16), Some(2)));
        // With other addresses: those of the first start are removed.
        std::fs::write(folder.path().join("Corefile.base"), ".:53 {\n    bind 169.254.20.11\n    whoami\n}\n").unwrap();
        let other = node(folder.path(), "-localip 169.254.20.11");
        assert_eq!(rules(), Some(8));
        place::until("only its address is left", || addresses("nodelocaldns").unwrap() == ["169.254.20.11/32"]);
        assert!(other.end("TERM").success());
        assert_eq!((rules(), addresses("nodelocaldns")), (None, None));
    });
}

#[test]
fn both_families_are_served_and_what_is_lost_comes_back() {
    inside("both_families_are_served_and_what_is_lost_comes_back", || {
        let base = ".:53 {\n    bind __PILLAR__LOCAL__DNS__\n    whoami\n}\n";
        let (folder, _upstream) = place(base);
        let running = node(folder.path(), "-localip 169.254.20.10,fd00:20::10 -syncinterval 1s");
        ask_until("[fd00:20::10]:53", "any.test.", "NOERROR");
        let wanted = ["169.254.20.10/32", "fd00:20::10/128"];
        assert_eq!((rules(), addresses("nodelocaldns").unwrap()), (Some(16), wanted.map(str::to_owned).to_vec()));
        let text = shell("nft list table inet nodelocaldns");
        assert!(text.contains("ip6 daddr fd00:20::10 udp dport 53 notrack"), "{text}");
        // The host may do anything with its own rules: these are not among them.
        shell("nft flush ruleset");
        assert_eq!(rules(), Some(16));
        shell("ip link del nodelocaldns");
        running.wait_for("Added interface", 2);
        ask_until(LINK_LOCAL, "any.test.", "NOERROR");
        assert_eq!(rules(), Some(16));
    });
}

#[test]
fn a_foreign_interface_is_not_removed() {
    inside("a_foreign_interface_is_not_removed", || {
        let (folder, _upstream) = place(".:53 {\n    bind 169.254.20.10\n    whoami\n}\n");
        let running = node(folder.path(), "-localip 169.254.20.10 -interfacename out");
        ask_until(LINK_LOCAL, "any.test.", "NOERROR");
        assert_eq!(addresses("out").unwrap(), ["169.254.20.10/32", "192.0.2.1/24"]);
        running.end("TERM");
        assert_eq!(addresses("out").unwrap(), ["192.0.2.1/24"]);
    });
}

#[test]
fn stub_domains_are_taken_over_and_a_mistake_changes_nothing() {
    inside("stub_domains_are_taken_over_and_a_mistake_changes_nothing", || {
        let (folder, _upstream) = place(BASE);
        let write = |text: &str| std::fs::write(folder.path().join("kube-dns/stubDomains"), text).expect("writes");
        write("{\"cluster.local\"");
        let running = node(folder.path(), "");
        running.wait_for("Invalid config: kube-dns/stubDomains", 1);
        assert!(page("127.0.0.1:9353", "/metrics").contains("errortype=\"configmap\"} 1"));
        write("{\"stub.cluster.local\": [\"10.96.3.4\"]}");
        running.wait_for("Reloading complete", 1);
        ask_until(LINK_LOCAL, "any.stub.cluster.local.", "NOERROR");
        std::fs::write(folder.path().join("Corefile.base"), BASE.replace("errors", "erors")).expect("writes");
        running.wait_for("Corefile.base:2 - ", 1);
        assert!(ask(LINK_LOCAL, NAME).starts_with("NOERROR"));
        assert_eq!(rules(), Some(16));
    });
}

#[test]
fn two_node_caches_share_a_node_under_names_of_their_own() {
    inside("two_node_caches_share_a_node_under_names_of_their_own", || {
        let (folder, _upstream) = place(".:53 {\n    bind __PILLAR__LOCAL__DNS__\n    whoami\n}\n");
        let _first = node(folder.path(), "-localip 169.254.20.10");
        let arguments = format!("{ARGUMENTS} -localip 169.254.20.11 -metrics-listen-address 127.0.0.1:9354");
        let second =
            Running::start(folder.path(), "second", &arguments.replace(".base", ".base -interfacename second"));
        second.wait_for("Added nodelocaldns rules - table inet second", 1);
        ask_until("169.254.20.11:53", "any.test.", "NOERROR");
        assert!(second.end("TERM").success());
        assert_eq!((rules(), addresses("second")), (Some(8), None));
        // With the first one's name it gets no rules, logs why, and changes nothing.
        let third = Running::start(folder.path(), "third", &format!("{ARGUMENTS} -localip 169.254.20.12"));
        third.wait_for("needs an -interfacename of its own", 1);
        third.end("TERM");
        let here = "169.254.20.10/32".to_owned();
        assert!(rules() == Some(8) && addresses("nodelocaldns").is_some_and(|all| all.contains(&here)));
        // The same if the port is taken.
        let mut same = Running::start(folder.path(), "same", &format!("{ARGUMENTS} -localip 169.254.20.10"));
        assert!(!same.wait().success());
        assert!(same.output().contains("address already in use"), "{}", same.output());
        assert!(rules() == Some(8) && addresses("nodelocaldns").is_some_and(|all| all.contains(&here)));
        ask_until(LINK_LOCAL, "any.test.", "NOERROR");
    });
}

#[test]
fn a_firewall_that_drops_by_default_is_told() {
    inside("a_firewall_that_drops_by_default_is_told", || {
        let (folder, _upstream) = place(BASE);
        let quiet = node(folder.path(), "");
        ask_until(LINK_LOCAL, NAME, "NOERROR");
        assert!(!quiet.output().contains("firewall"), "{}", quiet.output());
        quiet.end("TERM");
        shell(
            "nft add table ip filter && nft 'add chain ip filter INPUT { type filter hook input priority 0; policy drop; }'",
        );
        let told = node(folder.path(), "");
        told.wait_for("drops what it does not let in by name (ip filter INPUT)", 1);
    });
}

#[test]
fn without_the_right_to_change_the_network_it_says_what_to_do() {
    inside("without_the_right_to_change_the_network_it_says_what_to_do", || {
        let (folder, _upstream) = place(BASE);
        let mut running = Running::without_rights(folder.path(), "node", ARGUMENTS);
        assert!(!running.wait().success());
        let said = running.output();
        assert!(said.contains("cannot add the interface nodelocaldns") && said.contains("NET_ADMIN"), "{said}");
        // If other programs have set up the interface, queries are answered, but tracked.
        shell("ip link add name nodelocaldns type bridge && ip addr add 169.254.20.10/32 dev nodelocaldns");
        shell("ip addr add 10.96.0.10/32 dev nodelocaldns");
        let running = Running::without_rights(folder.path(), "node", &format!("{ARGUMENTS} -setupinterface=false"));
        running.wait_for("cannot add the rules", 1);
        ask_until(LINK_LOCAL, NAME, "NOERROR");
        assert!(page("127.0.0.1:9353", "/metrics").contains("errortype=\"iptables\"} 1"));
        assert_eq!(rules(), None);
    });
}

/// `reload` compares the addresses of the interfaces that `bind` names, not only the text.
#[test]
fn a_new_address_of_an_interface_is_found() {
    inside("a_new_address_of_an_interface_is_found", || {
        let folder = tempfile::tempdir().expect("a folder");
        let corefile = ".:53 {\n bind out {\n except 192.0.2.9\n }\n reload 2s 0s\n whoami\n}\n";
        std::fs::write(folder.path().join("Corefile"), corefile).expect("writes");
        let server = Running::start(folder.path(), "server", "-conf Corefile");
        ask_until("192.0.2.1:53", NAME, "NOERROR");
        // The first one is the primary address: without this the others would be removed with it.
        shell("sysctl -qw net.ipv4.conf.out.promote_secondaries=1");
        shell("for last in 7 9; do ip addr add 192.0.2.$last/24 dev out; done; ip addr del 192.0.2.1/24 dev out");
        ask_until("192.0.2.7:53", NAME, "NOERROR");
        assert!(ask("192.0.2.9:53", NAME).contains("refused"), "it is excepted");
        // The server cannot listen on an interface without an address: the old listeners stay, and
        // it tries again.
        shell("ip addr flush dev out");
        server.signal("USR1");
        server.wait_for("stays in use", 1);
        shell("ip addr add 192.0.2.8/24 dev out");
        ask_until("192.0.2.8:53", NAME, "NOERROR");
        assert_eq!(server.end("TERM").code(), Some(0));
    });
}

/// While a template cannot be read the process can be stopped, and removes its interface.
#[test]
fn a_node_cache_that_waits_for_its_corefile_can_be_ended() {
    inside("a_node_cache_that_waits_for_its_corefile_can_be_ended", || {
        let folder = tempfile::tempdir().expect("a folder");
        shell(&format!("mkfifo {}", folder.path().join("Corefile.base").display()));
        let server = Running::start(folder.path(), "node", ARGUMENTS);
        place::until("the interface is there", || addresses("nodelocaldns").is_some());
        assert_eq!(server.end("TERM").code(), Some(0));
        assert_eq!(addresses("nodelocaldns"), None);
    });
}
