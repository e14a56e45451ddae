//! The format of a line: text with placeholders, and the facts that replace them.
//!
//! The manual of `log`, the doc comment of `mod.rs`, lists the placeholders.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::chain::site::Site;
use crate::chain::{Query, Reply};
use crate::host::log::Text;
use crate::wire::name::Name;
use crate::wire::request::{HEADER, flag};
use crate::wire::text::append_text;
use crate::wire::types::{class as classes, rcode_name, type_name};
use crate::wire::write::is_cut;

use super::class;
use super::text::{Short, write_address, write_known, write_number, write_seconds};

/// The default format.
pub(super) const COMMON: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" {rcode} {>rflags} {rsize} {duration}";

/// The default format with the opcode.
pub(super) const COMBINED: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" \
     {rcode} {>rflags} {rsize} {duration} \"{>opcode}\"";

//----------- Format ---------------------------------------------------------

/// A parsed format.
pub(super) struct Format(Vec<Part>);

enum Part {
    /// Text between facts, usually a few octets.
    Short(Short),
    Text(String),
    Fact(Fact),
    /// A published value, by its label.
    Published(String),
}

#[derive(Clone, Copy)]
enum Fact {
    Type,
    Class,
    Name,
    Proto,
    Size,
    Remote,
    Local,
    Port,
    Rcode,
    ResponseSize,
    Duration,
    Id,
    Opcode,
    DnssecOk,
    Bufsize,
    Flags,
}

impl Format {
    /// Reads a format; every text is valid.
    pub(super) fn parse(text: &str) -> Self {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(open) = rest.find('{') {
            plain.push_str(&rest[..open]);
            rest = &rest[open..];
            let end = rest.find('}').map_or(rest.len(), |close| close + 1);
            match Part::named(&rest[..end]) {
                Some(part) => {
                    parts.extend([Part::text(std::mem::take(&mut plain)), part]);
                    rest = &rest[end..];
                }
                None => {
                    plain.push('{');
                    rest = &rest[1..];
                }
            }
        }
        plain.push_str(rest);
        parts.push(Part::text(plain));
        parts.retain(|part| !matches!(part, Part::Short(text) if text.is_empty()));
        Self(parts)
    }

    /// Returns the labels of published values in it.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Published(label) => Some(label.as_str()),
            _ => None,
        })
    }

    /// Appends the line without its line end.
    pub(super) fn write(&self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Short(text) => text.append(out),
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Fact(fact) => facts.write(*fact, out),
                Part::Published(label) => facts.write_published(label, out),
            }
        }
    }
}

impl Part {
    fn named(placeholder: &str) -> Option<Self> {
        let name = placeholder.strip_prefix('{')?.strip_suffix('}')?;
        match name.strip_prefix('/') {
            Some(label) if !label.is_empty() && !label.contains('{') => Some(Self::Published(label.to_owned())),
            _ => Fact::named(name).map(Self::Fact),
        }
    }

    fn text(text: String) -> Self {
        Short::new(text.as_bytes()).map_or(Self::Text(text), Self::Short)
    }
}

impl Fact {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "type" => Self::Type,
            "class" => Self::Class,
            "name" => Self::Name,
            "proto" => Self::Proto,
            "size" => Self::Size,
            "remote" => Self::Remote,
            "local" => Self::Local,
            "port" => Self::Port,
            "rcode" => Self::Rcode,
            "rsize" => Self::ResponseSize,
            "duration" => Self::Duration,
            ">id" => Self::Id,
            ">opcode" => Self::Opcode,
            ">do" => Self::DnssecOk,
            ">bufsize" => Self::Bufsize,
            ">rflags" => Self::Flags,
            _ => return None,
        })
    }
}

//----------- Facts ----------------------------------------------------------

/// What a line can say about one query and its reply.
pub(super) struct Facts<'a> {
    query: &'a Query<'a>,
    reply: Option<&'a Reply>,
    name: &'a Name,
    /// The server block, whose plugins publish values.
    site: Option<&'a Site>,
    took: Duration,
}

impl<'a> Facts<'a> {
    /// `reply` is `None` if the query was dropped; `name` is the client's own name in lower case.
    pub(super) fn new(query: &'a Query<'_>, reply: Option<&'a Reply>, name: &'a Name) -> Self {
        Self { query, reply, name, site: None, took: query.elapsed() }
    }

    /// Returns the same facts with what the plugins of a server block publish.
    pub(super) fn of(self, site: &'a Site) -> Self {
        Self { site: Some(site), ..self }
    }

    #[cfg(test)]
    pub(super) fn taking(mut self, took: Duration) -> Self {
        self.took = took;
        self
    }

