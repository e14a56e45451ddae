//! Upstreams as a Corefile names them: addresses, and files in the form of resolv.conf.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use super::upstream::Address;
use crate::corefile::address::Transport;
use crate::corefile::value::{host_port, ip, unsigned};

/// One TO argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    /// An upstream.
    Address(Address),
    /// A file that names upstreams, and those that it named when it was read first.
    File(String, Vec<Address>),
}

impl To {
    /// Reads one TO argument; a file is read as well.
    ///
    /// # Errors
    /// A sentence for the complaint: in CoreDNS's words where it refuses too.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let (transport, rest) = Transport::split(text);
        if rest.is_empty() {
            return Err(format!("invalid address: \"{text}\""));
        }
        if transport == Transport::Https && rest.contains('/') {
            return Err(format!(
                "paths are not allowed in HTTPS upstream addresses (the /dns-query path is used by default): {text}"
            ));
        }
        let scheme = transport.scheme();
        if !matches!(transport, Transport::Dns | Transport::Tls | Transport::Quic | Transport::Https) {
            return Err(format!("'{scheme}' is not supported as a destination protocol in forward: {text}"));
        }
        let (host, port) = host_port(rest).unwrap_or_else(|_| (rest.trim_matches(['[', ']']), ""));
        match address(host, port)? {
            Some(_) if transport != Transport::Dns => Err(format!("{scheme}:// upstreams are not served yet")),
            Some(address) => Ok(Self::Address(address)),
            None => file(rest),
        }
    }

    /// The upstreams that it named when it was read.
    pub(super) fn addresses(&self) -> Vec<Address> {
        match self {
            Self::Address(address) => vec![address.clone()],
            Self::File(_, addresses) => addresses.clone(),
        }
    }
}

/// An IP address with an optional `%interface` and port.
fn address(host: &str, port: &str) -> Result<Option<Address>, String> {
    let (text, scope) = host.split_once('%').unwrap_or((host, ""));
    let Some(ip) = ip(text) else { return Ok(None) };
    let port = if port.is_empty() { 53 } else { unsigned(port, 32)? };
    // A port above 65535 is accepted, as in CoreDNS: nothing can be sent there.
    let number = u16::try_from(port).unwrap_or(0);
    let (socket, host) = match ip {
        IpAddr::V6(v6) => (SocketAddrV6::new(v6, number, 0, scope_id(scope)).into(), format!("[{v6}]")),
        IpAddr::V4(v4) => (SocketAddr::new(v4.into(), number), v4.to_string()),
    };
    Ok(Some(Address { to: format!("{host}:{port}"), socket }))
}

/// The number of a network interface; 0, which means none, if there is no such interface.
fn scope_id(name: &str) -> u32 {
    let known = || std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok();
    match name {
        "" => 0,
        _ if name.contains('/') => 0,
        _ => name.parse().ok().or_else(|| known()?.trim().parse().ok()).unwrap_or(0),
    }
}

//----------- Files ----------------------------------------------------------

fn file(path: &str) -> Result<To, String> {
    match name_servers(path) {
        Ok(servers) => Ok(To::File(path.to_owned(), servers)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("open {path}: {error}")),
        Err(_) if path.contains('/') => Err(format!("not an IP address or file \"{path}\": no such file")),
        Err(_) => Err(format!("not an IP address or file \"{path}\"; host names as upstreams are not served yet")),
    }
}

/// The `nameserver` lines of a file in the form of resolv.conf, each address once. Anything else is ignored.
///
/// # Errors
/// The file cannot be read.
pub(super) fn name_servers(path: &str) -> io::Result<Vec<Address>> {
    let text = std::fs::read_to_string(path)?;
    let mut servers: Vec<Address> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace();
        if words.next() == Some("nameserver")
            && let Some(Ok(Some(server))) = words.next().map(|word| address(word, ""))
            && !servers.contains(&server)
        {
            servers.push(server);
        }
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str) -> String {
        match To::read(text) {
            Ok(To::Address(address)) => format!("{} {}", address.to, address.socket),
            Ok(To::File(_, servers)) => servers.iter().map(|server| format!("<{}>", server.to)).collect(),
            Err(error) => error,
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(to("192.0.2.1"), "192.0.2.1:53 192.0.2.1:53");
        assert_eq!(to("dns://192.0.2.1:5353"), "192.0.2.1:5353 192.0.2.1:5353");
        assert_eq!(to("2001:db8::1"), "[2001:db8::1]:53 [2001:db8::1]:53");
        assert_eq!(to("[2001:db8::1]"), "[2001:db8::1]:53 [2001:db8::1]:53");
        assert_eq!(to("[2001:db8::1]:54"), "[2001:db8::1]:54 [2001:db8::1]:54");
        assert_eq!(to("fe80::1%7"), "[fe80::1]:53 [fe80::1%7]:53");
        assert_eq!(to("192.0.2.1:99999"), "192.0.2.1:99999 192.0.2.1:0");
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(to("tls://192.0.2.1"), "tls:// upstreams are not served yet");
        assert_eq!(
            to("grpc://192.0.2.1"),
            "'grpc' is not supported as a destination protocol in forward: grpc://192.0.2.1"
        );
        assert!(to("https://192.0.2.1/dns-query").starts_with("paths are not allowed"));
        assert_eq!(to("dns://"), "invalid address: \"dns://\"");
        assert_eq!(to("/none/such"), "not an IP address or file \"/none/such\": no such file");
        assert!(to("dns.example.org").contains("not served yet"));
        assert!(to("010.0.0.1").contains("not an IP address"));
    }

    #[test]
    fn name_servers_of_a_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = "# nameserver 192.0.2.9\nsearch a b\n  nameserver 192.0.2.1 # first\nnameserver x\nnameserver 2001:db8::1\n\
            nameserver 192.0.2.1\nnameserver\n";
        std::fs::write(file.path(), text).expect("written");
        assert_eq!(to(&file.path().display().to_string()), "<192.0.2.1:53><[2001:db8::1]:53>");
    }
}
