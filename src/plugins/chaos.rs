//! # chaos — tell version, authors and host in class CH
//!
//! Answers TXT questions of class CH: `version.bind` and `version.server` with the version,
//! `authors.bind` with the authors, `hostname.bind` and `id.server` with the name of the host,
//! which in a cluster is the name of the Pod. All have a TTL of 0.
//!
//! ## Syntax
//!
//! ```text
//! chaos [VERSION] [AUTHORS...]
//! ```
//!
//! - **VERSION** defaults to the version of CoreDNS in the first line of `signpost -version`.
//! - **AUTHORS** are sorted, without duplicates. Without AUTHORS, `authors.bind` has no records.
//!
//! Texts are cut after 255 octets. Other questions go to the next plugin. With this plugin the
//! server accepts questions of other classes than IN on all listeners of the server block.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     chaos "internal 7" "The Platform Team"
//!     whoami
//! }
//! ```
//!
//! `dig @10.96.0.10 CH TXT hostname.bind` tells which Pod answers.

use std::sync::Arc;

use crate::chain::doc::doc_of;
use crate::chain::options::unknown_property;
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Step};
use crate::error::Result;
use crate::host;
use crate::wire::answer::{Answer, Section};
use crate::wire::encode::{Encoder, Owner};
use crate::wire::name::Name;
use crate::wire::types::{class, rtype};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "chaos", setup, doc: doc_of!("chaos.rs"), options: &[] };

/// Maximum length of a text in octets (RFC 1035 section 3.3).
const MAX_TEXT: usize = 255;

struct Chaos {
    version: Arc<Answer>,
    authors: Arc<Answer>,
    host: Arc<Answer>,
}

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    // The first one counts, as in CoreDNS.
    cursor.next_occurrence();
    let args: Vec<&str> = cursor.args().iter().map(|word| word.as_str()).collect();
    if cursor.next_option() {
        return Err(cursor.unknown(cursor.word(), unknown_property(cursor.word()), &[]));
    }
    let coredns = format!("CoreDNS-{}", host::COREDNS);
    let (version, authors) = args.split_first().map_or((&*coredns, [].as_slice()), |(version, rest)| (*version, rest));
    let mut authors = authors.to_vec();
    authors.sort_unstable();
    authors.dedup();
    s.chain(Chaos { version: texts(&[version]), authors: texts(&authors), host: texts(&[&host::name()]) });
    Ok(())
}

/// Builds a TXT record of class CH for each text.
fn texts(texts: &[&str]) -> Arc<Answer> {
    Arc::new(Encoder::build(0, |e| {
        e.class(class::CH);
        for text in texts {
            let text = &text.as_bytes()[..text.len().min(MAX_TEXT)];
            e.record(Section::Answer, Owner::ASKED, rtype::TXT, 0, |e| {
                e.put(&[text.len() as u8]);
                e.put(text);
            });
        }
    }))
}

impl Plugin for Chaos {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        if query.question.qclass != class::CH || query.question.qtype != rtype::TXT {
            return Step::Next;
        }
        match self.answer(&query.question.name) {
            Some(answer) => Step::Answer(Reply::memory(answer.clone())),
            None => Step::Next,
        }
    }

    fn takes_any_class(&self) -> bool {
        true
    }
}

impl Chaos {
    fn answer(&self, name: &Name) -> Option<&Arc<Answer>> {
        match name.wire() {
            b"\x07version\x04bind\0" | b"\x07version\x06server\0" => Some(&self.version),
            b"\x07authors\x04bind\0" => Some(&self.authors),
            b"\x08hostname\x04bind\0" | b"\x02id\x06server\0" => Some(&self.host),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, packet};
    use crate::wire::write::Writer;
    use hickory_proto::op::Message;

    fn ask(server: &Server, name: &str) -> Vec<String> {
        let mut packet = packet(name, "TXT");
        let class = packet.len() - 12;
        packet[class] = 3;
        let (query, reply) = server.outcome(&packet, "10.0.0.1:53".parse().expect("an address")).expect("a reply");
        let mut out = Vec::new();
        Writer::default().reply(&packet, &query.request, &reply, query.limit(), &mut out);
        Message::from_vec(&out).expect("a message").answers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_of_class_chaos() {
        let long = "x".repeat(300);
        let server = Server::new(&format!(". {{\nchaos v7 b a a {long}\n}}\n"));
        assert_eq!(ask(&server, "Version.Bind."), ["Version.Bind. 0 CH TXT v7"]);
        assert_eq!(ask(&server, "version.server."), ["version.server. 0 CH TXT v7"]);
        let cut = format!("authors.bind. 0 CH TXT {}", &long[..255]);
        assert_eq!(ask(&server, "authors.bind."), ["authors.bind. 0 CH TXT a", "authors.bind. 0 CH TXT b", &cut]);
        assert_eq!(ask(&server, "id.server."), [format!("id.server. 0 CH TXT {}", crate::host::name())]);
        assert!(ask(&server, "other.bind.").is_empty());
        let plain = Server::new(". {\nchaos\n}\n");
        assert_eq!(ask(&plain, "version.bind."), ["version.bind. 0 CH TXT CoreDNS-1.15.0"]);
        assert!(ask(&plain, "authors.bind.").is_empty());
    }
}
