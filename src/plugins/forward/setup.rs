//! The directive and its options.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::forward::Forward;
use super::health::Health;
use super::options::Options;
use super::policy::Policy;
use super::to::{To, Wrong};
use crate::chain::setup::Setup;
use crate::chain::zones::Zones;
use crate::corefile::value::{Span, host_port, ip};
use crate::corefile::{Cursor, Severity, Word};
use crate::error::Result;
use crate::remote::Way;
use crate::wire::name::Name;
use crate::wire::types::{rcode, rcode_number};

/// TO arguments that one directive may have.
const MOST_TO: usize = 15;

const KNOWN: &[&str] = &[
    "except",
    "max_fails",
    "max_connect_attempts",
    "health_check",
    "force_tcp",
    "prefer_udp",
    "tls",
    "tls_servername",
    "expire",
    "max_age",
    "max_idle_conns",
    "read_timeout",
    "doh_method",
    "policy",
    "max_concurrent",
    "next",
    "next_on_nodata",
    "failfast_all_unhealthy_upstreams",
    "failover",
    "resolver",
    "source_address",
    "random_case",
];

//----------- Directive ------------------------------------------------------

/// Reads one occurrence of the directive.
pub(super) fn directive(cursor: &mut Cursor<'_>, s: &Setup<'_>) -> Result<Forward> {
    let word = cursor.expect_arg()?;
    let from = Zones::of(word).map_err(|_| cursor.error_at(word, format!("unable to normalize '{word}'")))?;
    let mut options = Options { from: from.to_vec(), ..Options::default() };
    let arguments = cursor.args();
    if arguments.is_empty() {
        return Err(cursor.arg_err());
    }
    while cursor.next_option() {
        option(cursor, &mut options, s)?;
    }
    if let Some(age) = options.remote.max_age.filter(|age| *age < options.remote.expire) {
        let (age, expire) = (Span::from(age), Span::from(options.remote.expire));
        return Err(cursor.error_at(word, format!("max_age ({age}) must not be less than expire ({expire})")));
    }
    if options.force_tcp {
        Arc::make_mut(&mut options.health).way = Way::Tcp;
    }
    let mut entries = entries(cursor, &arguments)?;
    check_server_names(cursor, &arguments, &entries, &options)?;
    for host in entries.iter_mut().filter_map(To::host) {
        // A certificate has to be for the host that the Corefile names: an address may be that of
        // another host.
        let written = options.remote.tls.server_name.clone().or_else(|| host.server_name.take());
        host.server_name = written.or_else(|| Some(host.text.trim_end_matches('.').to_owned()));
    }
    Ok(Forward::new(options, entries, s.host))
}

/// The TO arguments; files without name servers are skipped.
fn entries(cursor: &Cursor<'_>, arguments: &[&Word]) -> Result<Vec<To>> {
    let (mut entries, mut refused) = (Vec::new(), None);
    for word in arguments {
        match To::read(&word.text) {
            Ok(entry) => entries.push(entry),
            Err(Wrong { message, hint }) => {
                let wrong = cursor.complain(word, format!("Error during parsing: {message}")).hint(hint);
                if let Some(before) = refused.replace(wrong) {
                    cursor.report(Severity::Error, before);
                }
            }
        }
    }
    if let Some(wrong) = refused {
        return Err(wrong.into());
    }
    let last = arguments[arguments.len() - 1];
    if entries.iter().all(|entry| matches!(entry, To::File(_, _, servers) if servers.is_empty())) {
        return Err(cursor
            .complain(last, "Error during parsing: no valid upstream addresses found")
            .hint(format!("no line `nameserver ADDRESS` in {last}; name upstreams themselves: `forward . 192.0.2.53`"))
            .into());
    }
    if entries.len() > MOST_TO {
        return Err(cursor.error_at(last, format!("more than {MOST_TO} TOs configured: {}", entries.len())));
    }
    arguments.iter().zip(&entries).for_each(|(word, entry)| tell(cursor, word, entry));
    Ok(entries)
}

