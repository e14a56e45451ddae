//! What is printed while the load runs and at its end.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::args::{Load, Transport};
use super::lane::Progress;
use super::tally::Tally;
use crate::wire::types::rcode_name;

/// The quantiles of latency that are shown.
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// How soon the end of a load is noticed.
const TICK: Duration = Duration::from_millis(20);

/// The result of a load.
#[derive(Debug, Serialize)]
pub struct Report {
    /// When the load ended.
    date: Timestamp,
    server: String,
    transport: &'static str,
    /// The pace, in words.
    pace: String,
    clients: usize,
    threads: usize,
    /// Lines of the file of questions.
    questions: usize,
    /// Which of them is next, in words.
    law: String,
    seconds: f64,
    /// Replies a second.
    answered_per_second: f64,
    answered: u64,
    lost: u64,
    wrong: u64,
    unsent: u64,
    stray: u64,
    truncated: u64,
    closed: u64,
    rcodes: BTreeMap<String, u64>,
    /// Microseconds from a query's due time to its reply.
    latency_us: BTreeMap<&'static str, f64>,
    /// CPU time of the server's process, user and system, in microseconds per reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us: Option<f64>,
    /// Resident memory of the server's process at the end, in octets.
    #[serde(skip_serializing_if = "Option::is_none")]
    resident: Option<u64>,
    examples: Vec<String>,
}

/// What the server's process used while the load ran.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    cpu: Duration,
    resident: u64,
}

impl Report {
    pub(super) fn new(load: &Load, questions: usize, tally: &Tally, took: Duration, process: Option<Process>) -> Self {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let mut latency_us: BTreeMap<_, _> =
            QUANTILES.map(|(name, quantile)| (name, micros(tally.latency.value_at_quantile(quantile)))).into();
        latency_us.insert("max", micros(tally.latency.max()));
        latency_us.insert("mean", tally.latency.mean() / 1e3);
        let name = |rcode: usize| rcode_name(rcode as u16).map_or(format!("RCODE{rcode}"), str::to_owned);
        let seconds = took.as_secs_f64();
        Self {
            date: Timestamp::now(),
            server: load.server.to_string(),
            transport: match load.transport {
                Transport::Udp => "UDP",
                Transport::Tcp => "TCP",
                Transport::Tls => "DoT",
            },
            pace: match load.rate {
                Some(rate) => format!("{rate} queries a second"),
                None => format!("{} queries outstanding", load.outstanding),
            },
            clients: load.clients,
            threads: load.threads,
            questions,
            law: load.law.to_string(),
            seconds,
            answered_per_second: tally.answered as f64 / seconds,
            answered: tally.answered,
            lost: tally.lost,
            wrong: tally.wrong,
            unsent: tally.unsent,
            stray: tally.stray,
            truncated: tally.truncated,
            closed: tally.closed,
            rcodes: (0..)
                .zip(tally.rcodes)
                .filter(|(_, count)| *count > 0)
                .map(|(at, count)| (name(at), count))
                .collect(),
            latency_us,
            cpu_us: process.map(|process| process.cpu.as_secs_f64() * 1e6 / (tally.answered.max(1)) as f64),
            resident: process.map(|process| process.resident),
            examples: tally.examples.clone(),
        }
    }

    /// Returns whether every query got a right reply.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.wrong == 0 && self.unsent == 0
    }

    /// Writes everything as JSON.
    ///
    /// # Errors
    /// The file, and the system's message.
    pub fn write_json(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, transport, pace, clients, threads, questions, law, .. } = self;
        writeln!(f, "{server} over {transport}: {pace}, {clients} clients, {threads} threads")?;
        writeln!(f, "questions  {questions}, {law}")?;
        writeln!(f, "answered   {} in {:.2} s: {:.0} a second", self.answered, self.seconds, self.answered_per_second)?;
        writeln!(f, "lost       {}, wrong {}, unsent {}", self.lost, self.wrong, self.unsent)?;
        writeln!(f, "also       stray {}, truncated {}, closed {}", self.stray, self.truncated, self.closed)?;
        let rcodes: Vec<_> = self.rcodes.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(f, "RCODEs     {}", rcodes.join(", "))?;
        let quantiles: Vec<_> =
            QUANTILES.iter().map(|(name, _)| format!("{name} {:.0}", self.latency_us[name])).collect();
        writeln!(f, "latency    {}, max {:.0} µs", quantiles.join(", "), self.latency_us["max"])?;
        if let (Some(cpu), Some(resident)) = (self.cpu_us, self.resident) {
            writeln!(f, "server     {cpu:.2} µs of CPU a reply, {:.1} MB resident", resident as f64 / 1e6)?;
        }
        self.examples.iter().try_for_each(|example| writeln!(f, "wrong: {example}"))
    }
}

//----------- While it runs --------------------------------------------------

/// Prints a line each second, and watches the server's process during the time that counts.
///
/// Returns the length of that time.
pub(super) fn watch(load: &Load, progress: &Progress, is_over: impl Fn() -> bool) -> (Duration, Option<Process>) {
    let (from, end) = load.window();
    sleep(from);
    let (start, before) = (Instant::now(), load.process.and_then(cpu_time));
    let (mut sent, mut answered) = (0, 0);
    for second in 1.. {
        let at = Duration::from_secs(second).min(end.saturating_sub(from));
        while start.elapsed() < at && !is_over() {
            sleep(at.saturating_sub(start.elapsed()).min(TICK));
        }
        if !load.quiet {
            let (all, replies) = (progress.sent.load(Relaxed), progress.answered.load(Relaxed));
            eprintln!("{second:>4} s   {:>8} sent {:>8} answered", all - sent, replies - answered);
            (sent, answered) = (all, replies);
        }
        if is_over() || start.elapsed() >= end.saturating_sub(from) {
            break;
        }
    }
    (start.elapsed(), process(load, before))
}

fn process(load: &Load, before: Option<Duration>) -> Option<Process> {
    let pid = load.process?;
    Some(Process { cpu: cpu_time(pid)?.saturating_sub(before?), resident: resident(pid)? })
}

/// Returns the user and system time of a process so far (proc_pid_stat(5), fields 14 and 15).
fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may contain anything; it ends at the last parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(Duration::from_secs_f64((user + system) as f64 / hertz as f64))
}

/// Returns the resident memory of a process, in octets.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
