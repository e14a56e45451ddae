//! `signpost ask`: asks a DNS server one question and prints its reply, for images and machines
//! without `dig`.
//!
//! - [`options`]: the command line
//! - [`https`]: a message in a request
//! - [`resolv`]: servers and search list of `/etc/resolv.conf`
//! - [`mod@exchange`]: one question to one server, which `signpost compare` uses as well
//! - [`mod@print`]: a reply as text
//! - [`tls`]: a client that takes any certificate

pub mod exchange;
mod https;
pub mod options;
pub mod print;
pub mod resolv;
pub mod tls;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use hickory_proto::op::Query;
use hickory_proto::rr::Name;

use exchange::{Reply, exchange};
use options::Options;
use resolv::Resolver;

/// The exit status if no server replies, as in `dig`.
const SILENCE: u8 = 9;

/// The exit status of an invalid command line.
const USAGE: u8 = 2;

/// Asks, and prints the reply on standard output and everything else on standard error.
///
/// The exit status is 0 for a reply with any RCODE, 9 without a reply, and 2 if the arguments are
/// invalid.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let options = match options::parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => return said(options::USAGE, "", 0),
        Err(why) => return said("", &format!("{why}\n"), USAGE),
    };
    let resolv = match options.needs_resolv_conf().then(Resolver::read).transpose() {
        Ok(resolv) => resolv.unwrap_or_default(),
        Err(why) => return said("", &format!("{why}\n"), USAGE),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return said("", &format!("{error}\n"), USAGE),
    };
    let printed = runtime.block_on(ask(&options, &resolv));
    said(&printed.out, &printed.err, if printed.has_reply { 0 } else { SILENCE })
}

/// Prints both texts. A closed pipe is not an error.
fn said(out: &str, err: &str, status: u8) -> ExitCode {
    let _ = std::io::stdout().write_all(out.as_bytes());
    let _ = std::io::stderr().write_all(err.as_bytes());
    ExitCode::from(status)
}

/// What to print.
#[derive(Debug, Default)]
struct Printed {
    out: String,
    err: String,
    has_reply: bool,
}

/// Asks, for each name of the search list if that is wanted; prints the last reply in full.
async fn ask(options: &Options, resolv: &Resolver) -> Printed {
    let servers: Vec<SocketAddr> = match options.server {
        Some(server) => vec![server],
        None => resolv.servers.iter().map(|address| SocketAddr::new(*address, options.port())).collect(),
    };
    let names = match options.search {
        true => resolv.names(&options.name),
        false => vec![options.name.absolute()],
    };
    let mut printed = Printed::default();
    for (at, name) in names.iter().enumerate() {
        let is_last = at + 1 == names.len();
        let Some((server, reply)) = first_reply(options, &servers, name, &mut printed.err).await else { break };
        // glibc also stops at the first name that has data.
        if is_last || !reply.message.answers.is_empty() {
            printed.out += &match options.short {
                true => print::short(&reply),
                false => print::long(&reply, server),
            };
            printed.has_reply = true;
            break;
        }
        if !options.short {
            // Writing to a `String` cannot fail.
            let _ = writeln!(printed.out, ";; {name}: {}, next in the search list", print::outcome(&reply));
        }
    }
    printed
}

/// Returns the reply of the first server that sends one.
async fn first_reply(
    options: &Options,
    servers: &[SocketAddr],
    name: &Name,
    err: &mut String,
) -> Option<(SocketAddr, Reply)> {
    let mut query = Query::query(name.clone(), options.qtype);
    query.set_query_class(options.class);
    for &server in servers {
        match exchange(server, &query, &options.how).await {
            Ok(reply) => return Some((server, reply)),
            Err(why) => _ = writeln!(err, ";; {server} over {}: {why}", options.how.transport),
        }
    }
    None
}
