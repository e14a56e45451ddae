//! Log lines in CoreDNS's shape, on standard output, that never make their caller wait.
//!
//! Lines go into a bounded buffer that one thread writes out. When the reader of standard output stalls
//! and the buffer is full, lines are dropped and counted, and no query is delayed.

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};

use serde_json::{Map, Value};

/// Octets that may wait to be written.
const LIMIT: usize = 1 << 20;

static OUTPUT: Output = Output {
    buffer: Mutex::new(Vec::new()),
    filled: Condvar::new(),
    emptied: Condvar::new(),
    writing: AtomicBool::new(false),
    dropped: AtomicU64::new(0),
};
static JSON: AtomicBool = AtomicBool::new(false);
static DEBUG: AtomicBool = AtomicBool::new(false);

//----------- Lines ----------------------------------------------------------

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Only printed where the plugin `debug` is loaded.
    Debug,
    /// Something happened.
    Info,
    /// Something should be looked at.
    Warning,
    /// Something failed.
    Error,
    /// Something failed and the process ends.
    Fatal,
}

/// Prints a `[DEBUG]` line of `from` (`plugin/NAME`, or nothing for the server itself).
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
    if is_json() {
        record(level, from, &message.to_string(), Map::new());
        return;
    }
    let separator = if from.is_empty() { "" } else { ": " };
    with_buffer(|buffer| {
        // Writing to a Vec cannot fail.
        let _ = writeln!(buffer, "[{}] {from}{separator}{message}", level.text());
    });
}

/// Prints one JSON object a line: time, level, message, plugin, then `fields` (`-log-format json`).
pub fn record(level: Level, from: &str, message: &str, fields: Map<String, Value>) {
    let mut object = Map::new();
    object.insert("time".into(), jiff::Timestamp::now().to_string().into());
    object.insert("level".into(), level.json().into());
    object.insert("msg".into(), message.into());
    if let Some(plugin) = from.strip_prefix("plugin/") {
        object.insert("plugin".into(), plugin.into());
    }
    object.extend(fields);
    let text = Value::Object(object).to_string();
    with_buffer(|buffer| {
        let _ = writeln!(buffer, "{text}");
    });
}

/// Prints what is meant for people at start: as it is, or as one record.
pub fn plain(text: &str) {
    if is_json() {
        record(Level::Info, "", text.trim_end(), Map::new());
    } else {
        with_buffer(|buffer| {
            let _ = writeln!(buffer, "{}", text.trim_end());
        });
    }
}

/// Lets `write` append whole lines to what will be printed; nothing is printed when the buffer is full.
pub fn with_buffer(write: impl FnOnce(&mut Vec<u8>)) {
    static WRITER: Once = Once::new();
    WRITER.call_once(start_writer);
    let mut buffer = OUTPUT.lock();
    if buffer.len() > LIMIT {
        OUTPUT.dropped.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let was_empty = buffer.is_empty();
    write(&mut buffer);
    drop(buffer);
    if was_empty {
        OUTPUT.filled.notify_one();
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

/// Chooses JSON lines for the whole process.
pub fn set_json(json: bool) {
    JSON.store(json, Ordering::Relaxed);
}

/// Whether lines are JSON.
#[must_use]
pub fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Lets `[DEBUG]` lines through, or not.
pub fn set_debug(debug: bool) {
    DEBUG.store(debug, Ordering::Relaxed);
}

/// Lines that were dropped because nobody read standard output.
#[must_use]
pub fn dropped() -> u64 {
    OUTPUT.dropped.load(Ordering::Relaxed)
}

/// Waits until everything printed so far is written, at most `patience`.
pub fn flush(patience: std::time::Duration) {
    let buffer = OUTPUT.lock();
    let busy = |buffer: &mut Vec<u8>| !buffer.is_empty() || OUTPUT.writing.load(Ordering::Relaxed);
    let _ = OUTPUT.emptied.wait_timeout_while(buffer, patience, busy);
}

//----------- The writer -----------------------------------------------------

struct Output {
    buffer: Mutex<Vec<u8>>,
    filled: Condvar,
    emptied: Condvar,
    writing: AtomicBool,
    dropped: AtomicU64,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start_writer() {
    let thread = std::thread::Builder::new().name("log".into()).spawn(|| {
        let mut batch = Vec::new();
        loop {
            let buffer = OUTPUT.lock();
            let mut buffer = OUTPUT.filled.wait_while(buffer, |b| b.is_empty()).unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut *buffer, &mut batch);
            OUTPUT.writing.store(true, Ordering::Relaxed);
            drop(buffer);
            // There is nobody to tell when standard output is gone.
            let _ = std::io::stdout().lock().write_all(&batch).and_then(|()| std::io::stdout().flush());
            batch.clear();
            let guard = OUTPUT.lock();
            OUTPUT.writing.store(false, Ordering::Relaxed);
            drop(guard);
            OUTPUT.emptied.notify_all();
        }
    });
    if let Err(error) = thread {
        eprintln!("no thread for log lines: {error}");
    }
}
