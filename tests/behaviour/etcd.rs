//! Names from a real etcd, beside a real CoreDNS.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::support::{PATIENCE, Server, coredns, free_port, text_by};

/// A running etcd with its data in a folder of its own.
struct Etcd {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Etcd {
    /// Starts the etcd of `tests/peers`. Says why and returns `None` if it is not built.
    fn start() -> Option<Self> {
        let program = coredns().with_file_name("etcd");
        if !program.exists() {
            assert!(std::env::var_os("CI").is_none(), "there is no etcd: tests/peers/build.sh etcd builds it");
            eprintln!("skipped: tests/peers/build.sh etcd builds an etcd");
            return None;
        }
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()));
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(folder.path()).args(["--log-level", "fatal", "--listen-client-urls", &client]);
        command.args(["--advertise-client-urls", &client, "--listen-peer-urls", &peer]);
        command.args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("default={peer}")]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("etcd starts");
        let etcd = Self { process, port, _folder: folder };
        let since = Instant::now();
        while etcd.post("/v3/maintenance/status", "{}").is_none() {
            assert!(since.elapsed() < PATIENCE, "etcd does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(etcd)
    }

    /// Sends a request to the gateway; the body of the response if its status is 200.
    fn post(&self, path: &str, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let head = format!("POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(head.as_bytes()).ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    }

    fn put(&self, key: &str, value: &str, lease: &str) {
        let (key, value) = (STANDARD.encode(format!("/skydns/{key}")), STANDARD.encode(value));
        let body = format!("{{\"key\":\"{key}\",\"value\":\"{value}\",\"lease\":\"{lease}\"}}");
        self.post("/v3/kv/put", &body).expect("written");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Services as external-dns and SkyDNS's users write them.
const SERVICES: &[(&str, &str)] = &[
    ("test/local/www/1", r#"{"host":"10.0.0.1","port":8080}"#),
    ("test/local/www/2", r#"{"host":"10.0.0.2","port":8081,"priority":20,"weight":10,"ttl":7}"#),
    ("test/local/www/3", r#"{"host":"10.0.0.3","port":8081,"priority":20,"weight":30}"#),
    ("test/local/www/4", r#"{"host":"2001:db8::4","port":9}"#),
    ("test/local/exact", r#"{"host":"10.0.1.1","ttl":60}"#),
    ("test/local/alias", r#"{"host":"www.local.test","ttl":30}"#),
    ("test/local/far", r#"{"host":"host.elsewhere.test","port":1}"#),
    ("test/local/lost", r#"{"host":"nothing.local.test"}"#),
    ("test/local/circle/a", r#"{"host":"b.circle.local.test"}"#),
    ("test/local/circle/b", r#"{"host":"a.circle.local.test"}"#),
    ("test/local/itself", r#"{"host":"itself.local.test"}"#),
    ("test/local/text/a", r#"{"text":"heritage=external-dns,owner=me"}"#),
    ("test/local/text/b", r#"{"text":"second","host":"10.0.2.1"}"#),
    ("test/local/mail/a", r#"{"host":"10.0.3.1","mail":true,"priority":5}"#),
    ("test/local/mail/b", r#"{"host":"mx.elsewhere.test","mail":true}"#),
    ("test/local/strip/a", r#"{"host":"10.0.4.1","port":1,"targetstrip":1}"#),
    ("test/local/group/a", r#"{"host":"10.0.5.1","group":"one"}"#),
    ("test/local/group/deep/b", r#"{"host":"10.0.5.2","group":"two"}"#),
    ("test/local/group/deep/c", r#"{"host":"10.0.5.3"}"#),
    ("test/local/dns/ns/a", r#"{"host":"10.0.6.1"}"#),
    ("test/local/dns/ns/b", r#"{"host":"10.0.6.2"}"#),
    ("arpa/in-addr/10/0/7/1", r#"{"host":"www.local.test"}"#),
];

const NAMES: &[&str] = &[
    "www",
    "1.www",
    "exact",
    "alias",
    "far",
    "lost",
    "a.circle",
    "itself",
    "text",
    "a.text",
    "mail",
    "a.mail",
    "strip",
    "group",
    "deep.group",
    "leased",
    "nothing",
    "*",
    "any.www",
    "*.text",
    "a.*",
    "dns",
    "ns.dns",
    "WWW",
];

#[test]
fn a_real_etcd_is_answered_from_as_coredns_does() {
    let Some(etcd) = Etcd::start() else { return };
    for (key, value) in SERVICES {
        etcd.put(key, value, "0");
    }
    etcd.post("/v3/lease/grant", "{\"TTL\":\"1000000\",\"ID\":\"7587\"}").expect("granted");
    etcd.put("test/local/leased/a", "{\"host\":\"10.0.8.1\",\"ttl\":90000}", "7587");
    let corefile = format!(
        ".:PORT {{\n bind 127.0.0.1\n etcd local.test 10.in-addr.arpa {{\n  endpoint http://127.0.0.1:{}\n \
         no_apex_fallback\n }}\n hosts {{\n  192.0.2.9 host.elsewhere.test mx.elsewhere.test\n  fallthrough\n }}\n}}\n",
        etcd.port
    );
    let ours = Server::start(&corefile, &[]);
    let theirs = coredns().exists().then(|| Server::start_program(&coredns(), &corefile, &[]));
    let mut differ = Vec::new();
    let mut asked = 0;
    let names = NAMES.iter().map(|name| format!("{name}.local.test."));
    for name in names.chain(["local.test.".to_owned(), "1.7.0.10.in-addr.arpa.".to_owned()]) {
        for kind in ["A", "AAAA", "CNAME", "TXT", "SRV", "MX", "PTR", "NS", "HINFO"] {
            if kind == "SRV" && (name.starts_with('*') || name == "local.test.") {
                // Too large for a datagram, and other additional records are left out.
                continue;
            }
            let shown = |server: &Server| text_by(&server.ask(&name, kind), |records| records.sort());
            let (got, wanted) = (shown(&ours), theirs.as_ref().map(shown));
            asked += 1;
            if wanted.as_ref().is_some_and(|wanted| got != *wanted) {
                differ.push(format!("{name} {kind}\nours:\n{got}\ntheirs:\n{}", wanted.unwrap_or_default()));
            }
        }
    }
    assert!(differ.is_empty(), "{} of {asked} differ:\n{}", differ.len(), differ.join("\n"));
    assert!(text_by(&ours.ask("www.local.test.", "A"), |_| {}).contains("10.0.0.2"));
}

#[test]
fn a_user_and_another_member_when_one_is_away() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.put("test/local/www", "{\"host\":\"10.0.0.1\"}", "0");
    for (path, body) in [
        ("/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"secret\"}"),
        ("/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}"),
        ("/v3/auth/enable", "{}"),
    ] {
        etcd.post(path, body).unwrap_or_else(|| panic!("{path} fails"));
    }
    let server = |credentials: &str| {
        let endpoints = format!("http://127.0.0.1:{} http://127.0.0.1:{}", free_port(), etcd.port);
        Server::start(
            &format!(
                ".:PORT {{\n bind 127.0.0.1\n errors\n etcd local.test {{\n endpoint {endpoints}\n{credentials}\n}}\n}}\n"
            ),
            &[],
        )
    };
    let known = server("credentials root secret");
    known.ask_until("www.local.test.", "A", "NOERROR aa\nwww.local.test. 300 A 10.0.0.1");
    for (credentials, why) in [("", "name a user"), ("credentials root wrong", "invalid user ID or password")] {
        let server = server(credentials);
        assert!(text_by(&server.ask("www.local.test.", "A"), |_| {}).starts_with("SERVFAIL"));
        server.wait_for(why);
    }
}
