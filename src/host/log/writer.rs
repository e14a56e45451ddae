//! The thread that writes lines. It looks at all lanes at intervals, or as soon as one has a block.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use super::lanes::{BLOCK, Lanes};
use super::{Level, render};

/// How long lines may wait so that more are written at once.
const GATHER: Duration = Duration::from_millis(20);

/// Shortest interval between messages about dropped lines.
const TELL: Duration = Duration::from_secs(1);

/// The state of the thread.
pub(super) struct Writer<'a, W> {
    lanes: &'a Lanes,
    to: W,
    block: Vec<u8>,
    spare: Vec<u8>,
    /// The number of dropped lines at the last message, and its time.
    told: u64,
    told_at: Option<Instant>,
}

impl<'a, W: Write> Writer<'a, W> {
    pub(super) fn new(lanes: &'a Lanes, to: W) -> Self {
        Self { lanes, to, block: Vec::new(), spare: Vec::new(), told: 0, told_at: None }
    }

    /// Writes as long as the process lives.
    pub(super) fn run(mut self) {
        loop {
            thread::park_timeout(GATHER);
            let was_busy = self.round();
            if !was_busy && self.lanes.dropped() == self.told && self.lanes.may_sleep() {
                thread::park();
            }
        }
    }

    /// Writes the contents of the lanes. Returns whether there were any.
    pub(super) fn round(&mut self) -> bool {
        let Self { lanes, to, block, spare, .. } = self;
        lanes.begin_round();
        let (mut was_busy, mut lost) = (false, 0);
        lanes.take(spare, |lines| {
            was_busy = true;
            block.extend_from_slice(lines);
            if block.len() >= BLOCK {
                lost += print(to, block);
            }
        });
        if let Some(dropped) = self.untold() {
            render(
                &mut self.block,
                Level::Warning,
                "",
                format_args!("{dropped} log lines were dropped: nobody read them"),
            );
        }
        lost += print(&mut self.to, &mut self.block);
        if lost > 0 {
            // Standard output is closed, so only a metric can show it.
            self.lanes.drop_lines(lost);
            self.told = self.lanes.dropped();
        }
        self.lanes.end_round();
        was_busy
    }

    /// Returns how many lines were dropped, if it is time to say so.
    fn untold(&mut self) -> Option<u64> {
        let total = self.lanes.dropped();
        let dropped = total - self.told;
        if dropped == 0 || self.told_at.is_some_and(|at| at.elapsed() < TELL) {
            return None;
        }
        (self.told, self.told_at) = (total, Some(Instant::now()));
        Some(dropped)
    }
}

/// Writes and empties `block`. Returns how many of its lines were lost.
fn print(to: &mut impl Write, block: &mut Vec<u8>) -> u64 {
    let mut rest = block.as_slice();
    while !rest.is_empty() {
        match to.write(rest) {
            Ok(0) => break,
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Standard output may be non-blocking, set by the parent process. This thread can wait.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(GATHER),
            Err(_) => break,
        }
    }
    let lost = memchr::memchr_iter(b'\n', rest).count();
    block.clear();
    block.shrink_to(2 * BLOCK);
    lost as u64
}

/// Returns standard output without a buffer.
pub(super) fn standard_output() -> Box<dyn Write + Send> {
    let output = io::stdout();
    match output.as_fd().try_clone_to_owned() {
        Ok(descriptor) => Box::new(File::from(descriptor)),
        Err(_) => Box::new(output),
    }
}
