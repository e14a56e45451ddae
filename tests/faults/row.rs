//! What a row of the table is, and the result of a run.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::ScopedJoinHandle;

use serde::{Deserialize, Serialize};

use super::namespace;
use super::server::{Kind, Run};

/// One fault.
pub(crate) struct Row {
    /// Its name in the table.
    pub(crate) id: &'static str,
    /// The fault, as a sentence.
    pub(crate) injected: &'static str,
    /// The required result.
    pub(crate) wanted: &'static str,
    /// Where it runs.
    pub(crate) place: Place,
    /// Runs it.
    pub(crate) run: fn(&Run) -> Found,
}

/// Where a row runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On loopback, beside other rows.
    Here,
    /// In its own network namespace, because it changes the network or sends packets that need
    /// root.
    Namespace,
    /// On loopback, one at a time and only in the long run, because its figures matter.
    Alone,
}

/// The result of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Found {
    /// The row's figures in words.
    pub(crate) number: String,
    /// What is not as required.
    pub(crate) wrong: Vec<String>,
    /// Why it could not be run.
    pub(crate) skipped: Option<String>,
}

impl Found {
    /// Returns a result with the row's figures.
    pub(crate) fn new(number: impl Into<String>) -> Self {
        Self { number: number.into(), ..Self::default() }
    }

    /// Returns a result of a row that cannot run here.
    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self { skipped: Some(why.into()), ..Self::default() }
    }

    /// Adds `what` to the wrong results unless `is`.
    pub(crate) fn must(mut self, is: bool, what: &str) -> Self {
        if !is {
            self.wrong.push(what.to_owned());
        }
        self
    }
}

impl Row {
    /// Runs the row against a server.
    pub(crate) fn find(&self, run: Run) -> Found {
        if run.kind.program().is_none() {
            return Found::skipped("its program is not built: tests/peers/build.sh coredns");
        }
        if self.place == Place::Namespace {
            return namespace::find(self.id, run);
        }
        self.find_here(&run)
    }

    /// Runs it in this process.
    pub(crate) fn find_here(&self, run: &Run) -> Found {
        catch_unwind(AssertUnwindSafe(|| (self.run)(run))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").lines().take(2);
            Found::new("could not be run").must(false, &text.collect::<Vec<_>>().join(" "))
        })
    }

    /// Runs it against both servers: at the same time if figures do not matter.
    pub(crate) fn find_both(&self, long: bool) -> [Found; 2] {
        let [ours, theirs] = [Kind::Signpost, Kind::CoreDns].map(|kind| Run { kind, long });
        if long {
            return [self.find(ours), self.find(theirs)];
        }
        std::thread::scope(|scope| {
            let theirs = scope.spawn(|| self.find(theirs));
            [self.find(ours), joined(theirs)]
        })
    }
}

/// Returns a thread's result; panics if the thread panicked.
pub(crate) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
