//! What the process takes: memory, files and threads, by the minute.

use std::fs;

/// How much the mean memory of a minute may be above that of the first one, in KiB. In a run of
/// minutes this is noise of the allocator; in a run of an hour it is a slope.
const GROWTH: u64 = 2 << 10;

/// How many more files may be open: connections that clients have left and the server has not seen
/// end yet.
const FILES: usize = 64;

/// How many more threads there may be: those for files and names end when they were idle for ten
/// seconds.
const THREADS: usize = 2;

/// The minutes so far, and the current one.
#[derive(Default)]
pub(crate) struct Measures {
    minutes: Vec<Minute>,
    now: Vec<Sample>,
}

struct Sample {
    /// In KiB.
    memory: u64,
    files: usize,
    threads: usize,
}

/// Mean memory, and the smallest number of files and threads: those that stay.
struct Minute {
    memory: u64,
    files: usize,
    threads: usize,
}

impl Measures {
    /// Looks at the process.
    pub(crate) fn take(&mut self, process: u32) {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
            line.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).expect("a number")
        };
        let files = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").count();
        self.now.push(Sample { memory: value("VmRSS:"), files, threads: value("Threads:") as usize });
    }

    /// Ends a minute; returns a line about it.
    pub(crate) fn end_minute(&mut self) -> String {
        let samples = std::mem::take(&mut self.now);
        let minute = Minute {
            memory: samples.iter().map(|sample| sample.memory).sum::<u64>() / samples.len() as u64,
            files: samples.iter().map(|sample| sample.files).min().expect("samples"),
            threads: samples.iter().map(|sample| sample.threads).min().expect("samples"),
        };
        let Minute { memory, files, threads } = &minute;
        let line =
            format!("minute {}: {memory} KiB, {files} files, {threads} threads at least", self.minutes.len() + 1);
        self.minutes.push(minute);
        line
    }

    /// Compares the last minute with the first one after `warm` minutes.
    pub(crate) fn check(&self, warm: usize) {
        let (first, last) = (&self.minutes[warm], self.minutes.last().expect("minutes"));
        println!("memory grew by {} KiB", last.memory as i64 - first.memory as i64);
        assert!(last.memory <= first.memory + GROWTH, "memory grew from {} to {} KiB", first.memory, last.memory);
        assert!(last.files <= first.files + FILES, "{} files, then {}", first.files, last.files);
        assert!(last.threads <= first.threads + THREADS, "{} threads, then {}", first.threads, last.threads);
    }
}
