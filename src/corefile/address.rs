//! Server keys (`[scheme://]zone-or-network[:port]`) and the zones that plugins take as arguments.

use std::fmt;

use crate::error::{Complaint, Result};

use super::value::{cidr, integer, quote};
use super::word::Word;
use super::{ServerBlock, reverse};

/// The transport of queries for a zone, from the scheme of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// UDP and TCP.
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over QUIC (RFC 9250).
    Quic,
    /// CoreDNS's DNS over gRPC.
    Grpc,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over HTTP/3.
    Https3,
    /// Recognised, but Signpost cannot listen there.
    Unix,
}

impl Transport {
    /// Returns the scheme, without `://`.
    pub fn scheme(self) -> &'static str {
        match self {
            Transport::Dns => "dns",
            Transport::Tls => "tls",
            Transport::Quic => "quic",
            Transport::Grpc => "grpc",
            Transport::Https => "https",
            Transport::Https3 => "https3",
            Transport::Unix => "unix",
        }
    }

    /// Returns whether its connections use the certificate that `tls` names.
    pub fn is_secured(self) -> bool {
        matches!(self, Transport::Tls | Transport::Https | Transport::Grpc | Transport::Quic)
    }

    /// Takes a known scheme off `text`; the default is DNS. Schemes are written in lower case.
    pub fn split(text: &str) -> (Transport, &str) {
        ALL.iter()
            .find_map(|&transport| Some((transport, text.strip_prefix(transport.scheme())?.strip_prefix("://")?)))
            .unwrap_or((Transport::Dns, text))
    }

    /// Returns the port of a key without one.
    fn default_port(self, dns: &str) -> &str {
        match self {
            Transport::Dns => dns,
            Transport::Tls | Transport::Quic => "853",
            Transport::Grpc | Transport::Https | Transport::Https3 => "443",
            Transport::Unix => "",
        }
    }
}

const ALL: [Transport; 7] = [
    Transport::Dns,
    Transport::Tls,
    Transport::Quic,
    Transport::Grpc,
    Transport::Https,
    Transport::Https3,
    Transport::Unix,
];

/// One zone that a server block serves. Displays as `dns://example.org.:53`.
#[derive(Debug, Clone)]
pub struct Key {
    /// The transport of its queries.
    pub transport: Transport,
    /// The zone in lower case, with a dot at its end.
    pub zone: String,
    /// The port in digits, unchecked: [`super::overlap::check_ports`] checks it later, as CoreDNS
    /// does.
    pub port: String,
    /// The word of the key; the keys of a network share it.
    pub word: Word,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.transport.scheme(), self.zone, self.port)
    }
}

impl Key {
    /// Returns the line that announces the zone at start: `example.org.:53`, with the scheme unless
    /// it is DNS, and with ` on ADDRESS` unless the address is empty.
    pub fn start_line(&self, address: &str) -> String {
        let scheme = match self.transport {
            Transport::Dns => String::new(),
            other => format!("{}://", other.scheme()),
        };
        let on = if address.is_empty() { String::new() } else { format!(" on {address}") };
        format!("{scheme}{}:{}{on}", self.zone, self.port)
    }
}

// ------------------------------------------------------------------------------------------------

/// Returns the keys of a server block, networks expanded. `default_port` is for `dns://` keys
/// without a port.
///
/// # Errors
/// A key without a zone, with an invalid domain name, or with nothing after its last colon.
pub fn keys(block: &ServerBlock, default_port: &str) -> Result<Vec<Key>> {
    let mut keys = Vec::with_capacity(block.keys.len());
    for word in &block.keys {
        let (transport, rest) = Transport::split(&word.text);
        let split = zones_and_port(rest).and_then(|(zones, port)| {
            // The added dot can make a name too long.
            zones.iter().try_for_each(|zone| zones_and_port(&qualified(zone)).map(|_| ()))?;
            Ok((zones, port))
        });
        let (zones, port) = split.map_err(|wrong| complain(word, rest, &wrong))?;
        let port = port.unwrap_or_else(|| transport.default_port(default_port).to_owned());
        keys.extend(zones.iter().map(|zone| Key {
            transport,
            zone: normalize(zone),
            port: port.clone(),
            word: word.clone(),
        }));
    }
    Ok(keys)
}

/// Returns the zones of one argument, in lower case and with a dot at the end; several for a
/// network. Scheme and port are dropped.
///
/// # Errors
/// In CoreDNS's words, for example `zone is not a valid domain name: a..b`.
pub fn expand_zone(argument: &str) -> std::result::Result<Vec<String>, String> {
    let (_, rest) = Transport::split(argument);
    let (zones, _) = zones_and_port(rest)?;
    Ok(zones.iter().map(|zone| normalize(zone)).collect())
}

