//! Signals at any moment: also while a configuration is being loaded, at the start or for a reload.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::support::{PATIENCE, SIGNPOST, Server, free_port};
use super::support_api::{Api, Fault};

/// Starts an API server that accepts connections and never answers.
async fn silent() -> Api {
    let api = Api::start().await;
    api.fault("", usize::MAX, Fault::Hang);
    api
}

fn corefile(ready: u16, lameduck: &str, more: &str) -> String {
    format!(
        ".:PORT {{\n bind 127.0.0.1\n ready 127.0.0.1:{ready}\n health 127.0.0.1:0 {{\n lameduck {lameduck}\n }}\n whoami\n{more}}}\n"
    )
}

/// Returns a `kubernetes` that waits for its data longer than any test.
fn waiting(api: &Api, patience: &str) -> String {
    format!(" kubernetes cluster.local {{\n endpoint http://{}\n startup_timeout {patience}\n }}\n", api.address)
}

/// Returns the status of `/ready`; `None` if there is no listener.
fn ready(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET /ready HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split(' ').nth(1).map(str::to_owned)
}

//----------- While a reload is made -----------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_is_obeyed_at_fifty_moments_of_a_reload() {
    let api = silent().await;
    let moments = Mutex::new(0..50u64);
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    while let Some(moment) = { moments.lock().expect("no panic").next() } {
                        // In the first milliseconds it is read, built and made live; then some of
                        // the configurations wait.
                        let pause = Duration::from_micros(fastrand::u64(0..2_000) * (1 + moment % 25));
                        stop_within_a_reload(&api, moment % 2 == 0, pause);
                    }
                });
            }
        });
    });
}

fn stop_within_a_reload(api: &Api, waits: bool, pause: Duration) {
    let port = free_port();
    let mut server = Server::start(&corefile(port, "300ms", ""), &[]);
    let more = if waits { waiting(api, "1h") } else { " errors\n".to_owned() };
    server.rewrite(&corefile(port, "300ms", &more));
    server.signal("USR1");
    std::thread::sleep(pause);
    server.signal("TERM");
    server.wait_for("SIGTERM: Shutting down");
    // The first status after the signal was obeyed. On a busy machine the reload may be over by
    // then.
    match ready(port).as_deref() {
        Some("503") => {}
        None if !server.is_running() => {}
        other => panic!("{other:?} after {pause:?}:\n{}", server.output()),
    }
    assert_eq!(server.wait().code(), Some(0), "after {pause:?}:\n{}", server.output());
    assert!(!server.output().contains("stays in use"), "a reload that is given up has not failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_that_are_wished_for_meanwhile_are_one_with_the_newest_text() {
    let api = silent().await;
    let (port, other) = (free_port(), free_port());
    let server = Server::start(&corefile(port, "0s", ""), &[]);
    server.rewrite(&corefile(port, "0s", &waiting(&api, "2s")));
    server.signal("USR1");
    let end = Instant::now() + PATIENCE;
    while api.asked("") == 0 {
        assert!(Instant::now() < end, "it never asked:\n{}", server.output());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Meanwhile everything works as before.
    assert_eq!(ready(port).as_deref(), Some("200"));
    server.ask("a.example.", "A");
    for text in [" nonsense\n", " nonsense\n", " errors\n"] {
        server.rewrite(&corefile(other, "0s", text));
        server.signal("USR1");
    }
    server.wait_for("no data from the API server within 2s");
    server.wait_for("Reloading complete");
    let printed = server.output();
    assert!(!printed.contains("nonsense"), "{printed}");
    assert_eq!((printed.matches("Reloading complete").count(), ready(other).as_deref()), (1, Some("200")), "{printed}");
}

//----------- While it starts ------------------------------------------------

/// A server that may not listen yet.
struct Starting(Child, tempfile::TempDir);

impl Starting {
    /// Starts it with a Corefile that never arrives.
    fn new(arguments: &str, input: Stdio) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Command::new("mkfifo").arg(folder.path().join("Corefile")).status().expect("mkfifo runs");
        assert!(made.success());
        let process = Command::new(SIGNPOST)
            .args(arguments.split_whitespace())
            .current_dir(folder.path())
            .stdin(input)
            .stdout(Stdio::null())
            .spawn()
            .expect("starts");
        let starting = Self(process, folder);
        // Before its handlers are set, a signal kills any process.
        let end = Instant::now() + PATIENCE;
        while !starting.obeys() {
            assert!(Instant::now() < end, "it never obeys");
            std::thread::sleep(Duration::from_millis(2));
        }
        starting
    }

    /// Returns whether it handles SIGTERM, which is number 15, and all its other signals.
    fn obeys(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
        let caught = u64::from_str_radix(caught.trim(), 16).unwrap_or_default();
        [1, 2, 3, 10, 15].iter().all(|signal| caught & 1 << (signal - 1) != 0)
    }

    fn end(mut self, signal: &str) -> ExitStatus {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.0.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().expect("a status") {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = self.1.path();
    }
}

#[test]
fn a_start_that_waits_for_its_corefile_can_be_ended() {
    for signal in ["TERM", "INT", "QUIT"] {
        assert_eq!(Starting::new("-conf Corefile", Stdio::null()).end(signal).code(), Some(0), "{signal}");
        assert_eq!(
            Starting::new("-conf stdin", Stdio::piped()).end(signal).code(),
            Some(0),
            "{signal}, standard input"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_waits_for_the_api_server_can_be_ended() {
    let api = silent().await;
    let port = free_port();
    let mut server = Server::start(&corefile(port, "300ms", &waiting(&api, "1h")), &[]);
    assert_eq!(ready(port).as_deref(), Some("503"));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.output());
}

#[test]
fn a_reload_that_waits_for_its_corefile_can_be_ended() {
    let port = free_port();
    let mut server = Server::start(&corefile(port, "300ms", ""), &[]);
    let path = server.folder.path().join("Corefile");
    std::fs::remove_file(&path).expect("removes");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    server.signal("USR1");
    server.wait_for("SIGUSR1");
    server.ask("a.example.", "A");
    server.signal("TERM");
    server.wait_for("SIGTERM");
    assert_ne!(ready(port).as_deref(), Some("200"), "{}", server.output());
    assert_eq!(server.wait().code(), Some(0), "{}", server.output());
}

//----------- One after the other --------------------------------------------

/// Sends signals, each after the one before it was obeyed; returns the exit status.
fn after(lameduck: &str, signals: &[(&str, &str)]) -> Option<i32> {
    let mut server = Server::start(&corefile(free_port(), lameduck, ""), &[]);
    for (signal, said) in signals {
        server.signal(signal);
        server.wait_for(said);
    }
    server.wait().code()
}

#[test]
fn a_second_signal_does_what_it_should() {
    let (term, int, quit) = (("TERM", "SIGTERM"), ("INT", "SIGINT: Shutting down"), ("QUIT", ""));
    // With an hour of lameduck time, the last signal ends the process.
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(after("1h", &[term, quit]), Some(0)));
        scope.spawn(|| assert_eq!(after("1h", &[int, quit]), Some(0)));
        scope.spawn(|| assert_eq!(after("1h", &[term, term, int, ("INT", "Force quit")]), Some(2)));
        scope.spawn(|| assert_eq!(after("1h", &[int, ("TERM", ""), ("USR1", ""), ("INT", "Force quit")]), Some(2)));
        // Without another signal it ends by itself.
        scope.spawn(|| assert_eq!(after("1s", &[term, ("USR1", ""), ("TERM", "")]), Some(0)));
        scope.spawn(|| assert_eq!(after("1s", &[term, int]), Some(0)));
    });
}
