//! TCP: pipelined, answered out of order, with limits.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::support::{Server, connect, decode, exchange, query, receive, send, text};

const COREFILE: &str = ".:PORT {
    bind 127.0.0.1
    whoami
}
";

#[test]
fn many_questions_in_one_write_are_answered() {
    let server = Server::start(COREFILE, &[]);
    let mut stream = connect(server.address());
    let packet = query("a.example.", "A");
    let frame = [&(packet.len() as u16).to_be_bytes(), &packet[..]].concat();
    stream.write_all(&frame.repeat(500)).expect("sends");
    for _ in 0..500 {
        assert_eq!(receive(&mut stream).expect("an answer")[..2], packet[..2]);
    }
}

#[test]
fn a_question_in_single_octets_is_answered() {
    let server = Server::start(COREFILE, &[]);
    let mut stream = connect(server.address());
    let packet = query("a.example.", "A");
    for octet in [&(packet.len() as u16).to_be_bytes(), &packet[..]].concat() {
        stream.write_all(&[octet]).expect("sends");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(receive(&mut stream).is_some());
}

#[test]
fn answers_come_after_the_client_has_closed_its_side() {
    let server = Server::start(COREFILE, &[]);
    let mut stream = connect(server.address());
    send(&mut stream, &query("a.example.", "A"));
    send(&mut stream, &query("b.example.", "A"));
    stream.shutdown(Shutdown::Write).expect("shuts down");
    assert!(receive(&mut stream).is_some() && receive(&mut stream).is_some() && receive(&mut stream).is_none());
}

#[test]
fn what_is_no_query_gets_silence_or_an_error_and_the_connection_stays() {
    let server = Server::start(COREFILE, &[]);
    let mut stream = connect(server.address());
    send(&mut stream, b"");
    send(&mut stream, b"short");
    let mut response = query("a.example.", "A");
    response[2] |= 0x80;
    send(&mut stream, &response);
    let mut two = query("a.example.", "A");
    two[5] = 2;
    send(&mut stream, &two);
    assert_eq!(text(&decode(&receive(&mut stream).expect("an answer"))), "FORMERR");
    assert_eq!(exchange(server.address(), &response), None);
}

#[test]
fn an_idle_client_is_closed_and_others_are_served() {
    let server = Server::start(COREFILE, &[]);
    let start = Instant::now();
    let mut silent: Vec<_> = (0..50).map(|_| connect(server.address())).collect();
    silent[0].write_all(&[0]).expect("sends");
    for stream in &mut silent {
        let mut rest = Vec::new();
        assert_eq!(stream.read_to_end(&mut rest).unwrap_or(0), 0);
        server.ask("a.example.", "A");
    }
    assert!(start.elapsed() >= Duration::from_secs(2), "they were given their time");
}

#[test]
fn ten_thousand_connections_do_not_keep_others_out() {
    let server = Server::start(COREFILE, &[]);
    let mut held = Vec::new();
    for _ in 0..5_000 {
        // The test's own limit of open files may be reached first.
        let Ok(stream) = std::net::TcpStream::connect(server.address()) else { break };
        held.push(stream);
    }
    server.ask("a.example.", "A");
    let mut stream = connect(server.address());
    send(&mut stream, &query("a.example.", "A"));
    assert!(receive(&mut stream).is_some());
}

/// Returns a program that starts the server with a low limit of open files.
fn with_files(limit: usize, folder: &Path) -> std::path::PathBuf {
    let path = folder.join("signpost");
    let text = format!("#!/bin/sh\nulimit -n {limit}\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_signpost"));
    std::fs::write(&path, text).expect("writes");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

#[test]
fn silent_connections_leave_files_for_everything_else() {
    let folder = tempfile::tempdir().expect("a folder");
    // As many as this machine's workers need, plus 40.
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let server = Server::start_program(&with_files(40 + 12 * workers, folder.path()), COREFILE, &[]);
    let silent: Vec<_> = (0..60 + 12 * workers).map(|_| connect(server.address())).collect();
    let mut stream = connect(server.address());
    send(&mut stream, &query("a.example.", "A"));
    assert!(receive(&mut stream).is_some());
    // The reload reads a Corefile and opens a listener.
    server.rewrite(&COREFILE.replace("whoami", "log\n    whoami"));
    server.signal("USR1");
    server.wait_for("Reloading complete");
    server.ask("a.example.", "A");
    assert!(!server.output().contains("too many open files"), "{}", server.output());
    drop(silent);
}
