//! Log lines in CoreDNS's form, on standard output, that never make their caller wait.
//!
//! Each worker puts its lines into a bounded buffer of its own, and one thread writes them out,
//! many at once. If the reader of standard output stalls and a buffer is full, lines are dropped
//! and counted, and no query is delayed.

mod lanes;
mod record;
mod told;
mod writer;

use std::cell::Cell;
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use serde::Serialize;

pub use record::Text;
pub use told::{failed, line_of, told};

use crate::error::OF_PLUGIN;
use lanes::Lanes;
use record::Nothing;
use writer::{Writer, standard_output};

static LANES: Lanes = Lanes::new();
static JSON: AtomicBool = AtomicBool::new(false);
static DEBUG: AtomicBool = AtomicBool::new(false);

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(0) };
}

//----------- Lines ----------------------------------------------------------

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Only printed if the plugin `debug` is loaded.
    Debug,
    /// Something happened that may be of interest.
    Info,
    /// Something needs attention.
    Warning,
    /// Something failed.
    Error,
    /// Something failed and the process ends.
    Fatal,
}

/// Prints a `[DEBUG]` line of the plugin `from`; an empty name stands for the server itself.
pub fn debug(from: &str, message: fmt::Arguments<'_>) {
    if DEBUG.load(Ordering::Relaxed) {
        line(Level::Debug, from, message);
    }
}

/// Prints an `[INFO]` line.
pub fn info(from: &str, message: fmt::Arguments<'_>) {
    line(Level::Info, from, message);
}

/// Prints a `[WARNING]` line.
pub fn warning(from: &str, message: fmt::Arguments<'_>) {
    line(Level::Warning, from, message);
}

/// Prints an `[ERROR]` line.
pub fn error(from: &str, message: fmt::Arguments<'_>) {
    line(Level::Error, from, message);
}

/// Prints a line of any level.
pub fn line(level: Level, from: &str, message: fmt::Arguments<'_>) {
    with_buffer(|buffer| render(buffer, level, from, message));
}

/// Appends a line in the form chosen for the process.
fn render(buffer: &mut Vec<u8>, level: Level, from: &str, message: fmt::Arguments<'_>) {
    if is_json() {
        return record::append(buffer, level, from, message, Nothing {});
    }
    let (kind, separator) = if from.is_empty() { ("", "") } else { (OF_PLUGIN, ": ") };
    // Writing to a `Vec` cannot fail.
    let _ = writeln!(buffer, "[{}] {kind}{from}{separator}{message}", level.text());
}

/// Prints a line with one JSON object: time, level, message, plugin, then `fields`, a struct or a
/// map (`-log-format json`).
///
/// Serializing `message` and `fields` must not print anything.
pub fn record(level: Level, from: &str, message: impl Serialize, fields: impl Serialize) {
    with_buffer(|buffer| record::append(buffer, level, from, message, fields));
}

/// Prints a text for people at the start: unchanged, or as one record.
pub fn plain(text: &str) {
    if is_json() {
        record(Level::Info, "", text.trim_end(), Nothing {});
    } else {
        with_buffer(|buffer| {
            let _ = writeln!(buffer, "{}", text.trim_end());
        });
    }
}

/// Lets `write` append whole lines to what will be printed. If the buffer is full, they are
/// dropped.
///
/// Lines of one thread keep their order. `write` must not print anything itself.
pub fn with_buffer(write: impl FnOnce(&mut Vec<u8>)) {
    if LANES.append(LANE.get(), write) {
        wake();
    }
}

impl Level {
    fn text(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    fn json(self) -> &'static str {
        if self == Self::Warning { "WARN" } else { self.text() }
    }
}

//----------- Settings and state ---------------------------------------------

/// Switches the whole process to JSON lines, or back.
pub fn set_json(json: bool) {
    JSON.store(json, Ordering::Relaxed);
}

/// Returns whether lines are JSON.
#[must_use]
pub fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Enables or disables `[DEBUG]` lines.
pub fn set_debug(debug: bool) {
    DEBUG.store(debug, Ordering::Relaxed);
}

/// Returns how many lines were dropped because standard output was not read.
#[must_use]
pub fn dropped() -> u64 {
    LANES.dropped()
}

//----------- Threads --------------------------------------------------------

/// Gives this thread a buffer of its own for its lines. `worker` counts from 0.
pub fn claim_lane(worker: usize) {
    LANE.set(lanes::of_worker(worker));
}

/// Waits until everything printed so far is written, at most `patience`.
pub fn flush(patience: Duration) {
    LANES.wait(patience, wake);
}

/// Flushes when it is dropped, also after a panic.
#[must_use]
pub struct Flush;

impl Drop for Flush {
    fn drop(&mut self) {
        flush(Duration::from_secs(1));
    }
}

/// The destination of lines in place of standard output.
static TARGET: Mutex<Option<Box<dyn Write + Send>>> = Mutex::new(None);

/// Sends lines to another destination than standard output, for tests and benches. Must be called
/// before the first line.
pub fn redirect(to: Box<dyn Write + Send>) {
    *TARGET.lock().unwrap_or_else(PoisonError::into_inner) = Some(to);
}

/// Wakes the writer; the first call starts it.
fn wake() {
    static START: Once = Once::new();
    static WRITER: OnceLock<Thread> = OnceLock::new();
    START.call_once(|| {
        let to = TARGET.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_else(standard_output);
        match std::thread::Builder::new().name("log".into()).spawn(move || Writer::new(&LANES, to).run()) {
            Ok(thread) => _ = WRITER.set(thread.thread().clone()),
            Err(error) => eprintln!("no thread for log lines: {error}"),
        }
    });
    if let Some(writer) = WRITER.get() {
        writer.unpark();
    }
}

#[cfg(test)]
mod tests;
