//! # ready — tell probes when the server is ready
//!
//! GET /ready gives 200 `OK` once all plugins are ready, in all server blocks that have this
//! directive; a line below names a plugin whose answers come from a snapshot, and its age. Until
//! then it gives 503 and the names of the plugins that are not ready, sorted, with commas between.
//! The lines below give the reasons: each names its plugin, and what to do. The
//! names are also logged: at once, then less and less often. From the signal to stop on it gives
//! 503, so that no new clients are sent here.
//!
//! ## Syntax
//!
//! ```text
//! ready [ADDRESS] [{
//! }]
//! ```
//!
//! ADDRESS is `:8181` if it is not given. Without a port, as in `127.0.0.1:`, any free one is
//! taken, and the log says which.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     ready :8181 {
//!         monitor continuously
//!     }
//!     whoami
//! }
//! ```

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::probes::{Lines, Probes};
use crate::chain::setup::{Registration, Setup};
use crate::error::Result;
use crate::host::http::{Handler, Page, TEXT};
use crate::host::repeats::Repeats;
use crate::host::{Host, log};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "ready", setup, doc: doc_of!("ready.rs"), options: &[&OPTIONS] };

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let (mut address, mut written, mut continuously) = (":8181".to_owned(), cursor.word(), false);
    while cursor.only_occurrence()? {
        match cursor.args()[..] {
            [] => {}
            [word] => (address, written) = (cursor.page_address(word)?, word),
            _ => return Err(cursor.arg_err()),
        }
        OPTIONS.read(&mut cursor, &mut continuously, s)?;
    }
    let ready = Ready {
        probes: s.probes(),
        continuously,
        host: Arc::downgrade(s.host),
        waiting: Mutex::default(),
        told: Repeats::new(TOLD_AGAIN.0, TOLD_AGAIN.1),
    };
    s.http(&address, written, "/ready", Handler::light(move || ready.page()));
    Ok(())
}

/// Reads whether every request asks all plugins.
static OPTIONS: OptionsOf<bool> = OptionsOf {
    all: &[OptionOf {
        name: "monitor",
        form: "until-ready|continuously",
        about: "With `until-ready` (the default) a plugin that was ready once is not asked again; with `continuously` \
                every request asks all plugins.",
        read: |cursor, continuously, _| {
            let kind = cursor.one_arg()?;
            *continuously = match kind.as_str() {
                "continuously" => true,
                "until-ready" => false,
                _ => {
                    let message = format!("Error during parsing: monitor type '{kind}' not supported");
                    return Err(cursor.unknown(kind, message, &["continuously", "until-ready"]));
                }
            };
            Ok(())
        },
    }],
    unknown: unknown_property,
};

/// Delay before the same log line is repeated: at first, and finally.
const TOLD_AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

struct Ready {
    probes: Arc<Probes>,
    continuously: bool,
    host: Weak<Host>,
    /// Plugins that have never been ready; `None` before the first request.
    waiting: Mutex<Option<Lines>>,
    told: Repeats,
}

impl Ready {
    fn page(&self) -> Page {
        if self.host.upgrade().is_none_or(|host| host.shutting_down.load(Ordering::Relaxed)) {
            return (503, TEXT, "Shutting down".to_owned());
        }
        let waiting = self.waiting();
        if waiting.is_empty() {
            return (200, TEXT, with_lines("OK".to_owned(), self.probes.remarks()));
        }
        // The first line is CoreDNS's whole page, because some programs parse it.
        let page = waiting.keys().copied().collect::<Vec<_>>().join(",");
        if let Some(held_back) = self.told.allow(&page, Instant::now()) {
            log::info(PLUGIN.name, format_args!("Plugins not ready: \"{page}\"{held_back}"));
        }
        (503, TEXT, with_lines(page, waiting))
    }

    fn waiting(&self) -> Lines {
        if self.continuously {
            return self.probes.waiting_for();
        }
        let mut known = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(Lines::is_empty) {
            return Lines::new();
        }
        let mut waiting = self.probes.waiting_for();
        if let Some(known) = &*known {
            waiting.retain(|name, _| known.contains_key(name));
        }
        *known = Some(waiting.clone());
        waiting
    }
}

/// Adds a line for each line of each plugin.
fn with_lines(mut page: String, lines: Lines) -> String {
    for (name, lines) in lines {
        for line in lines {
            page.push_str(&format!("\n{name}: {line}"));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::testing::Server;

    static FIRST: AtomicBool = AtomicBool::new(false);
    static SECOND: AtomicBool = AtomicBool::new(false);

    fn late(name: &'static str, ready: &'static AtomicBool, s: &mut Setup<'_>) -> Result<()> {
        assert_eq!(s.cursor().plugin(), name);
        s.probe(move || match ready.load(Ordering::Relaxed) {
            true => Ok(if name == "alpha" { Vec::new() } else { vec![format!("{name} is old")] }),
            false => Err(vec![format!("no {name} yet"), "look there".to_owned()]),
        });
        Ok(())
    }

    #[test]
    fn a_plugin_that_was_ready_is_asked_again_only_with_monitor_continuously() {
        let plugins = [
            PLUGIN,
            Registration::bare("zeta", |s| late("zeta", &FIRST, s)),
            Registration::bare("alpha", |s| late("alpha", &SECOND, s)),
        ];
        let text = ". {\nready\nzeta\nalpha\n}\nb {\nready :1 {\nmonitor continuously\n}\n}\n";
        let Server { host, configuration } = Server::with_plugins(&plugins, text).expect("a Corefile");
        let ask = |address: &str| {
            let (status, _, body) = configuration.endpoints[&(address.to_owned(), "/ready".to_owned())].page();
            (status, body)
        };
        let first = |address: &str| {
            let (status, body) = ask(address);
            (status, body.lines().next().unwrap_or_default().to_owned())
        };
        let both = |status, body: &str| {
            assert_eq!(first(":8181"), (status, body.to_owned()));
            assert_eq!(first(":1"), (status, body.to_owned()));
        };
        both(503, "alpha,zeta");
        FIRST.store(true, Ordering::Relaxed);
        both(503, "alpha");
        FIRST.store(false, Ordering::Relaxed);
        assert_eq!(first(":1"), (503, "alpha,zeta".to_owned()));
        assert_eq!(first(":8181"), (503, "alpha".to_owned()));
        let page = "alpha,zeta\nalpha: no alpha yet\nalpha: look there\nzeta: no zeta yet\nzeta: look there";
        assert_eq!(ask(":1"), (503, page.to_owned()));
        SECOND.store(true, Ordering::Relaxed);
        assert_eq!(first(":8181"), (200, "OK".to_owned()));
        assert_eq!(first(":1"), (503, "zeta".to_owned()));
        FIRST.store(true, Ordering::Relaxed);
        assert_eq!(ask(":8181"), (200, "OK\nzeta: zeta is old".to_owned()), "asked each time");
        host.shutting_down.store(true, Ordering::Relaxed);
        both(503, "Shutting down");
    }
}
