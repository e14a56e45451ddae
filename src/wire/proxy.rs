//! The header of the PROXY protocol, versions 1 and 2: what a proxy writes in front of a connection
//! or a datagram to say where its client is (haproxy.org, proxy-protocol.txt).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Octets of the largest header: a head, and as many behind it as CoreDNS reads.
pub const LONGEST: usize = HEAD + 4096;

/// The first octets of version 1, and of version 2.
const SIGNATURES: (&[u8], &[u8]) = (b"PROXY", b"\r\n\r\n\0\r\nQUIT\n");

/// Octets of a line of version 1, at most, and of the fixed part of version 2.
const LINE: usize = 107;
const HEAD: usize = 16;

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its octets.
    pub len: usize,
    /// The client; `None` if the proxy asks on its own behalf, or cannot name it.
    pub client: Option<SocketAddr>,
    /// Whether it may stand in front of a datagram: only version 2 has headers for them.
    pub is_for_datagrams: bool,
    /// What else the proxy says: values with their types and lengths.
    pub values: &'a [u8],
}

/// What octets begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<'a> {
    /// A header.
    Header(Header<'a>),
    /// A part of a header, as far as it goes.
    Part,
    /// Something else.
    Other,
    /// A header that is malformed.
    Malformed,
}

/// Reads the header that octets begin with.
#[must_use]
pub fn read(octets: &[u8]) -> Start<'_> {
    let (first, second) = SIGNATURES;
    let is_part = |signature: &[u8]| octets.len() < signature.len() && signature.starts_with(octets);
    match () {
        () if octets.starts_with(first) => line(octets),
        () if octets.starts_with(second) => binary(octets),
        () if is_part(first) || is_part(second) => Start::Part,
        () => Start::Other,
    }
}

/// Reads version 1: a line of text.
fn line(octets: &[u8]) -> Start<'_> {
    let Some(end) = octets.iter().take(LINE).position(|&octet| octet == b'\n') else {
        return if octets.len() < LINE { Start::Part } else { Start::Malformed };
    };
    let words = || {
        let line = str::from_utf8(octets[..end].strip_suffix(b"\r")?).ok()?;
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["PROXY", "UNKNOWN", ..] => Some(None),
            ["PROXY", family, client, server, client_port, server_port] => {
                let address = |text: &str| text.parse().ok().filter(|ip: &IpAddr| ip.is_ipv4() == (family == "TCP4"));
                let client = SocketAddr::new(address(client)?, client_port.parse().ok()?);
                let _server: (IpAddr, u16) = (address(server)?, server_port.parse().ok()?);
                matches!(family, "TCP4" | "TCP6").then_some(Some(client))
            }
            _ => None,
        }
    };
    match words() {
        Some(client) => Start::Header(Header { len: end + 1, client, is_for_datagrams: false, values: &[] }),
        None => Start::Malformed,
    }
}

