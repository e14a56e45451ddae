//! The command line of `signpost ask`, in the words of `dig`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::{DNSClass, Name, RecordType};

use super::exchange::{How, Transport};
use crate::wire::types::{class_number, type_number};

/// The usage text.
pub const USAGE: &str = "Usage of signpost ask: asks a DNS server one question and prints its reply
  signpost ask [@ADDRESS[:PORT]] NAME [TYPE] [CLASS] [+OPTION]...
  @ADDRESS[:PORT]  the server (default: those of /etc/resolv.conf; port 53, 853 with +tls, 443 with +https)
  -p PORT          its port
  -x ADDRESS       PTR of this address, in place of a name
  +tcp, +tls, +https    over TCP, TLS or HTTPS; certificates are not checked. Over UDP a truncated reply is asked for over TCP
  +search          along the search list of /etc/resolv.conf, until there is data
  +short           data of the answer alone
  +norecurse, +noedns, +dnssec    RD off, no OPT, DO on
  +time=SECONDS, +tries=N         how long a try waits (default 3), tries for each server (default 2)
Exit status: 0 for a reply of any RCODE, 9 without one, 2 for wrong arguments
";

/// The name in question, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenName {
    name: Name,
    /// Whether it ends in a dot.
    pub is_absolute: bool,
}

impl WrittenName {
    /// Reads a name.
    ///
    /// # Errors
    /// Why it is invalid.
    pub fn read(text: &str) -> Result<Self, String> {
        let name = Name::from_ascii(text).map_err(|error| usage(&format!("{text:?} is not a name: {error}")))?;
        Ok(Self { is_absolute: name.is_fqdn(), name })
    }

    /// Returns the name as it is, made absolute.
    #[must_use]
    pub fn absolute(&self) -> Name {
        let mut name = self.name.clone();
        name.set_fqdn(true);
        name
    }

    /// Returns the relative name, to which a domain can be appended.
    #[must_use]
    pub fn relative(&self) -> Name {
        self.name.clone()
    }

    /// Returns the number of dots between labels.
    #[must_use]
    pub fn dots(&self) -> usize {
        usize::from(self.name.num_labels()).saturating_sub(1)
    }
}

/// What to ask, which server, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The server; `None` means those of resolv.conf.
    pub server: Option<SocketAddr>,
    /// The name.
    pub name: WrittenName,
    /// The type.
    pub qtype: RecordType,
    /// The class.
    pub class: DNSClass,
    /// How to send it.
    pub how: How,
    /// Whether to use the search list.
    pub search: bool,
    /// Whether to print only the data of the answer.
    pub short: bool,
    port: Option<u16>,
}

impl Options {
    /// Returns whether server or search list come from resolv.conf.
    #[must_use]
    pub fn needs_resolv_conf(&self) -> bool {
        self.server.is_none() || self.search
    }

    /// Returns the port of servers that are given without one.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.how.transport.port())
    }
}

/// Reads the arguments after `ask`. Returns `None` if help is asked for.
///
/// # Errors
/// The invalid word, what would be right, and the usage.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Option<Options>, String> {
    let mut arguments = arguments.into_iter();
    let (mut server, mut name, mut qtype, mut class) = (None, None, None, None);
    let mut options = Options {
        server: None,
        name: WrittenName { name: Name::root(), is_absolute: true },
        qtype: RecordType::A,
        class: DNSClass::IN,
        how: How::default(),
        search: false,
        short: false,
        port: None,
    };
    while let Some(word) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| usage(&format!("{word} needs a value")));
        match word.as_str() {
            "-h" | "-help" | "--help" => return Ok(None),
            "-p" => options.port = Some(number(&word, &value()?)?),
            "-x" => {
                let text = value()?;
                let address: IpAddr = text.parse().map_err(|_| usage(&format!("-x {text}: not an address")))?;
                name = Some(WrittenName { name: Name::from(address), is_absolute: true });
                qtype = qtype.or(Some(RecordType::PTR));
            }
            _ if word.starts_with('+') => switch(&mut options, &word)?,
            _ if word.starts_with('@') => server = Some(word[1..].to_owned()),
            _ if word.starts_with('-') => return Err(usage(&format!("{word} is not a flag"))),
            _ if name.is_none() => name = Some(WrittenName::read(&word)?),
            _ => match (record_type(&word), class_number(&word.to_ascii_uppercase())) {
                (Some(wanted), _) => qtype = Some(wanted),
                (None, Some(wanted)) => class = Some(DNSClass::from(wanted)),
                (None, None) => return Err(usage(&format!("{word:?} is neither a type nor a class"))),
            },
        }
    }
    options.name = name.ok_or_else(|| usage("the NAME is missing"))?;
    options.qtype = qtype.unwrap_or(options.qtype);
    options.class = class.unwrap_or(options.class);
    options.server = server.map(|text| address(&text, options.port())).transpose()?;
    Ok(Some(options))
}

