//! Upstreams as a Corefile names them: addresses, and files in the form of resolv.conf.

use std::io;

use super::directive::Directive;
use super::host_name::host_name;
use crate::corefile::address::Transport;
use crate::corefile::value::{host_port, unsigned};
use crate::error::words;
use crate::remote::{Address, HostName, Scheme};

/// CoreDNS's words.
const NO_HOST: &str = "not an IP address, file, or valid domain";

/// One TO argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    /// An upstream.
    Address(Address),
    /// A file that names upstreams, how queries travel there, and those that it named when it was
    /// read first.
    File(String, Scheme, Vec<Address>),
    /// A host name; its addresses are asked for when the configuration starts.
    Host(Box<HostName>),
}

impl To {
    /// Reads one TO argument; a file is read as well.
    ///
    /// # Errors
    /// What is wrong with it, in CoreDNS's words where it refuses too.
    pub(super) fn read(text: &str, directive: &Directive) -> Result<Self, Wrong> {
        let (written, rest) = Transport::split(text);
        if rest.is_empty() {
            let hint = "the address or the name of an upstream is missing";
            return Err(Wrong { message: format!("invalid address: \"{text}\""), hint: hint.to_owned() });
        }
        if written == Transport::Https && rest.contains('/') {
            let path = "the /dns-query path is used by default";
            return Err(format!("paths are not allowed in HTTPS upstream addresses ({path}): {text}").into());
        }
        let Some(scheme) = (directive.scheme)(written) else {
            let (name, directive) = (written.scheme(), directive.name);
            return Err(format!("'{name}' is not supported as a destination protocol in {directive}: {text}").into());
        };
        if written == Transport::Unix {
            return if rest.starts_with('/') {
                Ok(Self::Address(Address::of_socket(rest, scheme)))
            } else {
                let hint = "the path of a socket begins with a slash: unix:///run/dns.sock".to_owned();
                Err(Wrong { message: format!("invalid address: \"{text}\""), hint })
            };
        }
        if let Some((unknown, _)) = rest.split_once("://") {
            let hint = format!("'{unknown}://' is unknown; {} are known", directive.schemes);
            return Err(Wrong { message: format!("{NO_HOST}: \"{text}\""), hint });
        }
        let has_name = !matches!(scheme, Scheme::Dns | Scheme::Grpc);
        let (rest, server_name) = if has_name { server_name(rest) } else { (rest.into(), None) };
        let (host, port) = host_port(&rest).unwrap_or_else(|_| (rest.trim_matches(['[', ']']), ""));
        let port = match port {
            "" if written == Transport::Grpc => 443,
            "" => scheme.default_port(),
            // The one name of a port that Go knows without a list of services.
            "domain" => 53,
            number => unsigned(number, 32)
                .map_err(|message| Wrong { message, hint: "a port is a number from 1 to 65535".to_owned() })?,
        };
        match Address::read(host, port, scheme) {
            // HTTPS knows one name for all upstreams, as in CoreDNS.
            Some(address) if scheme == Scheme::Https => Ok(Self::Address(address)),
            Some(address) => Ok(Self::Address(Address { server_name, ..address })),
            None => match Address::of_file(&rest, scheme) {
                Ok(servers) => Ok(Self::File(rest, scheme, servers)),
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(format!("open {rest}: {}", words(&error)).into())
                }
                Err(_) => {
                    let name = host_name(host).map_err(|hint| Wrong { message: no_host(host), hint })?;
                    let text = host.to_owned();
                    Ok(Self::Host(Box::new(HostName { text, name, port, scheme, server_name })))
                }
            },
        }
    }

    /// The host name, if it is one.
    pub(super) fn host(&mut self) -> Option<&mut HostName> {
        if let Self::Host(host) = self { Some(host) } else { None }
    }

    /// Returns the upstream, and the name for its certificate that is written with it. Returns
    /// `None` without one.
    pub(super) fn server_name(&self) -> Option<(String, &str)> {
        let (scheme, to, name) = match self {
            Self::Address(Address { to, scheme, server_name, .. }) => (scheme, to.clone(), server_name),
            Self::Host(host) => (&host.scheme, format!("{}:{}", host.text, host.port), &host.server_name),
            Self::File(..) => return None,
        };
        Some((format!("{}://{to}", scheme.name()), name.as_deref()?))
    }

    /// Whether nothing can be sent there: its port is 0, or above 65535.
    pub(super) fn has_no_port(&self) -> bool {
        match self {
            Self::Address(address) => address.path.is_none() && address.socket.port() == 0,
            Self::Host(host) => !(1..=u64::from(u16::MAX)).contains(&host.port),
            Self::File(..) => false,
        }
    }

    /// How the Corefile names it.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Address(address) => &address.to,
            Self::File(path, ..) => path,
            Self::Host(host) => &host.text,
        }
    }

    /// The upstreams that it named when it was read.
    pub(super) fn addresses(&self) -> Vec<Address> {
        match self {
            Self::Address(address) => vec![address.clone()],
            Self::File(_, _, addresses) => addresses.clone(),
            Self::Host(_) => Vec::new(),
        }
    }
}