/// Reads version 2.
fn binary(octets: &[u8]) -> Start<'_> {
    let Some((head, behind)) = octets.split_first_chunk::<HEAD>() else { return Start::Part };
    let len = usize::from(u16::from_be_bytes([head[14], head[15]]));
    let is_local = head[12] == 0x20;
    let family = head[13];
    // Addresses take 12, 36 or 216 octets; LOCAL may come without them.
    let addresses = match family {
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return Start::Malformed,
    };
    let is_known = is_local || head[12] == 0x21 && family != 0 && len >= addresses;
    if !is_known || len > LONGEST - HEAD {
        return Start::Malformed;
    }
    let Some(rest) = behind.get(..len) else { return Start::Part };
    let client = match family {
        _ if is_local => None,
        0x11 | 0x12 => rest.first_chunk().map(|&ip: &[u8; 4]| IpAddr::from(Ipv4Addr::from(ip))).zip(rest.get(8..10)),
        0x21 | 0x22 => rest.first_chunk().map(|&ip: &[u8; 16]| IpAddr::from(Ipv6Addr::from(ip))).zip(rest.get(32..34)),
        _ => None,
    };
    let client = client.map(|(ip, port)| SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]])));
    let is_for_datagrams = is_local || matches!(family, 0x12 | 0x22);
    Start::Header(Header {
        len: HEAD + len,
        client,
        is_for_datagrams,
        values: rest.get(addresses..).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(octets: &[u8]) -> String {
        match read(octets) {
            Start::Header(header) => {
                let client = header.client.map_or("none".to_owned(), |client| client.to_string());
                format!("{client} {} {} {}", header.len, header.is_for_datagrams, header.values.len())
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn version_1_is_a_line() {
        for (text, expected) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 4000 53\r\nrest", "192.0.2.1:4000 43 false 0"),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 4000 53\r\n", "[2001:db8::1]:4000 44 false 0"),
            ("PROXY UNKNOWN\r\n", "none 15 false 0"),
            ("PROXY UNKNOWN a b c\r\n", "none 21 false 0"),
            ("", "Part"),
            ("PRO", "Part"),
            ("PROXY TCP4 192.0.2.1", "Part"),
            ("PRI * HTTP/2.0\r\n", "Other"),
            ("POST", "Other"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 4000 53\n", "Malformed"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 4000\r\n", "Malformed"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 4000 53 1\r\n", "Malformed"),
            ("PROXY TCP6 192.0.2.1 198.51.100.1 4000 53\r\n", "Malformed"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 65536 53\r\n", "Malformed"),
            ("PROXY UDP4 192.0.2.1 198.51.100.1 4000 53\r\n", "Malformed"),
            ("PROXYjunk TCP4 192.0.2.1 198.51.100.1 4000 53\r\n", "Malformed"),
        ] {
            assert_eq!(client(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(client(format!("PROXY {}", "x".repeat(100)).as_bytes()), "Part");
        assert_eq!(client(format!("PROXY {}", "x".repeat(101)).as_bytes()), "Malformed");
    }

    #[test]
    fn version_2_is_binary() {
        let header = |command: u8, family: u8, rest: &[u8]| {
            [SIGNATURES.1, &[command, family], &(rest.len() as u16).to_be_bytes(), rest].concat()
        };
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x0F, 0xA0, 0, 53];
        let v6 = [&[0x20, 1, 0x0D, 0xB8][..], &[0; 28], &[0x0F, 0xA0, 0, 53]].concat();
        for (octets, expected) in [
            (header(0x21, 0x11, &v4), "192.0.2.1:4000 28 false 0"),
            (header(0x21, 0x12, &[&v4[..], b"abc"].concat()), "192.0.2.1:4000 31 true 3"),
            (header(0x21, 0x22, &v6), "[2001:db8::]:4000 52 true 0"),
            (header(0x21, 0x31, &[0; 216]), "none 232 false 0"),
            (header(0x20, 0x00, &[]), "none 16 true 0"),
            (header(0x20, 0x11, &[]), "none 16 true 0"),
            (header(0x20, 0x11, &v4), "none 28 true 0"),
            (header(0x21, 0x00, &[]), "Malformed"),
            (header(0x22, 0x11, &v4), "Malformed"),
            (header(0x11, 0x11, &v4), "Malformed"),
            (header(0x21, 0x13, &v4), "Malformed"),
            (header(0x21, 0x11, &v4[1..]), "Malformed"),
            (header(0x21, 0x11, &[0; 4097]), "Malformed"),
            (header(0x21, 0x11, &v4)[..27].to_vec(), "Part"),
            (SIGNATURES.1[..5].to_vec(), "Part"),
        ] {
            assert_eq!(client(&octets), expected, "{octets:02x?}");
        }
        assert_eq!(client(&header(0x21, 0x11, &[0; 4096])), "0.0.0.0:0 4112 false 4084");
    }
}
