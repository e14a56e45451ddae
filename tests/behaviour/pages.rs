//! `/health`, `/ready` and `/metrics` are answered whatever their other clients do.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::support::{PATIENCE, Server, connect, free_port};
use super::support_pages::{Crowd, HABITS, Habit, ask, get};

const COREFILE: &str = ".:PORT {
    bind 127.0.0.1
    health HEALTH
    ready READY
    prometheus METRICS
    whoami
}
";

/// The three pages of a server.
struct Pages([(SocketAddr, &'static str); 3]);

impl Pages {
    fn new() -> Self {
        Self(["/health", "/ready", "/metrics"].map(|path| (SocketAddr::from(([127, 0, 0, 1], free_port())), path)))
    }

    fn corefile(&self) -> String {
        let [health, ready, metrics] = self.0.map(|(address, _)| address.to_string());
        COREFILE.replace("HEALTH", &health).replace("READY", &ready).replace("METRICS", &metrics)
    }

    /// Checks that each of them is answered.
    fn are_answered(&self, meanwhile: &str) {
        for (address, path) in self.0 {
            let got = get(address, path, PATIENCE).map(|(status, _)| status);
            assert_eq!(got, Ok(200), "{path}, {meanwhile}");
        }
    }

    /// Returns the connections that ended for this reason, from `/metrics`.
    fn ended(&self, reason: &str) -> u64 {
        let (_, page) = get(self.0[2].0, "/metrics", PATIENCE).expect("a page");
        let series = format!("signpost_http_ended_connections_total{{reason=\"{reason}\"}} ");
        let count = page.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok());
        count.unwrap_or_else(|| panic!("no {series} in {page}"))
    }
}

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[test]
fn probes_are_answered_beside_crowds_of_every_habit() {
    let pages = Pages::new();
    let _server = Server::start(&pages.corefile(), &[]);
    for habit in HABITS {
        let crowd = Crowd::gather(habit, 300, &pages.0, HERE);
        assert_eq!(crowd.count, 300, "{habit:?}: the test needs so many files");
        crowd.wait();
        pages.are_answered(&format!("{habit:?}"));
    }
    // While all places are taken the page may be a little old.
    let end = Instant::now() + PATIENCE;
    while pages.ended("evicted") == 0 || pages.ended("bad request") == 0 {
        assert!(Instant::now() < end, "what happened is counted");
    }
}

#[test]
fn a_proper_client_keeps_its_connection_beside_a_crowd_from_elsewhere() {
    let pages = Pages::new();
    let _server = Server::start(&pages.corefile(), &[]);
    let mut kept: Vec<(TcpStream, &str)> = pages.0.iter().map(|(at, path)| (connect(*at), *path)).collect();
    let ask_all = |kept: &mut Vec<(TcpStream, &str)>| -> Vec<Option<u16>> {
        kept.iter_mut().map(|(stream, path)| ask(stream, path)).collect()
    };
    assert_eq!(ask_all(&mut kept), [Some(200); 3]);
    for habit in [Habit::Pipelines, Habit::Idles] {
        let crowd = Crowd::gather(habit, 300, &pages.0, Ipv4Addr::new(127, 0, 0, 2));
        crowd.wait();
        assert_eq!(ask_all(&mut kept), [Some(200); 3], "{habit:?}");
    }
}

#[test]
fn pages_are_answered_when_there_are_no_files_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("few-files");
    let script = format!("#!/bin/sh\nulimit -n 64\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_signpost"));
    std::fs::write(&program, script).expect("writes");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("may run");
    let pages = Pages::new();
    let _server = Server::start_program(&program, &pages.corefile(), &[]);
    let crowd = Crowd::gather(Habit::Silent, 120, &pages.0, HERE);
    crowd.wait();
    pages.are_answered("with 64 files");
}

#[test]
fn connections_end_with_their_address_and_with_no_other_reload() {
    let (pages, moved) = (Pages::new(), Pages::new());
    let server = Server::start(&pages.corefile(), &[]);
    let [(health, _), (ready, _), (metrics, _)] = pages.0;
    let mut kept = [connect(health), connect(ready)];
    assert_eq!(ask(&mut kept[0], "/health"), Some(200));
    assert_eq!(ask(&mut kept[1], "/ready"), Some(200));
    let after = Pages([moved.0[0], (ready, "/ready"), (metrics, "/metrics")]);
    server.rewrite(&after.corefile());
    server.signal("USR1");
    server.wait_for("Reloading complete");
    after.are_answered("after a reload");
    // Requests that were on their way to a closing address are still answered, for a second.
    let end = Instant::now() + Duration::from_secs(60);
    while ask(&mut kept[0], "/health").is_some() {
        assert!(Instant::now() < end, "its address is closed");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask(&mut kept[1], "/ready"), Some(200), "its address stays");
}
