//! Values in a Corefile, with the syntax that Go's standard library gives them.
//!
//! Errors are Go's messages (`time: missing unit in duration "5"`), because people search for them.
//! A [`super::Cursor`] adds the position and a hint.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// A duration as in Go: nanoseconds with a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// Nanoseconds.
    pub nanos: i64,
}

impl Span {
    /// Returns the span as a [`Duration`]; `None` if it is negative.
    pub fn duration(self) -> Option<Duration> {
        u64::try_from(self.nanos).ok().map(Duration::from_nanos)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Span { nanos: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX) }
    }
}

/// As Go prints a duration: `1h0m5s`, `1.5s`, `300ms`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos.unsigned_abs();
        if self.nanos < 0 {
            f.write_str("-")?;
        }
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(nanos, 1_000_000)),
            _ => {
                let (minutes, rest) = (nanos / MINUTE, nanos % MINUTE);
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", decimal(rest, 1_000_000_000))
            }
        }
    }
}

/// Formats a quotient by a power of ten, without zeros at the end.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, fraction) = (value / unit, value % unit);
    let digits = unit.to_string().len() - 1;
    let text = format!("{whole}.{fraction:0digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads a duration: a sign, then numbers with an optional fraction and a unit each (`1h30m`,
/// `-1.5s`). Units are h, m, s, ms, us (or µs) and ns. Only `0` needs none.
///
/// # Errors
/// The message of Go's `time.ParseDuration`.
pub fn duration(text: &str) -> Result<Span, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(Span::default());
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let whole = split_digits(&mut rest);
        let fraction = match rest.strip_prefix('.') {
            Some(behind) => {
                rest = behind;
                split_digits(&mut rest)
            }
            None => "",
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, behind) = rest.split_at(end);
        rest = behind;
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let Some(size) = unit_nanos(unit) else {
            return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(text)));
        };
        let nanos = part(whole, fraction, size).ok_or_else(invalid)?;
        total = total.checked_add(nanos).filter(|&total| total <= MOST_NANOS).ok_or_else(invalid)?;
    }
    let nanos = match (negative, i64::try_from(total)) {
        (true, _) => 0_i64.checked_sub_unsigned(total).ok_or_else(invalid)?,
        (false, Ok(nanos)) => nanos,
        (false, Err(_)) => return Err(invalid()),
    };
    Ok(Span { nanos })
}

/// Returns the nanoseconds of one number with its unit. Go computes the fraction in floating point;
/// so does this, to round alike.
fn part(whole: &str, fraction: &str, size: u64) -> Option<u64> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos = whole.checked_mul(size).filter(|&nanos| nanos <= MOST_NANOS)?;
    let (mut parts, mut scale) = (0_u64, 1_f64);
    for digit in fraction.bytes().map(|b| u64::from(b - b'0')) {
        // Digits that do not fit are worth far less than a nanosecond.
        let Some(more) = parts
            .checked_mul(10)
            .map(|ten| ten + digit)
            .filter(|&more| parts <= (MOST_NANOS - 1) / 10 && more <= MOST_NANOS)
        else {
            break;
        };
        parts = more;
        scale *= 10.0;
    }
    let rest = (parts as f64 * (size as f64 / scale)) as u64;
    nanos.checked_add(rest).filter(|&nanos| nanos <= MOST_NANOS)
}

fn split_digits<'a>(text: &mut &'a str) -> &'a str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    digits
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => MINUTE,
        "h" => 60 * MINUTE,
        _ => return None,
    })
}

const MINUTE: u64 = 60_000_000_000;
const MOST_NANOS: u64 = 1 << 63;

// ------------------------------------------------------------------------------------------------

/// Reads a whole number with an optional sign, as `strconv.Atoi` does.
///
/// # Errors
/// Go's message.
pub fn integer(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    number(text, digits, "Atoi")
}

/// Reads a whole number without a sign of at most `bits` bits, as `strconv.ParseUint` does in base
/// 10.
///
/// # Errors
/// Go's message.
pub fn unsigned(text: &str, bits: u32) -> Result<u64, String> {
    let value: u64 = number(text, text, "ParseUint")?;
    if bits < 64 && value >> bits != 0 {
        return Err(format!("strconv.ParseUint: parsing {}: value out of range", quote(text)));
    }
    Ok(value)
}

fn number<N: std::str::FromStr>(text: &str, digits: &str, function: &str) -> Result<N, String> {
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let wrong = if is_number { "value out of range" } else { "invalid syntax" };
    text.parse()
        .ok()
        .filter(|_| is_number)
        .ok_or_else(|| format!("strconv.{function}: parsing {}: {wrong}", quote(text)))
}

