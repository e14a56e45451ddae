//! # health — tell probes that the process is alive
//!
//! GET /health gives 200 `OK` from the start to the end of the lameduck time. The server also asks
//! itself every second and measures how long that takes: a long time means that it does not get the
//! CPU that it needs.
//!
//! ## Syntax
//!
//! ```text
//! health [ADDRESS] [{
//! }]
//! ```
//!
//! ADDRESS is `:8080` if it is not given. Without a port, as in `127.0.0.1:`, any free one is
//! taken, and the log says which; then the server does not ask itself.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     health {
//!         lameduck 5s
//!     }
//!     whoami
//! }
//! ```
//!
//! ## Metrics
//!
//! - `coredns_health_request_duration_seconds`: how long the server's own requests took.
//! - `coredns_health_request_failures_total`: how many of them failed.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::corefile::{Cursor, value};
use crate::error::Result;
use crate::host::http::{Handler, TEXT};
use crate::host::log;
use crate::host::metrics::{Counter, Family, Histogram};

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "health", setup, doc: doc_of!("health.rs"), options: &[&OPTIONS] };

static DURATION: Family = Family {
    name: "coredns_health_request_duration_seconds",
    help: "How long the server's own requests to /health took.",
    labels: &[],
};
static FAILURES: Family = Family {
    name: "coredns_health_request_failures_total",
    help: "How many of the server's own requests to /health failed.",
    labels: &[],
};
const BOUNDS: &[f64] = &[0.00025, 0.0025, 0.025, 0.25, 2.5];

const EVERY: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(3);
const SLOW: Duration = Duration::from_secs(1);

//----------- Setup ----------------------------------------------------------

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let (mut address, mut written, mut lameduck) = (":8080".to_owned(), cursor.word(), Duration::ZERO);
    while cursor.next_occurrence() {
        match cursor.args()[..] {
            [] => {}
            [word] => (address, written) = (cursor.page_address(word)?, word),
            _ => return Err(cursor.arg_err()),
        }
        OPTIONS.read(&mut cursor, &mut lameduck, s)?;
    }
    s.lameduck(lameduck);
    s.http(&address, written, "/health", Handler::light(|| (200, TEXT, "OK".to_owned())));
    if address.ends_with(":0") {
        return Ok(());
    }
    let check = Check {
        address: if address.starts_with(':') { format!("localhost{address}") } else { address },
        took: s.host.metrics.histogram(&DURATION, BOUNDS, &[]),
        failures: s.host.metrics.counter(&FAILURES, &[]),
    };
    s.task("health", || check.run());
    Ok(())
}

/// Reads the lameduck time.
static OPTIONS: OptionsOf<Duration> = OptionsOf {
    all: &[OptionOf {
        name: "lameduck",
        form: "DURATION",
        about: "How long queries are still answered after the signal to stop (0s), so that clients can be sent elsewhere \
                first.",
        read: |cursor, lameduck, _| {
            *lameduck = lameduck_time(cursor)?;
            Ok(())
        },
    }],
    unknown: unknown_property,
};

/// A negative time counts as 0, as in CoreDNS.
fn lameduck_time(cursor: &mut Cursor<'_>) -> Result<Duration> {
    let word = cursor.one_arg()?;
    let span = value::duration(word.as_str()).map_err(|wrong| {
        cursor.error_at(word, format!("unable to parse lameduck duration value: '{word}' : {wrong}"))
    })?;
    Ok(span.duration().unwrap_or_default())
}

//----------- Check ----------------------------------------------------------

/// Sends the server's requests to itself.
struct Check {
    address: String,
    took: Histogram,
    failures: Counter,
}

impl Check {
    async fn run(self) {
        let mut ticks = interval_at(Instant::now() + EVERY, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.ask().await;
        }
    }

    async fn ask(&self) {
        let start = Instant::now();
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer within 3s");
        let result = timeout(TIMEOUT, get(&self.address)).await.unwrap_or_else(|_| Err(late()));
        let took = start.elapsed();
        self.took.observe(took);
        let url = format_args!("http://{}/health", self.address).to_string();
        match result {
            Err(error) => {
                self.failures.inc();
                log::warning(PLUGIN.name, format_args!("Local health request to \"{url}\" failed: {error}"));
            }
            Ok(()) if took > SLOW => {
                let took = value::Span::from(took);
                log::warning(PLUGIN.name, format_args!("Local health request to \"{url}\" took more than 1s: {took}"));
            }
            Ok(()) => {}
        }
    }
}

/// Sends one plain GET; any HTTP response counts as success.
async fn get(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut start = [0; 5];
    stream.read_exact(&mut start).await?;
    if &start == b"HTTP/" { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "not an HTTP response")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    #[test]
    fn the_longest_lameduck_counts_and_the_last_address() {
        let server = Server::new(
            ". {\nhealth :1\nhealth :2 {\nlameduck 3s\n}\nwhoami\n}\na {\nhealth :3 {\nlameduck -5s\n}\nwhoami\n}\n",
        );
        let pages: Vec<_> =
            server.configuration.endpoints.keys().map(|(address, path)| format!("{address}{path}")).collect();
        assert_eq!(pages, [":2/health", ":3/health"]);
        assert_eq!(server.configuration.lameduck.map(|wish| wish.what), Some(Duration::from_secs(3)));
    }

    #[test]
    fn the_own_request_is_counted() {
        let mut server = Server::new(". {\nhealth 127.0.0.1:0\nwhoami\n}\n");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address").to_string();
            let check = Check {
                address,
                took: server.host.metrics.histogram(&DURATION, BOUNDS, &[]),
                failures: server.host.metrics.counter(&FAILURES, &[]),
            };
            let reply = async {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("a client that reads");
                drop(listener);
            };
            tokio::join!(check.ask(), reply);
            check.ask().await;
            assert_eq!(check.failures.get(), 1, "the second one found nobody");
            drop(server.configuration.start(&tokio::runtime::Handle::current()));
        });
        let page = server.host.metrics.text();
        assert!(page.contains("coredns_health_request_duration_seconds_count 2\n"), "{page}");
        assert!(page.contains("coredns_health_request_duration_seconds_bucket{le=\"2.5\"} 2\n"), "{page}");
    }
}
