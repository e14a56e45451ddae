//! Log lines arrive whole. A reader that does not read delays no query, and learns how many lines
//! were dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::ChildStdout;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::asker::Asker;
use super::stop::load;
use super::support::{PATIENCE, Server, connect, exchange, free_port, query};

/// Queries a second: far below what a server can take, even on a busy machine.
const RATE: f64 = 2_000.0;

/// Lines of 4 KB that are not read: 16 MB.
const MANY: u64 = 4_000;

/// Memory that the server may need more while its output is not read: less than these lines. One
/// worker's buffer has a megabyte, and a buffer that grows exists twice for a moment; what is being
/// written is copied.
const GROWTH: u64 = 8 << 20;

/// As CoreDNS prints it, over UDP and TCP: neither RCODE nor flags, and a size of 0.
#[test]
fn a_query_that_is_dropped_has_its_line() {
    let server = Server::start(".:PORT {\nlog\nacl drop.test {\ndrop\n}\nwhoami\n}\n", &[]);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.send_to(&query("a.drop.test.", "A"), server.address()).expect("sends");
    let mut stream = connect(server.address());
    super::support::send(&mut stream, &query("b.drop.test.", "A"));
    super::support::send(&mut stream, &query("c.test.", "A"));
    let reply = super::support::receive(&mut stream).expect("the one that is not dropped");
    assert_eq!(super::support::decode(&reply).queries[0].name().to_string(), "c.test.");
    server.wait_for("\"A IN a.drop.test. udp 40 false 1232\" - - 0 0.");
    server.wait_for("\"A IN b.drop.test. tcp 40 false 65535\" - - 0 0.");
}

/// Returns a Corefile that logs lines of 4 KB, and what follows the name in them.
fn long_lines(metrics: u16) -> (String, String) {
    let filler = "x".repeat(4000);
    (
        format!(".:PORT {{\nprometheus 127.0.0.1:{metrics}\nlog . \"{{name}} {filler} end\"\nwhoami\n}}\n"),
        filler + " end",
    )
}

/// Returns how many lines the server counts as dropped.
fn dropped(metrics: u16) -> u64 {
    let mut stream = connect(([127, 0, 0, 1], metrics).into());
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sends");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    let line = page.lines().find_map(|line| line.strip_prefix("signpost_log_dropped_lines_total "));
    line.expect("the metric").parse().expect("a number")
}

/// Returns the server's peak memory, in octets.
fn peak(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process())).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Asks `name` at least `many` times, at a steady rate. Returns how many were asked; none may be
/// lost.
fn ask_many(server: &Server, name: &str, many: u64) -> u64 {
    finished(started(server, name, many))
}

fn started(server: &Server, name: &str, many: u64) -> Asker {
    let load = load(server.address(), &query(name, "A"), RATE);
    let end = Instant::now() + 6 * PATIENCE;
    while load.asked() < many {
        assert!(Instant::now() < end, "the load does not come off the ground");
        std::thread::sleep(Duration::from_millis(1));
    }
    load
}

fn finished(load: Asker) -> u64 {
    load.finish("queries that are logged")
}

/// Passes on what the server prints, line by line.
fn lines(output: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let _ = sender.send(line.expect("text"));
        }
    });
    lines
}

#[test]
fn queries_do_not_wait_for_the_reader_of_the_log() {
    let metrics = free_port();
    let (corefile, rest) = long_lines(metrics);
    let (mut server, output) = Server::start_piped(&corefile);
    let before = peak(&server);
    let asked = ask_many(&server, "a.example.", MANY);
    let (dropped, grown) = (dropped(metrics), peak(&server) - before);
    assert!(dropped > 0 && dropped < asked, "{dropped} of {asked} lines dropped");
    assert!(grown < GROWTH, "{grown} octets more");
    let lines = lines(output);
    // The reader reads again: it gets the lines that waited, and one with the number of dropped
    // ones.
    let (mut read, mut told) = (0, Vec::new());
    while read < asked - dropped || told.is_empty() {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{read} lines of {asked} less {dropped}"));
        if line.starts_with("[WARNING]") {
            told.push(line);
        } else if line.contains("xxx") {
            assert!(line == format!("[INFO] a.example. {rest}"), "torn: {line}");
            read += 1;
        }
    }
    // Afterwards everything is as before. Nothing is repeated.
    assert!(exchange(server.address(), &query("b.example.", "A")).is_some());
    server.signal("TERM");
    assert!(server.wait().success());
    let after: Vec<String> = lines.iter().filter(|line| line.contains("xxx") || line.contains("WARNING")).collect();
    assert!(after == [format!("[INFO] b.example. {rest}")], "{after:?}");
    assert_eq!(told, [format!("[WARNING] {dropped} log lines were dropped: nobody read them")]);
    assert_eq!(read + dropped, asked);
}