/// Reads a number with a fraction or an exponent. (Go's hexadecimal form is not read.)
///
/// # Errors
/// The message of Go's `strconv.ParseFloat`.
pub fn float(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("strconv.ParseFloat: parsing {}: invalid syntax", quote(text)))
}

// ------------------------------------------------------------------------------------------------

/// Splits `host:port` or `[host]:port` at the port. Both may be empty, and neither is checked.
///
/// # Errors
/// The message of Go's `net.SplitHostPort`: `address 8080: missing port in address`.
pub fn host_port(text: &str) -> Result<(&str, &str), String> {
    let wrong = |why: &str| Err(format!("address {text}: {why}"));
    let Some(colon) = text.rfind(':') else {
        return wrong("missing port in address");
    };
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    let Some(inner) = text.strip_prefix('[') else {
        return match host {
            host if host.contains(':') => wrong("too many colons in address"),
            _ if text.contains('[') => wrong("unexpected '[' in address"),
            _ if text.contains(']') => wrong("unexpected ']' in address"),
            host => Ok((host, port)),
        };
    };
    let Some(length) = inner.find(']') else {
        return wrong("missing ']' in address");
    };
    let end = length + 1;
    if end + 1 != colon {
        let colon_follows = text[end + 1..].starts_with(':');
        return wrong(if colon_follows { "too many colons in address" } else { "missing port in address" });
    }
    match () {
        () if text[1..].contains('[') => wrong("unexpected '[' in address"),
        () if port.contains(']') => wrong("unexpected ']' in address"),
        () => Ok((&inner[..length], port)),
    }
}

/// Splits an IP address, perhaps with an interface, from its port: `192.0.2.1`, `[::1]:5300`,
/// `fe80::1%eth0`. Without a port it is `default`. The port is 0 if it is not a number from 1 to
/// 65535: CoreDNS takes any.
///
/// # Errors
/// CoreDNS's message: the host is not an IP address.
pub fn ip_port(text: &str, default: u16) -> Result<(&str, u16), String> {
    let (host, port) = host_port(text).unwrap_or((text, ""));
    if ip(host.split('%').next().unwrap_or_default()).is_none() {
        return Err(format!("must specify an IP address: `{host}'"));
    }
    Ok((host, if port.is_empty() { default } else { port.parse().unwrap_or(0) }))
}

/// Reads a port: a number, or `http`, `https` or `domain`, which Go knows without a list of
/// services. Empty text is 0, any free port. A plus sign is accepted, as in Go.
pub fn port(text: &str) -> Option<u16> {
    match text {
        "" => Some(0),
        "domain" => Some(53),
        "http" => Some(80),
        "https" => Some(443),
        number => number.parse().ok(),
    }
}

/// Returns whether text can be the host of an address: a host name, or an IP address, also with its
/// interface (`fe80::1%eth0`).
pub fn is_host(text: &str) -> bool {
    ip(text.split('%').next().unwrap_or_default()).is_some() || is_name(text)
}

/// Returns whether text can be a host name: labels of letters, digits, hyphens and underscores, the
/// last of which is not a number (RFC 1123 2.1; underscores are in use).
pub fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    name.len() <= 253 && name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_number)
}

/// Reads an address without a zone (`fe80::1%eth0` has one). Octets have no leading zeros.
pub fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// A network, as `10.0.0.0/8` names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The address as written. Host bits may be set.
    pub address: IpAddr,
    /// The length of the prefix in bits.
    pub length: u8,
}

impl Network {
    /// All addresses of IPv4, and all of IPv6.
    pub const ALL: [Self; 2] = [
        Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), length: 0 },
        Self { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), length: 0 },
    ];

    /// Returns the network that has this address alone.
    pub fn of(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Returns whether an address is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (ours.to_bits().into(), theirs.to_bits().into(), 32),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        let differ: u128 = ours ^ theirs;
        differ.checked_shr(width - u32::from(self.length)).unwrap_or(0) == 0
    }
}

/// Reads a network, `ADDRESS/LENGTH`.
pub fn cidr(text: &str) -> Option<Network> {
    let (address, length) = text.split_once('/')?;
    let address = ip(address)?;
    let is_number = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let length = length.parse().ok().filter(|&length| is_number && length <= Network::of(address).length)?;
    Some(Network { address, length })
}

/// Quotes a word for a message, with Go's escapes for unprintable characters.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if is_printable(c) => quoted.push(c),
            c if u32::from(c) > 0xffff => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns whether a character is visible, alone or on the one before it.
fn is_printable(c: char) -> bool {
    // After a letter, so that combining marks count as printable, as in Go.
    format!("a{c}").escape_debug().nth(2) != Some('u')
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