/// Why a TO argument is refused.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) message: String,
    /// What would be right, if that is known.
    pub(super) hint: String,
}

impl From<String> for Wrong {
    fn from(message: String) -> Self {
        Self { message, hint: String::new() }
    }
}

/// Takes `%NAME` off an encrypted upstream, wherever it stands: in front of the port, behind it, or
/// inside of brackets.
fn server_name(text: &str) -> (String, Option<String>) {
    let Some((before, behind)) = text.rsplit_once('%') else { return (text.to_owned(), None) };
    let end = behind.find([':', ']']).unwrap_or(behind.len());
    let name = Some(behind[..end].to_owned()).filter(|name| !name.is_empty());
    (format!("{before}{}", &behind[end..]), name)
}

fn no_host(text: &str) -> String {
    let hint = if text.contains('/') { ": no such file" } else { "" };
    format!("{NO_HOST}: \"{text}\"{hint}")
}

#[cfg(test)]
mod tests {
    use super::super::FORWARD;
    use super::*;

    fn read(text: &str) -> Result<To, Wrong> {
        To::read(text, &FORWARD)
    }

    fn to(text: &str) -> String {
        match read(text) {
            Ok(To::Address(address)) => format!("{} {}", address.to, address.socket),
            Ok(To::File(_, _, servers)) => servers.iter().map(|server| format!("<{}>", server.to)).collect(),
            Ok(To::Host(host)) => format!("{} {} {:?}", host.name, host.port, host.scheme),
            Err(wrong) => wrong.message,
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
        assert_eq!(to("192.0.2.1:"), "192.0.2.1:53 192.0.2.1:53");
        assert_eq!(to("192.0.2.1:domain"), "192.0.2.1:53 192.0.2.1:53");
        assert!(read("192.0.2.1:99999").is_ok_and(|to| to.has_no_port()));
        assert!(read("192.0.2.1:dns").is_err_and(|wrong| wrong.hint.contains("65535")));
    }

    #[test]
    fn the_name_of_an_encrypted_upstream() {
        let name = |text: &str| match read(text) {
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
        assert_eq!(name("quic://192.0.2.1"), "192.0.2.1:853 ");
        assert_eq!(name("quic://192.0.2.1%a.example:8853"), "192.0.2.1:8853 a.example");
        assert_eq!(name("quic://[2001:db8::1]:8853%a.example"), "[2001:db8::1]:8853 a.example");
        assert_eq!(name("https://192.0.2.1%a.example"), "192.0.2.1:443 ");
        assert_eq!(name("192.0.2.1%a.example"), "192.0.2.1:53 ");
    }

    #[test]
    fn host_names() {
        assert_eq!(to("DNS.example.org"), "dns.example.org. 53 Dns");
        assert_eq!(to("dns.example.org:5353"), "dns.example.org. 5353 Dns");
        assert_eq!(to("tls://dns.example.org%other.example:8853"), "dns.example.org. 8853 Tls");
        assert_eq!(to("quic://dns.example.org"), "dns.example.org. 853 Quic");
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(
            to("grpc://192.0.2.1"),
            "'grpc' is not supported as a destination protocol in forward: grpc://192.0.2.1"
        );
        assert!(to("https://192.0.2.1/dns-query").starts_with("paths are not allowed"));
        assert_eq!(to("dns://"), "invalid address: \"dns://\"");
        assert_eq!(to("/none/such"), "not an IP address, file, or valid domain: \"/none/such\": no such file");
        assert_eq!(to("010.0.0.1"), "not an IP address, file, or valid domain: \"010.0.0.1\"");
        assert!(to("a..b").contains("valid domain"));
        assert!(to("tls://dns.example.org?x").contains("valid domain"));
        assert!(to("tls://:853").contains("valid domain"));
        assert!(read("udp://192.0.2.1").is_err_and(|wrong| wrong.hint.starts_with("'udp://' is unknown")));
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
