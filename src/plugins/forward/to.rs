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
    /// A file that names upstreams, how queries travel there, and those that it named when it was read first.
    File(String, Transport, Vec<Address>),
}

impl To {
    /// Reads one TO argument; a file is read as well.
    ///
    /// # Errors
    /// A sentence for the complaint: in CoreDNS's words where it refuses too.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let (scheme, rest) = Transport::split(text);
        if rest.is_empty() {
            return Err(format!("invalid address: \"{text}\""));
        }
        if scheme == Transport::Https && rest.contains('/') {
            return Err(format!(
                "paths are not allowed in HTTPS upstream addresses (the /dns-query path is used by default): {text}"
            ));
        }
        let name = scheme.scheme();
        if !matches!(scheme, Transport::Dns | Transport::Tls | Transport::Quic | Transport::Https) {
            return Err(format!("'{name}' is not supported as a destination protocol in forward: {text}"));
        }
        let (rest, server_name) = if scheme == Transport::Dns { (rest.into(), None) } else { server_name(rest) };
        let (host, port) = host_port(&rest).unwrap_or_else(|_| (rest.trim_matches(['[', ']']), ""));
        let port = if port.is_empty() { default_port(scheme) } else { unsigned(port, 32)? };
        match address(host, port, scheme) {
            Some(_) if !matches!(scheme, Transport::Dns | Transport::Tls) => {
                Err(format!("{name}:// upstreams are not served yet"))
            }
            // HTTPS knows one name for all upstreams, as in CoreDNS.
            Some(address) if scheme == Transport::Https => Ok(Self::Address(address)),
            Some(address) => Ok(Self::Address(Address { server_name, ..address })),
            None => file(&rest, scheme),
        }
    }

    /// The upstreams that it named when it was read.
    pub(super) fn addresses(&self) -> Vec<Address> {
        match self {
            Self::Address(address) => vec![address.clone()],
            Self::File(_, _, addresses) => addresses.clone(),
        }
    }
}

fn default_port(scheme: Transport) -> u64 {
    match scheme {
        Transport::Tls | Transport::Quic => 853,
        Transport::Https => 443,
        _ => 53,
    }
}

/// Takes `%NAME` off an encrypted upstream, wherever it stands: in front of the port, behind it, or inside of brackets.
fn server_name(text: &str) -> (String, Option<String>) {
    let Some((before, behind)) = text.rsplit_once('%') else { return (text.to_owned(), None) };
    let end = behind.find([':', ']']).unwrap_or(behind.len());
    let name = Some(behind[..end].to_owned()).filter(|name| !name.is_empty());
    (format!("{before}{}", &behind[end..]), name)
}

/// An IP address with an optional `%interface`, and a port.
fn address(host: &str, port: u64, scheme: Transport) -> Option<Address> {
    let (text, scope) = host.split_once('%').unwrap_or((host, ""));
    let ip = ip(text)?;
    // A port above 65535 is accepted, as in CoreDNS: nothing can be sent there.
    let number = u16::try_from(port).unwrap_or(0);
    let (socket, host) = match ip {
        IpAddr::V6(v6) => (SocketAddrV6::new(v6, number, 0, scope_id(scope)).into(), format!("[{v6}]")),
        IpAddr::V4(v4) => (SocketAddr::new(v4.into(), number), v4.to_string()),
    };
    Some(Address { to: format!("{host}:{port}"), socket, scheme, server_name: None })
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

fn file(path: &str, scheme: Transport) -> Result<To, String> {
    match name_servers(path, scheme) {
        Ok(servers) => Ok(To::File(path.to_owned(), scheme, servers)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("open {path}: {error}")),
        Err(_) if path.contains('/') => Err(format!("not an IP address or file \"{path}\": no such file")),
        Err(_) => Err(format!("not an IP address or file \"{path}\"; host names as upstreams are not served yet")),
    }
}

/// The `nameserver` lines of a file in the form of resolv.conf, each address once, on the port of `scheme`. Anything
/// else is ignored.
///
/// # Errors
/// The file cannot be read.
pub(super) fn name_servers(path: &str, scheme: Transport) -> io::Result<Vec<Address>> {
    let text = std::fs::read_to_string(path)?;
    let mut servers: Vec<Address> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace();
        if words.next() == Some("nameserver")
            && let Some(server) = words.next().and_then(|word| address(word, default_port(scheme), scheme))
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
            Ok(To::File(_, _, servers)) => servers.iter().map(|server| format!("<{}>", server.to)).collect(),
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
    fn the_name_of_an_encrypted_upstream() {
        let name = |text: &str| match To::read(text) {
            Ok(To::Address(Address { to, server_name, .. })) => format!("{to} {}", server_name.unwrap_or_default()),
            other => format!("{other:?}"),
        };
        assert_eq!(name("tls://192.0.2.1"), "192.0.2.1:853 ");
        assert_eq!(name("tls://192.0.2.1%a.example"), "192.0.2.1:853 a.example");
        assert_eq!(name("tls://192.0.2.1%a.example:8853"), "192.0.2.1:8853 a.example");
        assert_eq!(name("tls://192.0.2.1:8853%a.example"), "192.0.2.1:8853 a.example");
        assert_eq!(name("tls://[2001:db8::1%a.example]:8853"), "[2001:db8::1]:8853 a.example");
        assert_eq!(name("tls://2001:db8::1%a.example"), "[2001:db8::1]:853 a.example");
        assert_eq!(name("tls://192.0.2.1%"), "192.0.2.1:853 ");
        assert_eq!(name("192.0.2.1%a.example"), "192.0.2.1:53 ");
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(to("https://192.0.2.1"), "https:// upstreams are not served yet");
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
