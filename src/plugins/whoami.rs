//! # whoami — tell the client how it is seen
//!
//! Answers any name with the client's address and port: an A or AAAA record for the name, and an
//! SRV record for `_udp.NAME` or `_tcp.NAME` with the port that the query came from. Both stand in
//! the additional section and have a TTL of 0.
//!
//! ## Syntax
//!
//! ```text
//! whoami
//! ```
//!
//! ## Examples
//!
//! ```corefile
//! example.org {
//!     whoami
//! }
//! ```

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Proto, Query, Reply, Step};
use crate::error::Result;
use crate::wire::answer::{Section, scratch};
use crate::wire::encode::{Encoder, Owner, Tail};
use crate::wire::name::MAX_NAME;
use crate::wire::request::flag;
use crate::wire::types::{class, rtype};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "whoami", setup, doc: doc_of!("whoami.rs"), options: &[] };

struct Whoami;

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    cursor.next_occurrence();
    cursor.expect_no_arg()?;
    s.chain(Whoami);
    Ok(())
}

impl Plugin for Whoami {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        let (asked, client) = (query.asked().len(), query.client);
        let label: &[u8] = if client.proto == Proto::Tcp { b"\x04_tcp" } else { b"\x04_udp" };
        let answer = scratch(asked, |answer| {
            let mut encoder = Encoder::new(answer);
            encoder.flags(flag::AA);
            // The client's address is the same in every class.
            encoder.class(if query.question.qclass == class::ANY { class::IN } else { query.question.qclass });
            encoder.address(Section::Additional, Owner::ASKED, 0, client.peer.ip().to_canonical());
            if label.len() + asked <= MAX_NAME {
                encoder.record(Section::Additional, Owner::new(label, Tail::Asked), rtype::SRV, 0, |e| {
                    // Priority and weight 0; the target is the root.
                    e.put(&[0; 4]);
                    e.put(&client.peer.port().to_be_bytes());
                    e.put(&[0]);
                });
            }
        });
        Step::Answer(Reply::memory(answer))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, packet};
    use crate::wire::write::Writer;
    use hickory_proto::op::Message;

    #[test]
    fn both_records_name_the_client() {
        let server = Server::new(". {\nwhoami\n}\n");
        let message = server.ask("Example.ORG.", "A").expect("a reply");
        let text: Vec<String> = message.additionals.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["Example.ORG. 0 IN A 127.0.0.1", "_udp.Example.ORG. 0 IN SRV 0 0 5353 ."]);
        assert!(message.answers.is_empty() && message.metadata.authoritative);
    }

    #[test]
    fn addresses_of_both_families_and_names_of_any_length() {
        let server = Server::new(". {\nwhoami\n}\n");
        let long = "a23456789.".repeat(25);
        for (peer, name, records) in
            [("[2001:db8::7]:9", ".", 2), ("[::ffff:10.0.0.7]:9", "a.", 2), ("10.0.0.7:9", long.as_str(), 1)]
        {
            let packet = packet(name, "TXT");
            let (query, reply) = server.outcome(&packet, peer.parse().expect("an address")).expect("a reply");
            let mut out = Vec::new();
            Writer::default().reply(&packet, &query.request, &reply, query.limit(), &mut out);
            let message = Message::from_vec(&out).expect("a message");
            assert_eq!(message.additionals.len(), records, "{message:?}");
            let kind = if peer.contains("db8") { "AAAA" } else { "A" };
            assert_eq!(message.additionals[0].record_type().to_string(), kind);
        }
    }
}
