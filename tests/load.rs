//! The load generator against a running server, and against one that answers wrongly.

#[path = "support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::net::UdpSocket;
use std::process::Output;
use std::sync::mpsc;
use std::thread;

use clap::Parser;
use signpost::bench::args::{Args, Command};
use signpost::bench::lane::Standing;
use signpost::bench::questions::{Edns, Question};
use support::Server;

const COREFILE: &str = ".:PORT {\n  kubernetes cluster.local {\n    manifests objects.yaml\n  }\n}\n";

const OBJECTS: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], ports: [{name: http, port: 80, protocol: TCP}]}
";

/// Runs the generator; returns its output and its JSON.
fn load(server: &str, questions: &str, arguments: &[&str]) -> (Output, serde_json::Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let (list, json) = (folder.path().join("questions"), folder.path().join("json"));
    std::fs::write(&list, questions).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_signpost-bench"))
        .args(["load", "--quiet", "--server", server])
        .arg("--questions")
        .arg(&list)
        .arg("--json")
        .arg(&json)
        .args(arguments)
        .output()
        .expect("runs");
    let json = std::fs::read(&json).ok().and_then(|text| serde_json::from_slice(&text).ok());
    (output, json.unwrap_or_default())
}

#[test]
fn every_reply_is_counted_and_right() {
    let server = Server::start(COREFILE, &[("objects.yaml", OBJECTS)]);
    let objects = server.folder.path().join("objects.yaml");
    let mixed = std::process::Command::new(env!("CARGO_BIN_EXE_signpost-bench"))
        .args(["mix", "--count", "100", "--parts", "service=4,aaaa=2,srv=1,nxdomain=4"])
        .arg(objects)
        .output()
        .expect("runs");
    let questions = String::from_utf8(mixed.stdout).expect("text");
    assert_eq!(questions.lines().count(), 100);
    let address = server.address().to_string();
    for arguments in [
        &["--queries", "500", "--outstanding", "8", "--clients", "4"][..],
        &["--queries", "500", "--outstanding", "8", "--clients", "4", "--transport", "tcp"],
        &["--queries", "500", "--rate", "1000", "--threads", "2", "--clients", "4", "--law", "zipf"],
    ] {
        let (output, json) = load(&address, &questions, arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        let count = |key: &str| json[key].as_u64().expect("a number");
        assert_eq!((count("lost"), count("wrong"), count("stray"), count("closed")), (0, 0, 0, 0), "{text}");
        assert_eq!(count("answered"), 500, "{text}");
        assert!(json["latency_us"]["p99.9"].as_f64() > Some(0.0), "{text}");
        let rcodes: u64 =
            json["rcodes"].as_object().expect("counts").values().filter_map(serde_json::Value::as_u64).sum();
        assert_eq!(rcodes, count("answered"));
    }
}

#[test]
fn an_open_loop_accounts_for_all_that_is_due() {
    let server = Server::start(COREFILE, &[("objects.yaml", OBJECTS)]);
    let question = "x{n}.shop.svc.cluster.local A NXDOMAIN 0\n";
    let (_, json) =
        load(&server.address().to_string(), question, &["--rate", "1000", "--seconds", "0.3", "--warm-up", "0"]);
    // 300 are due; all of them are sent, however late, or counted as unsent.
    let count = |key: &str| json[key].as_u64().expect("a number");
    let all = count("answered") + count("lost") + count("unsent");
    assert!((299..=301).contains(&all), "{json}");
    assert_eq!(count("wrong"), 0);
}

#[test]
fn what_is_wrong_or_missing_is_said() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("bound").to_string();
    // Repeats each question as an empty answer, but drops every fourth, and gives every fifth
    // another id.
    thread::spawn(move || {
        let mut buffer = [0; 512];
        for turn in 0_u32.. {
            let Ok((len, peer)) = socket.recv_from(&mut buffer) else { return };
            buffer[2] |= 0x80;
            if turn % 5 == 0 {
                buffer[0] ^= 0x55;
            }
            if turn % 4 != 0 {
                socket.send_to(&buffer[..len], peer).expect("sent");
            }
        }
    });
    let (output, json) =
        load(&address, "example.org A NOERROR 1\n", &["--queries", "40", "--rate", "200", "--timeout", "2"]);
    assert_eq!(output.status.code(), Some(1));
    let count = |key: &str| json[key].as_u64().expect("a number");
    // Of 20 queries 5 are dropped, and of the others 3 get another id; 40 have twice as many.
    assert_eq!((count("answered"), count("lost"), count("stray")), (24, 16, 6), "{json}");
    assert_eq!(count("wrong"), 24, "each lacks its record");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("wrong: example.org. A: NOERROR with 0 answers, not NOERROR with 1"), "{text}");
}

#[test]
fn a_lane_that_stays_asks_for_no_name_twice() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("bound");
    let (told, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
            buffer[2] |= 0x80;
            let is_over = told.send(buffer[12..len].to_vec()).is_err();
            if is_over || socket.send_to(&buffer[..len], peer).is_err() {
                return;
            }
        }
    });
    let args = format!("signpost-bench load --server {address} --questions - --outstanding 2 --clients 2");
    let Command::Load(load) = Args::parse_from(args.split(' ')).command else { panic!("load was asked for") };
    let edns = Edns { size: 0, dnssec_ok: false };
    let questions =
        ["n{n}.example.org A", "m{n}.example.org A"].map(|line| Question::read(line, edns).expect("a question"));
    let mut lane = Standing::connect(&load).expect("a socket");
    for queries in [1, 4, 3] {
        let (_, tally) = lane.ask(&questions, queries).expect("replies");
        assert_eq!((tally.answered, tally.lost, tally.wrong), (queries, 0, 0));
    }
    let names: HashSet<Vec<u8>> = heard.try_iter().collect();
    assert_eq!(names.len(), 8);
}

#[test]
fn a_bad_file_of_questions_is_refused() {
    let (output, _) = load("127.0.0.1:1", "example.org A\nexample.org B\n", &[]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("questions:2: \"B\" is no record type"), "{text}");
}