    fn write(&self, fact: Fact, out: &mut Vec<u8>) {
        let (query, request) = (self.query, &self.query.request);
        match fact {
            Fact::Type => write_known(out, type_name(request.qtype), "TYPE", request.qtype),
            Fact::Class => write_known(out, class_name(request.qclass), "CLASS", request.qclass),
            Fact::Name => append_text(self.name, out),
            Fact::Proto => out.extend_from_slice(self.query.client.proto.name().as_bytes()),
            Fact::Size => write_number(out, self.request_size()),
            Fact::Remote => write_address(out, query.client.peer.ip()),
            Fact::Local => write_address(out, query.client.local.ip()),
            Fact::Port => write_number(out, query.client.peer.port().into()),
            Fact::Rcode => match self.reply.map(Reply::rcode) {
                Some(code) => write_known(out, rcode_name(code), "", code),
                None => out.push(b'-'),
            },
            Fact::ResponseSize => write_number(out, self.response_size()),
            Fact::Duration => write_seconds(out, self.took),
            Fact::Id => write_number(out, request.id.into()),
            Fact::Opcode => write_number(out, request.opcode().into()),
            Fact::DnssecOk => out.extend_from_slice(if query.dnssec_ok() { b"true" } else { b"false" }),
            Fact::Bufsize => write_number(out, query.room()),
            Fact::Flags => match self.reply {
                Some(reply) => self.write_flags(reply, out),
                None => out.push(b'-'),
            },
        }
    }

    /// Appends a published value. Control characters would break the line, and are shown as `?`.
    fn write_published(&self, label: &str, out: &mut Vec<u8>) {
        let Some(site) = self.site.filter(|site| site.metadata.is_some()) else { return out.push(b'-') };
        let value = match label {
            "log/class" => Some(class::classify(self.query.request.qtype, self.reply).name().into()),
            "log/type" => Some(class::kind(self.query.request.qtype, self.reply).into()),
            _ => site.metadata_of_reply(label, self.query, self.reply),
        };
        match value {
            Some(value) => out.extend(value.bytes().map(|octet| if octet.is_ascii_control() { b'?' } else { octet })),
            None => out.push(b'-'),
        }
    }

    /// Returns the facts of a JSON line.
    pub(super) fn fields(&self) -> impl Serialize {
        let (query, request) = (self.query, &self.query.request);
        let text = |fact| Text(move |out: &mut Vec<u8>| self.write(fact, out));
        Fields {
            client_ip: query.client.peer.ip().to_canonical(),
            client_port: query.client.peer.port(),
            qname: text(Fact::Name),
            qtype: text(Fact::Type),
            qclass: text(Fact::Class),
            protocol: query.client.proto.name(),
            id: request.id,
            opcode: request.opcode(),
            request_size: self.request_size(),
            dnssec_ok: query.dnssec_ok(),
            bufsize: query.room(),
            rcode: self.reply.map(|_| text(Fact::Rcode)),
            response_size: self.response_size(),
            duration_seconds: self.took.as_secs_f64(),
        }
    }

    fn request_size(&self) -> usize {
        let options = self.query.request.edns.as_ref().map_or(0, |edns| edns.options.len());
        self.query.packet().len() - options
    }

    fn response_size(&self) -> usize {
        let asked = self.query.asked().len();
        self.reply.map_or(0, |reply| HEADER + asked + 4 + reply.answer.plain_len(asked))
    }

    fn write_flags(&self, reply: &Reply, out: &mut Vec<u8>) {
        let request = &self.query.request;
        let cut = if is_cut(request, reply, self.query.limit()) { flag::TC } else { 0 };
        let flags = reply.header_flags(request.flags) | cut;
        for (bit, name) in &FLAGS {
            if flags & bit != 0 {
                name.append(out);
            }
        }
        // QR is always set, so the list ends in an extra comma.
        out.pop();
    }
}

const FLAGS: [(u16, Short<4>); 8] = [
    (flag::QR, Short::of(b"qr,")),
    (flag::AA, Short::of(b"aa,")),
    (flag::TC, Short::of(b"tc,")),
    (flag::RD, Short::of(b"rd,")),
    (flag::RA, Short::of(b"ra,")),
    (flag::Z, Short::of(b"z,")),
    (flag::AD, Short::of(b"ad,")),
    (flag::CD, Short::of(b"cd,")),
];

/// Fields in CoreDNS's order. `T` is a text that is produced when it is written.
#[derive(Serialize)]
struct Fields<T> {
    client_ip: IpAddr,
    client_port: u16,
    qname: T,
    qtype: T,
    qclass: T,
    protocol: &'static str,
    id: u16,
    opcode: u8,
    request_size: usize,
    dnssec_ok: bool,
    bufsize: usize,
    /// `null` if there was no reply.
    rcode: Option<T>,
    response_size: usize,
    duration_seconds: f64,
}

fn class_name(number: u16) -> Option<&'static str> {
    match number {
        classes::IN => Some("IN"),
        classes::CH => Some("CH"),
        4 => Some("HS"),
        254 => Some("NONE"),
        255 => Some("ANY"),
        _ => None,
    }
}
