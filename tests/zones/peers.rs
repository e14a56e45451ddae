//! Signpost, NSD and Knot with the same folder of zone files.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::ask::{self, Reply};
use crate::make::{Case, Question};
use crate::support::{Server, free_port};

/// How long a server may take to read all zones.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server.
pub(crate) struct Peer {
    address: SocketAddr,
    _process: Process,
}

/// What ends with the test.
enum Process {
    Ours(#[allow(dead_code, reason = "held until the end")] Server),
    Theirs(Child),
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Self::Theirs(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Returns the path of a program.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    folders.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
}

impl Peer {
    /// Signpost, which finds the files by *auto*.
    pub(crate) fn signpost(folder: &Path) -> Self {
        let corefile =
            format!(".:PORT {{\nbind 127.0.0.1\nauto {{\ndirectory {}\nreload 0\n}}\n}}\n", folder.display());
        let server = Server::start(&corefile, &[]);
        Self { address: server.address(), _process: Process::Ours(server) }
    }

    /// NSD, without its limit of replies.
    pub(crate) fn nsd(folder: &Path, cases: &[Case]) -> Self {
        let (port, shown) = (free_port(), folder.display());
        let mut text = format!(
            "server:\n ip-address: 127.0.0.1@{port}\n username: \"\"\n zonesdir: \"{shown}\"\n database: \"\"\n pidfile: \
             \"{shown}/nsd.pid\"\n xfrdfile: \"{shown}/nsd.xfrd\"\n zonelistfile: \"{shown}/nsd.list\"\n xfrdir: \"{shown}\"\n \
             server-count: 1\n rrl-ratelimit: 0\n do-ip6: no\nremote-control:\n control-enable: no\n"
        );
        for case in cases {
            let _ = write!(text, "zone:\n name: {0}\n zonefile: db.{0}\n", case.zone);
        }
        std::fs::write(folder.join("nsd.conf"), text).expect("written");
        Self::start("nsd", &["-d", "-c"], &folder.join("nsd.conf"), port, cases)
    }

    /// Knot, without a journal.
    pub(crate) fn knot(folder: &Path, cases: &[Case]) -> Self {
        let (port, shown) = (free_port(), folder.display());
        let mut text = format!(
            "server:\n  rundir: \"{shown}\"\n  listen: 127.0.0.1@{port}\ndatabase:\n  storage: \"{shown}/knot\"\ntemplate:\n  - id: \
             default\n    storage: \"{shown}\"\n    file: \"db.%s\"\n    journal-content: none\n    zonefile-sync: -1\nzone:\n"
        );
        cases.iter().for_each(|case| _ = writeln!(text, "  - domain: {}", case.zone));
        std::fs::write(folder.join("knot.conf"), text).expect("written");
        std::fs::create_dir(folder.join("knot")).expect("a folder");
        Self::start("knotd", &["-c"], &folder.join("knot.conf"), port, cases)
    }

    fn start(program: &str, arguments: &[&str], conf: &Path, port: u16, cases: &[Case]) -> Self {
        let path = find(program).expect("it was found");
        let mut command = Command::new(path);
        let log = std::fs::File::create(conf.with_extension("log")).expect("a log");
        command.args(arguments).arg(conf).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = Process::Theirs(command.spawn().expect("started"));
        let peer = Self { address: SocketAddr::from(([127, 0, 0, 1], port)), _process: process };
        // The last zone is read when all are.
        let last = [Question { name: cases.last().expect("a zone").zone.clone(), qtype: "SOA" }];
        let end = Instant::now() + PATIENCE;
        while peer.try_ask(&last).is_none_or(|replies| replies[0].rcode != 0) {
            let log = || std::fs::read_to_string(conf.with_extension("log")).unwrap_or_default();
            assert!(Instant::now() < end, "{program} does not answer:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        peer
    }

    /// Asks all questions.
    pub(crate) fn ask(&self, questions: &[Question]) -> Vec<Reply> {
        ask::all(self.address, questions)
    }

    fn try_ask(&self, questions: &[Question]) -> Option<Vec<Reply>> {
        ask::once(self.address, questions)
    }
}