/// Reports what an upstream depends on, so that a mistyped address is noticed.
fn tell(cursor: &Cursor<'_>, word: &Word, entry: &To) {
    if entry.has_no_port() {
        cursor.warn(word, format!("nothing can be sent to {word}: ports are 1 to 65535"));
    }
    match entry {
        To::Host(host) => {
            let when = "looked up when the server starts, and again when the TTL of its addresses is over";
            cursor.note(word, format!("the host name {} is {when}", host.text));
        }
        To::File(path, _, servers) if servers.is_empty() => {
            cursor.warn(word, format!("{path} names no upstream: there is no line `nameserver ADDRESS` in it"));
        }
        To::File(..) | To::Address(_) => {}
    }
}

/// A server's name is given once: for all upstreams, or with each.
fn check_server_names(cursor: &Cursor<'_>, arguments: &[&Word], entries: &[To], options: &Options) -> Result<()> {
    let Some(all) = &options.remote.tls.server_name else { return Ok(()) };
    for (word, entry) in arguments.iter().zip(entries) {
        if let Some((upstream, own)) = entry.server_name() {
            let names = format!("both forward ('{all}') and proxy level ('{own}') TLS servernames are set");
            return Err(cursor.error_at(word, format!("{names} for upstream proxy '{upstream}'")));
        }
    }
    Ok(())
}

fn option(cursor: &mut Cursor<'_>, options: &mut Options, s: &Setup<'_>) -> Result<()> {
    match cursor.word().as_str() {
        "except" => {
            let zones = some_args(cursor)?;
            options.except.extend_from_slice(&Zones::read(cursor, &zones, &[]));
        }
        "policy" => {
            let word = cursor.expect_arg()?;
            let unknown =
                || cursor.unknown(word, format!("Error during parsing: unknown policy '{word}'"), Policy::WORDS);
            options.policy = Policy::from_word(&word.text).ok_or_else(unknown)?;
        }
        "force_tcp" => options.force_tcp = flag(cursor)?,
        "prefer_udp" => options.prefer_udp = flag(cursor)?,
        "next_on_nodata" => options.next_on_nodata = flag(cursor)?,
        "random_case" => options.remote.random_case = flag(cursor)?,
        "failfast_all_unhealthy_upstreams" => options.failfast = flag(cursor)?,
        "max_fails" => Arc::make_mut(&mut options.health).max_fails = unsigned(cursor)? as u32,
        "max_connect_attempts" => options.max_tries = Some(unsigned(cursor)? as usize),
        "health_check" => health_check(cursor, Arc::make_mut(&mut options.health))?,
        "expire" => options.remote.expire = duration(cursor, "expire")?,
        "max_age" => options.remote.max_age = Some(duration(cursor, "max_age")?).filter(|age| !age.is_zero()),
        "read_timeout" => {
            let word = cursor.expect_arg()?;
            let value = cursor.duration(word)?;
            let wrong = || cursor.error_at(word, format!("read_timeout must be positive: {value}"));
            options.read_timeout = value.duration().filter(|value| !value.is_zero()).ok_or_else(wrong)?;
        }
        "max_idle_conns" => options.remote.max_idle = Some(count(cursor, "max_idle_conns")?.0).filter(|&most| most > 0),
        "max_concurrent" => {
            options.max_concurrent = Some(count(cursor, "max_concurrent")?).filter(|(most, _)| *most > 0);
        }
        "next" => options.next.extend(rcodes(cursor)?),
        "failover" => {
            let rcodes = rcodes(cursor)?;
            if rcodes.contains(&rcode::NOERROR) {
                return Err(cursor.error("NoError cannot be used in failover"));
            }
            options.failover.extend(rcodes);
        }
        "source_address" => {
            let word = cursor.expect_arg()?;
            let wrong = || cursor.error_at(word, format!("invalid IP address: {word}"));
            options.remote.source = Some(ip(&word.text).ok_or_else(wrong)?);
        }
        _ => return option_of_encrypted(cursor, options, s),
    }
    Ok(())
}

