//! Zones in a cloud: *route53*, *azure* and *clouddns* are read as CoreDNS reads them, and then
//! refused, because they need an account with that cloud.

use std::collections::BTreeSet;

use crate::chain::setup::Setup;
use crate::corefile::{Cursor, Word, value};
use crate::error::Result;

/// The plugins of clouds.
pub const NAMES: [&str; 3] = ["azure", "clouddns", "route53"];

/// A cloud's plugin: its name, its arguments and options, and what to use instead.
struct Cloud {
    /// The parts of an argument, with colons between.
    parts: usize,
    /// How CoreDNS names an argument in messages.
    argument: &'static str,
    conflict: &'static str,
    /// The options; `true` for those that need an argument.
    options: &'static [(&'static str, bool)],
    colon: &'static str,
    service: &'static str,
    instead: &'static str,
}

/// Reads `route53 [ZONE:ID...] { ... }`.
///
/// # Errors
/// Always: what is wrong with it, or that it cannot be served.
pub fn route53(s: &mut Setup<'_>) -> Result<()> {
    refuse(
        s,
        &Cloud {
            parts: 2,
            argument: "zone",
            conflict: "conflict zone",
            options: &[
                ("aws_endpoint", true),
                ("credentials", true),
                ("aws_access_key", false),
                ("upstream", false),
                ("fallthrough", false),
            ],
            colon: "",
            service: "Amazon Route 53",
            instead: "`forward ZONE 169.254.169.253`, the resolver of the VPC",
        },
    )
}

/// Reads `azure [GROUP:ZONE...] { ... }`.
///
/// # Errors
/// Always: what is wrong with it, or that it cannot be served.
pub fn azure(s: &mut Setup<'_>) -> Result<()> {
    refuse(
        s,
        &Cloud {
            parts: 2,
            argument: "resource group/zone:",
            conflict: "conflicting zone:",
            options: &[
                ("subscription", true),
                ("tenant", true),
                ("client", true),
                ("secret", true),
                ("environment", true),
                ("access", true),
                ("fallthrough", false),
            ],
            colon: ":",
            service: "Azure DNS",
            instead: "`forward ZONE 168.63.129.16`, the resolver of the virtual network",
        },
    )
}

/// Reads `clouddns [ZONE:PROJECT:HOSTED_ZONE...] { ... }`.
///
/// # Errors
/// Always: what is wrong with it, or that it cannot be served.
pub fn clouddns(s: &mut Setup<'_>) -> Result<()> {
    refuse(
        s,
        &Cloud {
            parts: 3,
            argument: "zone",
            conflict: "conflict zone",
            options: &[("credentials", true), ("endpoint", true), ("upstream", false), ("fallthrough", false)],
            colon: "",
            service: "Google Cloud DNS",
            instead: "`forward ZONE 169.254.169.254`, the resolver of the VPC",
        },
    )
}

fn refuse(s: &mut Setup<'_>, cloud: &Cloud) -> Result<()> {
    let mut cursor = s.cursor();
    let directive = cursor.word();
    let mut seen = BTreeSet::new();
    while cursor.next_occurrence() {
        if cursor.plugin() != "azure" {
            seen.clear();
        }
        for word in cursor.args() {
            argument(&cursor, word, cloud)?;
            if !seen.insert(word.as_str().to_owned()) {
                return Err(cursor.error_at(word, format!("{} {}", cloud.conflict, value::quote(word.as_str()))));
            }
        }
        while cursor.next_option() {
            option(&mut cursor, cloud)?;
        }
    }
    let message = format!("{} is not served: it needs an account with that cloud", cloud.service);
    let hint = format!("use {}, or *file* with a copy of the zone", cloud.instead);
    Err(cursor.complain(directive, message).hint(hint).into())
}

