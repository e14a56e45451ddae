//! What the tests of a running server share: the server, its ports, questions, and answers as text.

#![allow(unreachable_pub, dead_code, reason = "shared by test binaries, each of which uses a part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use signpost::wire::name::Name as WireName;
use signpost::wire::types::TypeText;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The program under test.
pub const SIGNPOST: &str = env!("CARGO_BIN_EXE_signpost");

/// Returns where the real CoreDNS is once `tests/peers/build.sh coredns` has built it.
pub fn coredns() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target")).join("peers/coredns")
}

//----------- Server ---------------------------------------------------------

/// A running server in a folder of its own.
pub struct Server {
    /// Its Corefile and its files.
    pub folder: tempfile::TempDir,
    /// Its DNS port.
    pub port: u16,
    process: Child,
}

impl Server {
    /// Starts the server with this Corefile, in which `PORT` stands for a free port, and these
    /// files beside it. Waits until it listens, for datagrams too unless `PORT` is a TLS port.
    pub fn start(corefile: &str, files: &[(&str, &str)]) -> Self {
        Self::start_program(Path::new(SIGNPOST), corefile, files)
    }

    /// The same for any program that takes CoreDNS's place.
    pub fn start_program(program: &Path, corefile: &str, files: &[(&str, &str)]) -> Self {
        Self::try_start(program, corefile, files)
            .unwrap_or_else(|printed| panic!("the server does not listen: {printed}"))
    }

    /// The same, but the server may end instead of listening; the error is its output.
    pub fn try_start(program: &Path, corefile: &str, files: &[(&str, &str)]) -> Result<Self, String> {
        Self::start_printing(program, corefile, files, log)
    }

    /// Starts a server whose standard output the caller may read.
    pub fn start_piped(corefile: &str) -> (Self, ChildStdout) {
        let started = Self::start_printing(Path::new(SIGNPOST), corefile, &[], |_| Stdio::piped());
        let mut server = started.unwrap_or_else(|printed| panic!("the server does not listen: {printed}"));
        let output = server.process.stdout.take().expect("a pipe");
        (server, output)
    }

