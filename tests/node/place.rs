//! Where a node cache is tested: a network namespace with an upstream, in which the program is
//! started.
//!
//! A test starts this test program once more inside the namespace.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use super::support::{self, PATIENCE};

const SIGNPOST: &str = env!("CARGO_BIN_EXE_signpost");

/// Set inside a namespace.
const INSIDE: &str = "NODE_TEST_INSIDE";

/// What the namespace needs: loopback, and a default route to nowhere, which drops every packet.
const SETUP: &str = "ip link set lo up && ip link add name out type bridge && ip link set out up && \
    ip addr add 192.0.2.1/24 dev out && ip route add default via 192.0.2.254 && exec \"$0\" \"$@\"";

//----------- Namespace ------------------------------------------------------

/// Runs the test of this name in a namespace of its own. Without root it is skipped, which CI does
/// not allow.
pub(crate) fn inside(test: &str, story: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return story();
    }
    let missing = ["unshare", "ip", "nft", "setpriv", "nsenter", "dig"].into_iter().find(|tool| !has(tool));
    let allowed = Command::new("unshare").args(["--net", "true"]).output();
    let why = match (missing, allowed) {
        (Some(tool), _) => Some(format!("there is no `{tool}`")),
        (None, Ok(output)) if output.status.success() => None,
        (None, _) => Some("no network namespace can be made: it needs root".into()),
    };
    if let Some(why) = why {
        assert!(std::env::var_os("CI").is_none(), "CI lets no test be skipped: {why}");
        eprintln!("{test}: skipped, {why}");
        return;
    }
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("unshare")
        .args(["--net", "sh", "-ec", SETUP])
        .arg(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "in the namespace:\n{said}");
}

fn has(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok()
}

/// Runs a system command, which must succeed; returns its output.
pub(crate) fn shell(command: &str) -> String {
    let output = sh(command);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn sh(command: &str) -> Output {
    Command::new("sh").args(["-c", command]).output().expect("sh runs")
}

/// Waits until a condition holds.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it never came to pass: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns how many rules keep connection tracking away; `None` if there is no table.
pub(crate) fn rules() -> Option<usize> {
    let output = sh("nft list table inet nodelocaldns");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().filter(|line| line.contains("notrack")).count())
}

/// Returns the addresses of the interface, each with its prefix; `None` if it does not exist.
pub(crate) fn addresses(interface: &str) -> Option<Vec<String>> {
    let output = sh(&format!("ip -o addr show dev {interface} scope global"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut found: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().nth(3).map(str::to_owned)).collect();
    found.sort();
    output.status.success().then_some(found)
}

//----------- Pod ------------------------------------------------------------

/// A network namespace behind the node's, like a pod's: one interface, and the node as its gateway.
pub(crate) struct Pod(Child);

impl Pod {
    /// Starts a pod with the address 10.244.0.5 on a node that forwards.
    pub(crate) fn start() -> Self {
        let process = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().expect("unshare runs");
        let pod = Self(process);
        let id = pod.0.id();
        let end = Instant::now() + PATIENCE;
        let namespace = |id: u32| std::fs::read_link(format!("/proc/{id}/ns/net")).expect("a process");
        while namespace(id) == namespace(std::process::id()) {
            assert!(Instant::now() < end, "no namespace for the pod");
            std::thread::sleep(Duration::from_millis(5));
        }
        shell(&format!("ip link add name pod type veth peer name eth0 netns {id} && ip link set pod up"));
        shell("ip addr add 10.244.0.1/24 dev pod && sysctl -qw net.ipv4.ip_forward=1");
        pod.run("ip addr add 10.244.0.5/24 dev eth0 && ip link set eth0 up && ip route add default via 10.244.0.1");
        pod
    }

    fn run(&self, command: &str) -> String {
        shell(&format!("nsenter -t {} -n sh -ec '{command}'", self.0.id()))
    }

    /// Returns the RCODE of the answer that the pod gets.
    pub(crate) fn ask(&self, server: &str, name: &str) -> String {
        let text = self.run(&format!("dig +tries=1 +time=5 @{server} {name} A || :"));
        let status = text.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
        status.unwrap_or("no answer").to_owned()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//----------- Program --------------------------------------------------------

/// A running Signpost in a folder; a file there has its output.
pub(crate) struct Running {
    process: Child,
    log: std::path::PathBuf,
}

impl Running {
    /// Starts it with these arguments, in the environment of a pod with the Service
    /// `kube-dns-upstream`.
    pub(crate) fn start(folder: &Path, name: &str, arguments: &str) -> Self {
        Self::start_as(folder, name, &[SIGNPOST], arguments)
    }

    /// The same, where `program` is its path and what precedes it.
    pub(crate) fn start_as(folder: &Path, name: &str, program: &[&str], arguments: &str) -> Self {
        let log = folder.join(name);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log");
        let process = Command::new(program[0])
            .args(&program[1..])
            .args(arguments.split_whitespace())
            .current_dir(folder)
            .env("KUBE_DNS_UPSTREAM_SERVICE_HOST", "10.96.3.4")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn()
            .expect("starts");
        Self { process, log }
    }

    /// Starts the program without the right to change the network.
    pub(crate) fn without_rights(folder: &Path, name: &str, arguments: &str) -> Self {
        let program = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", SIGNPOST];
        Self::start_as(folder, name, &program, arguments)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        shell(&format!("kill -{signal} {}", self.process.id()));
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end(mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        self.wait()
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().expect("a status") {
                return status;
            }
            assert!(Instant::now() < end, "it does not end:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has printed `text` that many times.
    pub(crate) fn wait_for(&self, text: &str, times: usize) {
        let end = Instant::now() + PATIENCE;
        while self.output().matches(text).count() < times {
            assert!(Instant::now() < end, "it never said {text:?}:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns its output so far, with that of predecessors that share the log.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

//----------- Questions ------------------------------------------------------

/// Returns the first line of the answer to an A query: its RCODE and flags.
pub(crate) fn ask(server: &str, name: &str) -> String {
    let server: SocketAddr = server.parse().expect("an address");
    let packet = support::query(name, "A");
    let source = if server.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = std::net::UdpSocket::bind(source).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("an option");
    let mut buffer = [0; 4096];
    let answer = socket.connect(server).and_then(|()| socket.send(&packet)).and_then(|_| socket.recv(&mut buffer));
    match answer {
        Ok(len) => support::text(&support::decode(&buffer[..len])).lines().next().unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Asks until the answer begins with `wanted`.
pub(crate) fn ask_until(server: &str, name: &str, wanted: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let got = ask(server, name);
        if got.starts_with(wanted) {
            return;
        }
        assert!(Instant::now() < end, "{name} at {server}: got {got:?}, not {wanted:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the body of a page.
pub(crate) fn page(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("sends");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("reads");
    text
}
