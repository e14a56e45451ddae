//! Aliases whose target fails upstream: what real clients get through the whole server.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use signpost::bench::ndots::{Family, Resolver};

use super::clients::{ADDRESSES, Client};
use super::upstream::{Act, Answer, Upstream, wire};

/// A target, the RCODE that the upstream returns for its A and AAAA instead of an address, and the
/// families that a client gets.
type Case = (&'static str, [Option<u8>; 2], &'static [Family]);

const CASES: &[Case] = &[
    ("both", [None, None], &[Family::V4, Family::V6]),
    ("v4", [None, Some(2)], &[Family::V4]),
    ("v6", [Some(2), None], &[Family::V6]),
    ("refused", [None, Some(5)], &[Family::V4]),
    ("broken", [Some(2), Some(2)], &[]),
];

/// A server on port 53 of the namespace, which is stopped when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = (self.0.kill(), self.0.wait());
    }
}

fn upstream() -> Upstream {
    Upstream::start(|seen| {
        let (name, answer) = (seen.name(), Answer::to(&seen.packet));
        let case = CASES.iter().find(|(label, ..)| name == format!("{label}.example"));
        let said = case.map(|(_, [v4, v6], _)| if seen.qtype() == 28 { *v6 } else { *v4 });
        let v6: std::net::Ipv6Addr = ADDRESSES[1].1.parse().expect("an address");
        vec![Act::send(match said {
            Some(None) if seen.qtype() == 28 => answer.record(0, &wire(&name), (28, 60), &v6.octets()),
            Some(None) => answer.a(ADDRESSES[0].1, 60),
            Some(Some(rcode)) => answer.rcode(rcode),
            None => answer.rcode(3),
        })]
    })
}

impl Server {
    fn start(folder: &Path, upstream: &Upstream) -> Self {
        let service = |(label, ..): &Case| {
            format!(
                "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {label}, namespace: ns}}, \
                 spec: {{type: ExternalName, externalName: {label}.example}}}}\n"
            )
        };
        std::fs::write(folder.join("objects.yaml"), CASES.iter().map(service).collect::<String>()).expect("written");
        let corefile = format!(
            ".:53 {{\n bind 127.0.0.1\n kubernetes cluster.local {{\n manifests objects.yaml\n }}\n forward . {}\n cache 30\n}}\n",
            upstream.address
        );
        std::fs::write(folder.join("Corefile"), corefile).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_signpost"));
        command.current_dir(folder).args(["-conf", "Corefile"]).stdout(Stdio::null());
        Self(command.spawn().expect("the program starts"))
    }
}

/// Runs every case for every client, in the namespace; returns what is wrong.
pub(crate) fn compare(folder: &Path) -> Vec<String> {
    let upstream = upstream();
    let _server = Server::start(folder, &upstream);
    std::fs::write(folder.join("resolv.conf"), "nameserver 127.0.0.1\n").expect("written");
    let clients: Vec<_> = Client::ALL.iter().filter(|client| client.is_built(folder)).collect();
    // This waits for the server as a client does: by asking until there is a reply.
    let end = Instant::now() + Duration::from_secs(30);
    while clients.first().is_some_and(|client| client.look_up(folder, "both.ns.svc.cluster.local.", &[]).is_empty()) {
        assert!(Instant::now() < end, "the server does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    // In parallel: musl takes 5 s to report a broken name.
    std::thread::scope(|scope| {
        let look = |(client, case)| scope.spawn(move || check(folder, client, case));
        let cases = clients.iter().flat_map(|client| CASES.iter().map(move |case| (**client, case)));
        let running: Vec<_> = cases.map(look).collect();
        running.into_iter().filter_map(|look| look.join().expect("no panic")).collect()
    })
}

fn check(folder: &Path, client: Client, (label, _, wanted): &Case) -> Option<String> {
    let said = client.say(folder, &format!("{label}.ns.svc.cluster.local."), &[]);
    let again = match client.resolver() {
        Resolver::Glibc => "Temporary failure in name resolution",
        Resolver::Musl => "Try again",
        Resolver::Go => "server misbehaving",
    };
    let is_right = match wanted {
        [] => said.contains(again),
        _ => ADDRESSES
            .iter()
            .all(|(family, text)| wanted.contains(family) == said.split_whitespace().any(|word| word == *text)),
    };
    (!is_right).then(|| format!("{:?}: {said:?} instead of {wanted:?}", client.resolver()))
}