/// Reads options about upstreams that are encrypted or named by their host. They have no effect on
/// others.
fn option_of_encrypted(cursor: &mut Cursor<'_>, options: &mut Options, s: &Setup<'_>) -> Result<()> {
    match cursor.word().as_str() {
        "tls" => {
            let mut words = cursor.args();
            if words.len() > 3 {
                return Err(cursor.arg_err());
            }
            // An empty CA means those of the machine, as in CoreDNS.
            if matches!(words.len(), 1 | 3) {
                let _ = words.pop_if(|ca| ca.text.is_empty());
            }
            let what = |at: usize, word: &Word| match (words.len(), at) {
                (1, _) | (_, 2) => format!("error reading {word}"),
                _ => "could not load TLS cert".to_owned(),
            };
            let files = words.iter().enumerate().filter_map(|(at, word)| s.file(cursor, word, &what(at, word)));
            let files: Vec<_> = files.collect();
            if files.len() == words.len() {
                options.remote.tls.read(&files).map_err(|wrong| cursor.error(wrong))?;
            }
        }
        "tls_servername" => options.remote.tls.server_name = Some(cursor.expect_arg()?.as_str().to_owned()),
        "resolver" => {
            for word in some_args(cursor)? {
                let (host, port) = host_port(&word.text).unwrap_or((&word.text, "53"));
                let wrong = || cursor.error_at(word, format!("resolver must be an IP address or IP:port: \"{word}\""));
                // An invalid port is accepted, as in CoreDNS: nothing answers there.
                let ip = ip(host).ok_or_else(wrong)?;
                options.remote.resolvers.push(SocketAddr::new(ip, port.parse().unwrap_or(0)));
            }
        }
        "doh_method" => {
            let word = cursor.expect_arg()?;
            if !matches!(word.as_str(), "POST" | "GET") {
                return Err(cursor.error_at(word, "doh_method must be either POST or GET"));
            }
            options.remote.doh_get = word.as_str() == "GET";
        }
        _ => return Err(cursor.unknown_property(KNOWN)),
    }
    Ok(())
}

fn health_check(cursor: &mut Cursor<'_>, health: &mut Health) -> Result<()> {
    health.interval = duration(cursor, "health_check")?;
    health.domain = Name::ROOT;
    while let Some(word) = cursor.next_arg() {
        match word.as_str() {
            "no_rec" => health.recursion = false,
            "domain" => {
                let domain = cursor.expect_arg()?;
                let wrong = |_| cursor.error_at(domain, format!("health_check: invalid domain name {domain}"));
                health.domain = Name::from_text(&domain.text).map_err(wrong)?.lowered();
            }
            _ => {
                let message = format!("Error during parsing: health_check: unknown option {word}");
                return Err(cursor.unknown(word, message, &["no_rec", "domain"]));
            }
        }
    }
    Ok(())
}

//----------- Values ---------------------------------------------------------

fn flag(cursor: &mut Cursor<'_>) -> Result<bool> {
    cursor.expect_no_arg()?;
    Ok(true)
}

fn some_args<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<&'a Word>> {
    let args = cursor.args();
    if args.is_empty() { Err(cursor.arg_err()) } else { Ok(args) }
}

fn unsigned(cursor: &mut Cursor<'_>) -> Result<u64> {
    let word = cursor.expect_arg()?;
    cursor.unsigned(word, 32)
}

/// A number from 0, and as it is written.
fn count(cursor: &mut Cursor<'_>, option: &str) -> Result<(usize, String)> {
    let word = cursor.expect_arg()?;
    let number = cursor.integer(word)?;
    let wrong = |_| cursor.error_at(word, format!("{option} can't be negative: {number}"));
    Ok((usize::try_from(number).map_err(wrong)?, word.as_str().to_owned()))
}

fn duration(cursor: &mut Cursor<'_>, option: &str) -> Result<Duration> {
    let word = cursor.expect_arg()?;
    let value = cursor.duration(word)?;
    value.duration().ok_or_else(|| cursor.error_at(word, format!("{option} can't be negative: {value}")))
}

fn rcodes(cursor: &mut Cursor<'_>) -> Result<Vec<u16>> {
    let words = some_args(cursor)?;
    let number = |word: &Word| {
        let number = match word.text.to_uppercase().as_str() {
            "NOTIMPL" => Some(rcode::NOTIMP),
            "BADSIG" => Some(rcode::BADVERS),
            known => rcode_number(known),
        };
        number.ok_or_else(|| cursor.error_at(word, format!("{word} is not a valid rcode")))
    };
    words.into_iter().map(number).collect()
}
