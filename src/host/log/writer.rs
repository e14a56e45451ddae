//! The thread that writes lines: it looks at all lanes from time to time, or when one of them has a block.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use super::lanes::{BLOCK, Lanes};
use super::{Level, render};

/// How long lines may wait for more, so that they are written together.
const GATHER: Duration = Duration::from_millis(20);

/// How often it may be said that lines were dropped.
const TELL: Duration = Duration::from_secs(1);

/// What the thread has.
pub(super) struct Writer<'a, W> {
    lanes: &'a Lanes,
    to: W,
    block: Vec<u8>,
    spare: Vec<u8>,
    /// Dropped lines that were told of, and when.
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

    /// Writes what there is in the lanes; whether there was something.
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
            // There is nobody to tell when standard output is gone, but a metric.
            self.lanes.drop_lines(lost);
            self.told = self.lanes.dropped();
        }
        self.lanes.end_round();
        was_busy
    }

    /// How many lines were dropped, if that is to be told now.
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

/// Writes and empties `block`; how many lines of it were lost.
fn print(to: &mut impl Write, block: &mut Vec<u8>) -> u64 {
    let mut rest = block.as_slice();
    while !rest.is_empty() {
        match to.write(rest) {
            Ok(0) => break,
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever started us does not want writes to wait for the reader. This thread has time.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(GATHER),
            Err(_) => break,
        }
    }
    let lost = memchr::memchr_iter(b'\n', rest).count();
    block.clear();
    block.shrink_to(2 * BLOCK);
    lost as u64
}

/// Standard output without a buffer in between.
pub(super) fn standard_output() -> Box<dyn Write + Send> {
    let output = io::stdout();
    match output.as_fd().try_clone_to_owned() {
        Ok(descriptor) => Box::new(File::from(descriptor)),
        Err(_) => Box::new(output),
    }
}