/// Splits `zone:port` at the last colon if a number follows it, and expands a network.
fn zones_and_port(text: &str) -> std::result::Result<(Vec<String>, Option<String>), String> {
    let (zone, port) = match text.rsplit_once(':') {
        Some((_, "")) => return Err(format!("expecting data after last colon: {}", quote(text))),
        Some((zone, port)) => match integer(port) {
            Ok(port) => (zone, Some(port.to_string())),
            Err(_) => (text, None),
        },
        None if text.is_empty() => return Err("expecting data after last colon: \"\"".to_owned()),
        None => (text, None),
    };
    if zone.len() > 255 {
        return Err(format!("specified zone is too long: {} > 255", zone.len()));
    }
    if !is_domain_name(zone) {
        return Err(format!("zone is not a valid domain name: {zone}"));
    }
    match cidr(zone) {
        None => Ok((vec![zone.to_owned()], port)),
        Some(_) if zone.starts_with(':') || (zone.starts_with('0') && zone.contains(':')) => {
            Err(format!("invalid CIDR {zone}"))
        }
        Some(network) => Ok((reverse::zones(network), port)),
    }
}

/// A complaint about a key.
fn complain(word: &Word, rest: &str, wrong: &str) -> Complaint {
    word.complain(wrong).from_context("error inspecting server blocks").hint(hint(rest, wrong))
}

/// Returns what is probably meant by a zone (with a port, without a scheme) that is refused with
/// the message `wrong`; empty if that is unknown.
pub fn hint(rest: &str, wrong: &str) -> String {
    let zone = rest.rsplit_once(':').map_or(rest, |(zone, _)| zone);
    let port = rest.rsplit_once(':').map_or("", |(_, port)| port);
    if rest.ends_with('{') {
        format!("'{{' is a word of its own: write '{} {{'", rest.trim_end_matches('{'))
    } else if wrong.starts_with("expecting") && rest.is_empty() {
        "a zone is missing, '.' for all names".to_owned()
    } else if wrong.starts_with("expecting") {
        format!("write a port behind the colon, or leave it out: '{zone}'")
    } else if wrong.starts_with("invalid CIDR") {
        format!("write the reverse zone itself ('... .ip6.arpa') instead of {zone}")
    } else if zone.is_empty() {
        format!("a zone is missing: '.{rest}' serves all names on that port")
    } else if zone.ends_with('.') && !port.is_empty() && !zone.contains("..") {
        format!("'{port}' is no port: one number from 0 to 65535, as in '{zone}:53'")
    } else if zone.contains("..") || zone.starts_with('.') {
        "a label between two dots is empty".to_owned()
    } else if zone.split('.').any(|label| label.len() > 63) {
        "a label has at most 63 bytes".to_owned()
    } else if zone.ends_with('\\') {
        "a backslash takes the character behind it; leave it out".to_owned()
    } else {
        String::new()
    }
}

// ------------------------------------------------------------------------------------------------

/// Returns a zone as zones are stored: in lower case and fully qualified.
pub fn normalize(zone: &str) -> String {
    // Character by character, as in Go: 'İ' becomes a plain 'i', and a final 'Σ' is not special.
    qualified(zone).chars().filter_map(|c| c.to_lowercase().next()).collect()
}

/// Adds a dot to the end of a name, unless it ends in one that is not escaped.
fn qualified(name: &str) -> String {
    if is_qualified(name) { name.to_owned() } else { format!("{name}.") }
}

fn is_qualified(name: &str) -> bool {
    let Some(name) = name.strip_suffix('.') else {
        return false;
    };
    // miekg/dns counts from the start of the last character that is not a backslash, whatever its
    // length.
    let last = name.char_indices().rfind(|(_, c)| *c != '\\').map_or(-1, |(at, _)| at.cast_signed());
    !name.ends_with('\\') || (name.len().cast_signed() - last) % 2 != 0
}

/// Returns whether miekg/dns takes the text for a domain name (`IsDomainName`): no empty labels,
/// none above 63 bytes, at most 256 bytes in all, no incomplete escape. Any characters are allowed.
fn is_domain_name(text: &str) -> bool {
    if text.is_empty() {
        return false;
    }
    let name = qualified(text);
    let name = name.as_bytes();
    let (mut at, mut label, mut total) = (0, 0, 0);
    let (mut after_dot, mut escape) = (false, false);
    while at < name.len() {
        match name[at] {
            b'\\' => {
                if total + 1 > MOST_BYTES {
                    return false;
                }
                escape = !escape;
                after_dot = false;
                let number = name.get(at + 1..at + 4).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit));
                let escaped = if number { 3 } else { 1 };
                at += escaped;
                label += escaped;
            }
            b'.' => {
                // `label` is the index where the label would begin without its escapes.
                let length = at - label;
                if (at == 0 && name.len() > 1) || after_dot || length > 63 {
                    return false;
                }
                total += 1 + length;
                if total > MOST_BYTES {
                    return false;
                }
                escape = false;
                after_dot = true;
                label = at + 1;
            }
            _ => {
                escape = false;
                after_dot = false;
            }
        }
        at += 1;
    }
    !escape
}

const MOST_BYTES: usize = 256;

/// Returns whether a zone is below `in-addr.arpa.` or `ip6.arpa.` (these two are not).
pub fn is_reverse(zone: &str) -> bool {
    zone.ends_with(".in-addr.arpa.") || zone.ends_with(".ip6.arpa.")
}

/// Returns whether a zone needs no warning at start: the root, a reverse zone, or labels of
/// letters, digits and inner hyphens that begin with a letter (RFC 1035 2.3.1).
pub fn is_hostname(zone: &str) -> bool {
    let is_label = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_alphabetic())
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    zone == "." || is_reverse(zone) || zone.strip_suffix('.').is_some_and(|labels| labels.split('.').all(is_label))
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
