//! Where another server is, and how queries travel there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::host::resolv::ResolvConf;

/// The protocol that a server is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// UDP and TCP.
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over QUIC (RFC 9250).
    Quic,
    /// CoreDNS's DNS over gRPC, inside TLS if [`DialOptions`](super::DialOptions) say so.
    Grpc,
}

/// How one query to a `dns://` server travels. Other schemes have one way only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// In a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The address and port as metrics and messages name them.
    pub(crate) to: String,
    /// Where to send. The port is 0 if the configured one is above 65535: CoreDNS accepts that and
    /// fails later, and so do we.
    pub(crate) socket: SocketAddr,
    /// How queries travel there.
    pub(crate) scheme: Scheme,
    /// The name that its certificate has to show, if it is not
    /// [`TlsOptions::server_name`](super::TlsOptions).
    pub(crate) server_name: Option<String>,
    /// The socket of a server on this machine. Then there is no address.
    pub(crate) path: Option<PathBuf>,
}

impl Scheme {
    /// The name in front of `://`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Https => "https",
            Self::Quic => "quic",
            Self::Grpc => "grpc",
        }
    }

    /// The port of a server whose address names none. For gRPC it is that of plain DNS, as in
    /// CoreDNS.
    pub(crate) fn default_port(self) -> u64 {
        match self {
            Self::Dns | Self::Grpc => 53,
            Self::Tls | Self::Quic => 853,
            Self::Https => 443,
        }
    }
}

impl Address {
    /// The server at an IP address. Ports above 65535 are accepted, but nothing can be sent there.
    pub(super) fn at(ip: IpAddr, port: u64, scheme: Scheme) -> Self {
        let socket = SocketAddr::new(ip, u16::try_from(port).unwrap_or(0));
        let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        Self { to: format!("{host}:{port}"), socket, scheme, server_name: None, path: None }
    }

    /// The server at a socket of this machine.
    pub(crate) fn of_socket(path: &str, scheme: Scheme) -> Self {
        let nowhere = Self::at(Ipv4Addr::UNSPECIFIED.into(), 0, scheme);
        Self { to: format!("unix://{path}"), path: Some(path.into()), ..nowhere }
    }

    /// Reads an IP address with an optional `%interface`. Returns `None` for anything else.
    pub(crate) fn read(text: &str, port: u64, scheme: Scheme) -> Option<Self> {
        let (ip, scope) = text.split_once('%').unwrap_or((text, ""));
        let mut address = Self::at(ip.parse().ok()?, port, scheme);
        if let SocketAddr::V6(v6) = &mut address.socket {
            v6.set_scope_id(scope_id(scope));
        }
        Some(address)
    }

    /// Reads the name servers of a file in the form of resolv.conf, each once, on the port of
    /// `scheme`. Words that are not addresses are skipped.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn of_file(path: &str, scheme: Scheme) -> io::Result<Vec<Self>> {
        let mut servers: Vec<Self> = Vec::new();
        for word in ResolvConf::read(path)?.name_servers {
            let server = Self::read(&word, scheme.default_port(), scheme);
            servers.extend(server.filter(|server| !servers.contains(server)));
        }
        Ok(servers)
    }
}

/// Returns the number of a network interface, or 0, which means none, if there is no such
/// interface.
fn scope_id(name: &str) -> u32 {
    let known = || std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok();
    match name {
        "" => 0,
        _ if name.contains('/') => 0,
        _ => name.parse().ok().or_else(|| known()?.trim().parse().ok()).unwrap_or(0),
    }
}