fn argument(cursor: &Cursor<'_>, word: &Word, cloud: &Cloud) -> Result<()> {
    let parts: Vec<&str> = word.as_str().splitn(cloud.parts, ':').collect();
    if parts.len() == cloud.parts && parts.iter().all(|part| !part.is_empty()) {
        return Ok(());
    }
    Err(cursor.error_at(word, format!("invalid {} {}", cloud.argument, value::quote(word.as_str()))))
}

fn option(cursor: &mut Cursor<'_>, cloud: &Cloud) -> Result<()> {
    let name = cursor.word();
    if name.as_str() == "refresh" {
        return refresh(cursor, cursor.plugin());
    }
    let Some((option, needs)) = cloud.options.iter().find(|(option, _)| *option == name.as_str()) else {
        let message = format!("Error during parsing: unknown property{} {}", cloud.colon, value::quote(name.as_str()));
        let known: Vec<&str> = cloud.options.iter().map(|(option, _)| *option).chain(["refresh"]).collect();
        return Err(cursor.unknown(name, message, &known));
    };
    if *needs && cursor.next_arg().is_none() {
        return Err(cursor.arg_err());
    }
    let access = cursor.word();
    if *option == "access" && !matches!(access.as_str(), "public" | "private") {
        return Err(cursor.error(format!("invalid access value: can be public/private, found: {access}")));
    }
    let args = cursor.args();
    if *option == "aws_access_key" && args.len() < 2 {
        let words: Vec<&str> = args.iter().map(|word| word.as_str()).collect();
        return Err(cursor.error(format!("invalid access key: '[{}]'", words.join(" "))));
    }
    Ok(())
}

fn refresh(cursor: &mut Cursor<'_>, plugin: &str) -> Result<()> {
    let word = cursor.expect_arg()?;
    let is_number = value::integer(word.as_str()).is_ok();
    let text = if is_number { format!("{word}s") } else { word.to_string() };
    let unable = if plugin == "route53" { "Unable" } else { "unable" };
    let span = value::duration(&text).map_err(|wrong| cursor.error(format!("{unable} to parse duration: {wrong}")))?;
    if span.nanos <= 0 {
        return Err(cursor.error(format!("refresh interval must be greater than 0: {}", value::quote(&text))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::plugins::KNOWN;
    use crate::testing::Server;

    #[test]
    fn they_are_read_as_coredns_reads_them_and_refused() {
        for (lines, error) in [
            ("route53 a:b {\naws_access_key k s\nrefresh 30\nfallthrough a\n}", "Amazon Route 53 is not served"),
            ("azure g:z {\nsubscription a\naccess private\n}", "Azure DNS is not served"),
            ("clouddns a:b:c {\ncredentials f\nupstream x y\n}", "Google Cloud DNS is not served"),
            ("route53 a", "Error during parsing: invalid zone \"a\""),
            ("route53 a: ", "invalid zone \"a:\""),
            ("route53 a:b a:b", "conflict zone \"a:b\""),
            ("route53 {\naws_access_key k\n}", "invalid access key: '[k]'"),
            ("route53 {\nrefresh x\n}", "Unable to parse duration: time: invalid duration \"x\""),
            ("route53 {\nrefresh 0\n}", "refresh interval must be greater than 0: \"0s\""),
            ("route53 {\nfoo\n}", "Corefile:3 - Error during parsing: unknown property \"foo\""),
            ("azure g", "invalid resource group/zone: \"g\""),
            ("azure g:z g:z", "conflicting zone: \"g:z\""),
            ("azure g:z {\naccess some\n}", "invalid access value: can be public/private, found: some"),
            ("azure {\ntenant\n}", "unexpected line ending after 'tenant'"),
            ("azure {\nfoo\n}", "unknown property: \"foo\""),
            ("clouddns a:b", "invalid zone \"a:b\""),
        ] {
            let text = format!(".:1053 {{\n{lines}\n}}\n");
            let refusal = Server::with_plugins(&KNOWN, &text).err().expect("refused").to_string();
            let first = refusal.lines().next().unwrap_or_default();
            assert!(first.contains(error), "{lines}: {first}");
        }
    }
}
