//! A question as the words of a scenario say, and its reply as text.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption, NSIDPayload};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use signpost::wire::types::{rcode_name, type_number};

use super::signed::ClientKey;
use super::support::{connect, decode, receive, send, text, text_by};

/// The reply of a server that does not reply.
pub(crate) const SILENCE: &str = "no reply";

/// Number of the extended error (RFC 8914), which hickory-proto does not know.
const EXTENDED_ERROR: u16 = 15;

/// A question, and how it is asked and shown.
pub(crate) struct Question {
    packet: Vec<u8>,
    server: SocketAddr,
    from: Ipv4Addr,
    is_tcp: bool,
    in_order: bool,
    has_ttls: bool,
    /// The key that signs it.
    key: Option<ClientKey>,
}

impl Question {
    /// Reads the words of a question to the server that has this port.
    ///
    /// # Errors
    /// Returns the reason why a word is not valid.
    pub(crate) fn new(words: &[String], port: u16) -> Result<Self, String> {
        let [name, qtype, words @ ..] = words else { return Err("a question has a name and a type".to_owned()) };
        let name = Name::from_ascii(name).map_err(|error| format!("{name}: {error}"))?;
        let qtype = type_number(qtype).ok_or_else(|| format!("there is no type `{qtype}`"))?;
        let mut query = Query::query(name, RecordType::from(qtype));
        let (mut edns, local) = (Edns::new(), Ipv4Addr::LOCALHOST);
        edns.set_max_payload(1232);
        let mut question = Self {
            packet: Vec::new(),
            server: SocketAddr::from((local, port)),
            from: local,
            is_tcp: false,
            in_order: false,
            has_ttls: true,
            key: None,
        };
        // How far the client's clock is ahead, in seconds.
        let mut ahead = 0;
        for word in words {
            let wrong = || format!("there is no word `{word}`");
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "+tcp" => question.is_tcp = true,
                "+order" => question.in_order = true,
                "+nottl" => question.has_ttls = false,
                "+sign" => question.key = Some(ClientKey::read(value).ok_or_else(wrong)?),
                "+ahead" => ahead = value.parse().map_err(|_| wrong())?,
                "+from" => question.from = value.parse().map_err(|_| wrong())?,
                "+do" => drop(edns.set_dnssec_ok(true)),
                "+bufsize" => drop(edns.set_max_payload(value.parse().map_err(|_| wrong())?)),
                "+nsid" => {
                    edns.options_mut().insert(EdnsOption::NSID(NSIDPayload::new([]).expect("nothing is short")));
                }
                _ if let Some(address) = word.strip_prefix('@') => {
                    let on_port = address.parse::<IpAddr>().map(|address| SocketAddr::new(address, port));
                    question.server = on_port.or_else(|_| address.parse()).map_err(|_| wrong())?;
                }
                _ => drop(query.set_query_class(word.parse::<DNSClass>().map_err(|_| wrong())?)),
            }
        }
        let mut message = Message::new(fastrand::u16(..), MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(query);
        message.edns = Some(edns);
        question.packet = message.to_vec().map_err(|error| error.to_string())?;
        if let Some(key) = &question.key {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
            question.packet = key.sign(&question.packet, now + ahead);
        }
        Ok(question)
    }

    /// Asks once, and waits for the reply for `patience`. Returns it as text.
    pub(crate) fn ask(&self, patience: Duration) -> String {
        if self.is_tcp {
            let mut stream = connect(self.server);
            send(&mut stream, &self.packet);
            return receive(&mut stream).map_or(SILENCE.to_owned(), |reply| self.shown(&reply));
        }
        let socket = UdpSocket::bind((self.from, 0)).expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        match self.exchange(&socket, patience) {
            Ok(reply) => self.shown(&reply).replace(&format!(" {port} "), " CLIENT "),
            Err(_) => SILENCE.to_owned(),
        }
    }

    fn exchange(&self, socket: &UdpSocket, patience: Duration) -> std::io::Result<Vec<u8>> {
        socket.connect(self.server)?;
        socket.set_read_timeout(Some(patience))?;
        socket.send(&self.packet)?;
        let mut buffer = vec![0; 65_535];
        let len = socket.recv(&mut buffer)?;
        buffer.truncate(len);
        Ok(buffer)
    }

    fn shown(&self, reply: &[u8]) -> String {
        let signed = self.key.as_ref().and_then(|key| key.check(reply, key.mac_of(&self.packet), true));
        let mut message = decode(signed.as_ref().map_or(reply, |signed| &signed.message));
        if !self.has_ttls {
            let sections = [&mut message.answers, &mut message.authorities, &mut message.additionals];
            sections.into_iter().flatten().for_each(|record| record.ttl = 0);
        }
        let mut lines = if self.in_order { text_by(&message, |_| ()) } else { text(&message) };
        for (code, option) in message.edns.iter().flat_map(|edns| edns.options().as_ref()) {
            lines.push('\n');
            lines.push_str(&option_text(*code, option));
        }
        if let Some(signed) = signed {
            let how = if signed.mac.is_empty() { "unsigned" } else { "signed" };
            // BADSIG has the number of the RCODE BADVERS.
            let error = if signed.error == 16 { Some("BADSIG") } else { rcode_name(signed.error) };
            lines.push_str(&format!("\ntsig {how} {}", error.unwrap_or_default()));
        }
        lines
    }
}

/// Returns an option of EDNS as text.
fn option_text(code: EdnsCode, option: &EdnsOption) -> String {
    let data = Vec::<u8>::try_from(option).expect("octets");
    match (u16::from(code), data.split_first_chunk()) {
        (EXTENDED_ERROR, Some((error, reason))) => {
            format!("error {} {}", u16::from_be_bytes(*error), String::from_utf8_lossy(reason)).trim_end().to_owned()
        }
        _ if code == EdnsCode::NSID => format!("nsid {}", String::from_utf8_lossy(&data)),
        (number, _) => {
            let octets: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
            format!("option {number} {octets}").trim_end().to_owned()
        }
    }
}