/// Reads a word that begins with `+`.
fn switch(options: &mut Options, word: &str) -> Result<(), String> {
    let how = &mut options.how;
    match word.split_once('=').unwrap_or((word, "")) {
        ("+tcp", "") => how.transport = Transport::Tcp,
        ("+tls", "") => how.transport = Transport::Tls,
        ("+https", "") => how.transport = Transport::Https,
        ("+search", "") => options.search = true,
        ("+short", "") => options.short = true,
        ("+norecurse" | "+norec", "") => how.recursion_desired = false,
        ("+noedns", "") => how.edns = false,
        ("+dnssec", "") => how.dnssec_ok = true,
        ("+time", seconds) => how.patience = Duration::from_secs(u64::from(number::<u16>("+time", seconds)?.max(1))),
        ("+tries", tries) => how.tries = number::<u8>("+tries", tries)?.into(),
        _ => return Err(usage(&format!("{word} is not an option"))),
    }
    Ok(())
}

fn usage(why: &str) -> String {
    format!("{why}\n{}", USAGE.trim_end())
}

fn number<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| usage(&format!("{what} {text}: not a number that fits")))
}

/// Returns the type of a mnemonic or of `TYPE65` (RFC 3597 section 5).
fn record_type(word: &str) -> Option<RecordType> {
    let word = word.to_ascii_uppercase();
    let number = type_number(&word).or_else(|| word.strip_prefix("TYPE")?.parse().ok());
    number.map(RecordType::from)
}

/// Reads `192.0.2.1`, `192.0.2.1:5353`, `fd00::1` or `[fd00::1]:5353`.
fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    let bare = || text.trim_matches(['[', ']']).parse::<IpAddr>().map(|address| SocketAddr::new(address, port));
    text.parse().or_else(|_| bare()).map_err(|_| {
        usage(&format!("@{text}: not an address; 10.96.0.10, 127.0.0.1:1053 and [fd00::10]:53 would be right"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        parse(line.split_whitespace().map(str::to_owned)).map(|options| options.expect("no help was asked for"))
    }

    #[test]
    fn words_may_stand_in_any_order() {
        for line in ["@127.0.0.1:1053 web.shop srv +tcp", "+tcp -p 1053 web.shop IN SRV @127.0.0.1"] {
            let options = read(line).expect("options");
            assert_eq!(options.server, Some("127.0.0.1:1053".parse().unwrap()), "{line}");
            assert_eq!((options.qtype, options.how.transport), (RecordType::SRV, Transport::Tcp), "{line}");
            assert_eq!(options.name.absolute().to_string(), "web.shop.", "{line}");
        }
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let options = read("web").expect("options");
        assert_eq!((options.qtype, options.class, options.port()), (RecordType::A, DNSClass::IN, 53));
        assert!(options.needs_resolv_conf());
        assert_eq!(read("@[fd00::10] web +tls").expect("options").server, Some("[fd00::10]:853".parse().unwrap()));
        assert_eq!(read("@10.0.0.1 web +https").expect("options").server, Some("10.0.0.1:443".parse().unwrap()));
        assert_eq!(read("@fd00::10 web TYPE65").expect("options").qtype, RecordType::HTTPS);
        let chaos = read("@10.96.0.10 version.bind txt ch +time=1 +tries=5").expect("options");
        assert_eq!((chaos.class, chaos.how.patience, chaos.how.tries), (DNSClass::CH, Duration::from_secs(1), 5));
    }

    #[test]
    fn an_address_is_asked_for_by_its_reverse_name() {
        let options = read("-x 10.96.0.20").expect("options");
        assert_eq!(options.name.absolute().to_string(), "20.0.96.10.in-addr.arpa.");
        assert_eq!(options.qtype, RecordType::PTR);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let why = |line| read(line).expect_err("refused").lines().next().map(str::to_owned);
        assert_eq!(why("@127.0.0.1").as_deref(), Some("the NAME is missing"));
        assert_eq!(why("web AAAAA").as_deref(), Some("\"AAAAA\" is neither a type nor a class"));
        assert_eq!(why("web +trace").as_deref(), Some("+trace is not an option"));
        assert_eq!(why("web -p 70000").as_deref(), Some("-p 70000: not a number that fits"));
        assert_eq!(why("web -p").as_deref(), Some("-p needs a value"));
        assert_eq!(why("web -4").as_deref(), Some("-4 is not a flag"));
        assert!(why("@kube-dns web").is_some_and(|why| why.starts_with("@kube-dns: not an address; 10.96.0.10")));
        assert!(why("a..b").is_some_and(|why| why.starts_with("\"a..b\" is not a name: ")));
    }
}
