//! A directive: from the Corefile to upstreams and options.

use std::sync::Arc;

use super::directive::Directive;
use super::forward::Forward;
use super::options::Options;
use super::resolved::UPSTREAM;
use super::to::{To, Wrong};
use crate::chain::setup::Setup;
use crate::chain::zones::Zones;
use crate::corefile::value::Span;
use crate::corefile::{Cursor, Severity, Word};
use crate::error::Result;
use crate::remote::Way;

/// TO arguments that one directive may have.
const MOST_TO: usize = 15;

/// Reads one occurrence of a directive; `options` are its defaults.
pub(super) fn directive(
    directive: &'static Directive,
    options: Options,
    cursor: &mut Cursor<'_>,
    s: &Setup<'_>,
) -> Result<Forward> {
    let word = cursor.expect_arg()?;
    let from = Zones::of(word).map_err(|_| cursor.error_at(word, format!("unable to normalize '{word}'")))?;
    let names_upstream = s.is_read(UPSTREAM);
    let mut options = Options { from: from.to_vec(), names_upstream, ..options };
    let arguments = cursor.args();
    if arguments.is_empty() {
        return Err(cursor.arg_err());
    }
    directive.options.read(cursor, &mut options, s)?;
    if let Some(age) = options.remote.max_age.filter(|age| *age < options.remote.expire) {
        let (age, expire) = (Span::from(age), Span::from(options.remote.expire));
        return Err(cursor.error_at(word, format!("max_age ({age}) must not be less than expire ({expire})")));
    }
    if options.force_tcp {
        Arc::make_mut(&mut options.health).way = Way::Tcp;
    }
    let mut entries = entries(directive, cursor, &arguments)?;
    check_server_names(cursor, &arguments, &entries, &options)?;
    for host in entries.iter_mut().filter_map(To::host) {
        // A certificate has to be for the host that the Corefile names: an address may be that of
        // another host.
        let written = options.remote.tls.server_name.clone().or_else(|| host.server_name.take());
        host.server_name = written.or_else(|| Some(host.text.trim_end_matches('.').to_owned()));
    }
    Ok(Forward::new(directive, options, entries, s.host))
}

/// Keeps the upstreams of a directive up to date while its configuration is live.
pub(super) fn follow(forward: &Arc<Forward>, s: &mut Setup<'_>) {
    for at in forward.upstreams.changeable() {
        let forward = forward.clone();
        let follow = move || async move { forward.upstreams.follow(at).await };
        s.task("forward: files and names of upstreams", follow);
    }
    let forward = forward.clone();
    s.prepare(move |first| async move { forward.upstreams.find_hosts(first).await });
}

/// The TO arguments; files without name servers are skipped.
fn entries(directive: &Directive, cursor: &Cursor<'_>, arguments: &[&Word]) -> Result<Vec<To>> {
    let (mut entries, mut refused) = (Vec::new(), None);
    for word in arguments {
        match To::read(&word.text, directive) {
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
            .hint(format!(
                "no line `nameserver ADDRESS` in {last}; name upstreams themselves: `{} . 192.0.2.53`",
                directive.name
            ))
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