    fn start_printing<T: Into<Stdio>>(
        program: &Path,
        corefile: &str,
        files: &[(&str, &str)],
        output: impl FnOnce(&Path) -> T,
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        for (name, text) in files {
            write(&folder.path().join(name), text);
        }
        write(&folder.path().join("Corefile"), &corefile.replace("PORT", &port.to_string()));
        let mut command = command(program, folder.path());
        let process = command.stdout(output(folder.path())).stderr(log(folder.path())).spawn().expect("starts");
        let of_datagrams = corefile.split_whitespace().any(|word| word.contains(":PORT") && !word.contains("://"));
        let mut server = Self { folder, port, process };
        let end = Instant::now() + PATIENCE;
        loop {
            // CoreDNS and Signpost listen for connections first, on a busy machine long before the
            // rest.
            let is_open = !of_datagrams || takes_datagrams(port);
            let listens = is_open && TcpStream::connect(("127.0.0.1", port)).is_ok();
            // In this order: the listener may be another process that has the port.
            if !server.is_running() || Instant::now() > end {
                return Err(server.output());
            }
            if listens {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Replaces the Corefile in one step.
    pub fn rewrite(&self, corefile: &str) {
        let path = self.folder.path().join("Corefile");
        write(&path.with_extension("new"), &corefile.replace("PORT", &self.port.to_string()));
        std::fs::rename(path.with_extension("new"), path).expect("renames");
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }

    /// Returns its process id.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Returns whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("a status").is_none()
    }

    /// Returns what the server has printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until the server has printed `text`.
    pub fn wait_for(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.output().contains(text) {
            assert!(Instant::now() < end, "the server never said {text:?}:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the server has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().expect("a status") {
                return status;
            }
            assert!(Instant::now() < end, "the server does not end:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the server's address.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Asks over UDP.
    pub fn ask(&self, name: &str, kind: &str) -> Message {
        decode(&exchange(self.address(), &query(name, kind)).expect("an answer"))
    }

    /// Asks until the answer, as text, is the wanted one.
    pub fn ask_until(&self, name: &str, kind: &str, wanted: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let got = exchange(self.address(), &query(name, kind)).map(|bytes| text(&decode(&bytes)));
            match got {
                Some(got) if got == wanted => return,
                got => assert!(Instant::now() < end, "{name} {kind}: got {got:?}, not {wanted:?}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs the server to its end; returns its exit status and output.
pub fn run(corefile: &str, files: &[(&str, &str)], arguments: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("Corefile"), corefile);
    for (name, text) in files {
        write(&folder.path().join(name), text);
    }
    let output = command(Path::new(SIGNPOST), folder.path()).args(arguments).output().expect("runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), printed)
}

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["-conf", "Corefile"]).current_dir(folder).stdin(Stdio::null());
    command
}

fn log(folder: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("a log")
}

fn write(path: &PathBuf, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    std::fs::write(path, text).expect("writes");
}

/// Returns a port that is free for UDP and TCP, below the ephemeral ones. No other caller in this
/// process gets it; otherwise two servers that start at the same time could be confused.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(fastrand::u16(..)));
    loop {
        let port = 10_000 + next.fetch_add(1, Ordering::Relaxed) % 20_000;
        let any = ("0.0.0.0", port);
        if TcpListener::bind(any).is_ok() && UdpSocket::bind(any).is_ok() {
            return port;
        }
    }
}

/// Returns whether a socket of this network has the port for datagrams. Binding it could take it
/// from the server.
fn takes_datagrams(port: u16) -> bool {
    let port = format!(":{port:04X}");
    ["/proc/net/udp", "/proc/net/udp6"].iter().any(|path| {
        let sockets = std::fs::read_to_string(path).unwrap_or_default();
        sockets.lines().filter_map(|line| line.split_whitespace().nth(1)).any(|local| local.ends_with(&port))
    })
}

//----------- Questions and answers ------------------------------------------

/// Returns a query with RD and an OPT of 1232 octets.
pub fn query(name: &str, kind: &str) -> Vec<u8> {
    let mut message = Message::new(fastrand::u16(..), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message
        .add_query(Query::query(Name::from_ascii(name).expect("a name"), kind.parse::<RecordType>().expect("a type")));
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.edns = Some(edns);
    message.to_vec().expect("encodes")
}

/// Returns the reply to a datagram, or `None` after two seconds.
pub fn exchange(server: SocketAddr, packet: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server).expect("connects");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    socket.send(packet).ok()?;
    let mut buffer = vec![0; 65_535];
    let len = socket.recv(&mut buffer).ok()?;
    buffer.truncate(len);
    Some(buffer)
}

/// Connects to the server.
pub fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Sends a message with its length prefix.
pub fn send(stream: &mut impl Write, packet: &[u8]) {
    let frame = [&(packet.len() as u16).to_be_bytes(), packet].concat();
    stream.write_all(&frame).expect("sends");
}

/// Reads one message; `None` if the connection ends.
pub fn receive(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(prefix))];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

/// Decodes a message.
pub fn decode(bytes: &[u8]) -> Message {
    Message::from_vec(bytes).expect("a message")
}

/// Returns a reply as text: RCODE and flags, then records by section, each sorted; serials are
/// `SERIAL`, and signatures have neither times nor octets.
pub fn text(message: &Message) -> String {
    text_by(message, |section| section.sort_by_key(|line| (!line.contains(" CNAME "), line.clone())))
}

/// Returns the same with the records as `arrange` puts those of each section.
pub fn text_by(message: &Message, arrange: impl Fn(&mut Vec<String>)) -> String {
    let flags = [
        (message.metadata.authoritative, "aa"),
        (message.metadata.truncation, "tc"),
        (message.metadata.recursion_available, "ra"),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    let mut lines = vec![format!("{} {}", rcode(message), flags.join(" ")).trim_end().to_owned()];
    for (name, records) in
        [("", &message.answers), ("authority ", &message.authorities), ("additional ", &message.additionals)]
    {
        let mut section: Vec<String> = records.iter().map(|record| format!("{name}{}", record_text(record))).collect();
        arrange(&mut section);
        lines.append(&mut section);
    }
    lines.join("\n")
}

fn rcode(message: &Message) -> String {
    let code = u16::from(message.metadata.response_code);
    signpost::wire::types::rcode_name(code).map_or_else(|| code.to_string(), str::to_owned)
}

/// Returns the data of an RRSIG record, without times and signature, or of an NSEC record.
fn signed_text(rtype: RecordType, data: &[u8]) -> Option<String> {
    let number = |at: usize| data.get(at..at + 2)?.first_chunk().copied().map(u16::from_be_bytes);
    match u16::from(rtype) {
        46 => {
            let (zone, _) = WireName::from_message(data, 18)?;
            let ttl = u32::from(number(4)?) << 16 | u32::from(number(6)?);
            Some(format!("{} {} {} {ttl} {} {zone}", TypeText(number(0)?), data[2], data[3], number(16)?))
        }
        47 => {
            let (next, mut at) = WireName::from_message(data, 0)?;
            let mut text = next.to_string();
            while let Some([window, len]) = data.get(at..).and_then(|rest| rest.first_chunk::<2>()) {
                for bit in (0..usize::from(*len) * 8).filter(|bit| data[at + 2 + bit / 8] & 0x80 >> (bit % 8) != 0) {
                    text += &format!(" {}", TypeText(u16::from(*window) << 8 | bit as u16));
                }
                at += 2 + usize::from(*len);
            }
            Some(text)
        }
        _ => None,
    }
}

fn record_text(record: &Record) -> String {
    let data = record.data.to_string();
    let data = match record.record_type() {
        RecordType::SOA => {
            let words: Vec<&str> = data.split_whitespace().collect();
            [&words[..2], &["SERIAL"], &words[3..]].concat().join(" ")
        }
        _ => match &record.data {
            RData::Unknown { rdata, .. } => signed_text(record.record_type(), &rdata.anything).unwrap_or(data),
            _ => data,
        },
    };
    format!("{} {} {} {data}", record.name, record.ttl, record.record_type())
}