#[test]
fn the_end_loses_no_line() {
    let (mut server, output) = Server::start_piped(".:PORT {\nlog\nwhoami\n}\n");
    let lines = lines(output);
    for _ in 0..50 {
        assert!(exchange(server.address(), &query("last.example.", "A")).is_some());
    }
    server.signal("TERM");
    assert!(server.wait().success());
    assert_eq!(lines.iter().filter(|line| line.contains("\"A IN last.example. udp ")).count(), 50);
}

#[test]
fn queries_in_the_lameduck_time_are_in_the_log() {
    let (mut server, output) = Server::start_piped(".:PORT {\nhealth 127.0.0.1:0 {\nlameduck 1s\n}\nlog\nwhoami\n}\n");
    let lines = lines(output);
    let load = started(&server, "last.example.", 1_000);
    server.signal("TERM");
    // It serves on for a second while clients ask, and then writes the remaining lines.
    let end = Instant::now() + 6 * PATIENCE;
    while load.asked() < 2_000 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    let asked = finished(load);
    assert!(server.wait().success());
    let printed = lines.iter().filter(|line| line.contains("\"A IN last.example. udp ")).count();
    assert_eq!(printed as u64, asked, "lines of answered queries");
}

#[test]
fn a_closed_log_loses_only_lines() {
    let metrics = free_port();
    let (corefile, _) = long_lines(metrics);
    let (mut server, output) = Server::start_piped(&corefile);
    drop(output);
    let asked = ask_many(&server, "a.example.", 200);
    let end = Instant::now() + PATIENCE;
    while dropped(metrics) < asked {
        assert!(Instant::now() < end, "{} of {asked} lines counted as dropped", dropped(metrics));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(exchange(server.address(), &query("b.example.", "A")).is_some());
    server.signal("TERM");
    assert!(server.wait().success(), "the end is in order: {}", server.output());
}

#[test]
fn a_reader_that_stalls_does_not_keep_the_server_from_its_end() {
    let (corefile, _) = long_lines(free_port());
    let (mut server, _output) = Server::start_piped(&corefile);
    ask_many(&server, "a.example.", 100);
    server.signal("TERM");
    assert!(server.wait().success());
}

/// Each write to /dev/full fails as on a full disk.
#[test]
fn a_full_disk_loses_only_lines() {
    let (metrics, folder) = (free_port(), tempfile::tempdir().expect("a folder"));
    let program = folder.path().join("signpost");
    let script = format!("#!/bin/sh\nexec {} \"$@\" >/dev/full\n", env!("CARGO_BIN_EXE_signpost"));
    std::fs::write(&program, script).expect("writes");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("may run");
    let (corefile, _) = long_lines(metrics);
    let mut server = Server::start_program(&program, &corefile, &[]);
    let before = peak(&server);
    let asked = ask_many(&server, "a.example.", MANY);
    let end = Instant::now() + PATIENCE;
    while dropped(metrics) < asked {
        assert!(Instant::now() < end, "{} of {asked} lines counted as dropped", dropped(metrics));
        std::thread::sleep(Duration::from_millis(5));
    }
    let grown = peak(&server) - before;
    assert!(grown < GROWTH, "{grown} octets more");
    server.signal("TERM");
    assert!(server.wait().success(), "the end is in order: {}", server.output());
}
