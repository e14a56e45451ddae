//! What can be the name of a host, and what was probably meant by a word that cannot.
//!
//! The rule is that of Go's resolver, which never asks for other names (letters, digits, hyphens
//! and underscores, no hyphen at the edge of a label), so what CoreDNS finds is found here. Beyond
//! it no name ends in a number, and placeholders that were not filled in are refused: where a
//! resolver answers every name, users' questions would go to that address.

use crate::wire::name::Name;

/// Reads the name of a host, without its port.
///
/// # Errors
/// What would be right.
pub(super) fn host_name(text: &str) -> Result<Name, String> {
    let labels = || text.strip_suffix('.').unwrap_or(text).split('.');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if is_placeholder(text) {
        return Err(fill_in(text));
    }
    if let Some(at) = text.find([',', ';']) {
        return Err(meant(text, char::from(text.as_bytes()[at])));
    }
    if let Some(other) = text.chars().find(|&c| !is_plain(c)) {
        return Err(meant(text, other));
    }
    if labels().all(is_number) {
        return Err("this is no IP address: IPv4 has four numbers from 0 to 255, without zeros in front".into());
    }
    if labels().any(str::is_empty) {
        return Err("a label of a host name is empty: there is a dot too many".into());
    }
    if labels().any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err("a label of a host name neither begins nor ends with a hyphen".into());
    }
    if labels().next_back().is_some_and(is_number) {
        return Err("this is no IP address, and the name of a host does not end in a number".into());
    }
    let too_long = |_| "a host name has 253 octets at most, and each of its labels 63".to_owned();
    Name::from_text(text).map(Name::lowered).map_err(too_long)
}

fn is_number(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|octet| octet.is_ascii_digit())
}

/// Whether it is a word that a person or a tool was to replace: `192.168.xxx.xxx`,
/// `__PILLAR__UPSTREAM__SERVERS__`.
fn is_placeholder(text: &str) -> bool {
    let labels: Vec<&str> = text.split('.').collect();
    let is_x = |label: &str| !label.is_empty() && label.bytes().all(|octet| octet.eq_ignore_ascii_case(&b'x'));
    let is_address = labels.len() == 4 && labels.iter().all(|label| is_number(label) || is_x(label));
    is_address && labels.iter().any(|label| is_x(label)) || text.starts_with("__") && text.ends_with("__")
}

fn fill_in(text: &str) -> String {
    let usual = "fill in the address of a name server, or /etc/resolv.conf for those of the machine";
    match text.starts_with("__PILLAR__") {
        true => format!("this word is replaced in the template of a node cache (-localip) only; {usual}"),
        false => format!("this stands for an address; {usual}"),
    }
}

/// What was meant by a word with a character in it that no name has.
fn meant(text: &str, other: char) -> String {
    let parts = |at: char| text.split(at).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    match other {
        ',' | ';' => format!("separate upstreams by blanks: write '{}'", parts(other)),
        _ if other.is_whitespace() => format!("separate upstreams by blanks, without quotes: write '{}'", parts(other)),
        '<' | '>' | '{' | '}' | '$' => fill_in(text),
        '/' if text.starts_with(|c: char| c.is_ascii_digit()) => "an upstream is one address, not a network".into(),
        '/' => "upstreams are addresses, host names, and files like /etc/resolv.conf".into(),
        '@' | '#' => "a port stands behind a colon: 192.0.2.53:5353".into(),
        ':' => "an address with a port is 192.0.2.53:5353 or [2001:db8::53]:5353".into(),
        _ if !other.is_ascii() => "write the name in ASCII, with labels that begin with xn--".into(),
        _ => format!("a host name has letters, digits, hyphens and dots, but no '{other}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_up() {
        let names = "localhost host_name DNS.example. kube-dns.kube-system.svc.cluster.local 123abc 1.2.3.example _dns.a \
            0x7f.a xn--mnchen-3ya.example xxx.example";
        for name in names.split_whitespace() {
            let found = host_name(name).unwrap_or_else(|hint| panic!("{name}: {hint}"));
            assert_eq!(found.to_string().trim_end_matches('.'), name.trim_end_matches('.').to_lowercase());
        }
    }

    /// Issue 13: such words were called valid, looked up, and asked users' questions if a resolver
    /// answered.
    #[test]
    fn what_is_refused_and_what_would_be_right() {
        let hint = |text: &str| host_name(text).expect_err(text);
        assert_eq!(hint("192.0.2.1,"), "separate upstreams by blanks: write '192.0.2.1'");
        assert_eq!(hint("192.0.2.1,192.0.2.2"), "separate upstreams by blanks: write '192.0.2.1 192.0.2.2'");
        assert_eq!(hint("192.0.2.1;"), "separate upstreams by blanks: write '192.0.2.1'");
        assert!(hint("192.0.2.1 192.0.2.2").contains("without quotes"));
        assert_eq!(hint("/etc/resolv.conf,"), "separate upstreams by blanks: write '/etc/resolv.conf'");
        assert!(hint("192.0.2.1/32").contains("not a network") && hint("/none").contains("files like"));
        for number in ["1.2.3", "256.1.1.1", "1.1.1.1.1", "010.0.0.1", "1"] {
            assert!(hint(number).contains("four numbers from 0 to 255"), "{number}");
        }
        assert!(hint("abc.123").contains("does not end in a number"));
        for word in ["192.168.xxx.xxx", "x.x.x.x", "10.0.0.X", "<ip>", "$UPSTREAM", "{upstream}", "__UPSTREAM__"] {
            assert!(hint(word).starts_with("this stands for an address; fill in"), "{word}");
        }
        assert!(hint("__PILLAR__UPSTREAM__SERVERS__").contains("node cache"));
        assert!(hint("a..b").contains("dot too many") && hint(".a").contains("dot too many"));
        assert!(hint("").contains("dot too many") && hint(".").contains("dot too many"));
        assert!(hint("-a").contains("hyphen") && hint("a-.b").contains("hyphen"));
        assert!(hint("192.0.2.1@53").contains("behind a colon") && hint("1:2:3").contains("[2001:db8::53]:5353"));
        assert!(hint("münchen.example").contains("xn--") && hint("*.example").ends_with("but no '*'"));
        assert!(hint(&"a".repeat(64)).contains("63"));
    }
}
