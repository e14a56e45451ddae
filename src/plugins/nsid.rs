//! # nsid — say which server answered
//!
//! Adds an identifier of this server to replies whose query asks for it (RFC 5001): `dig +nsid`
//! shows it.
//!
//! ## Syntax
//!
//! ```text
//! nsid [DATA...]
//! ```
//!
//! DATA is the identifier; several words are joined with spaces. The default is the name of the
//! host, which in a cluster is the name of the Pod.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     nsid "node 7"
//!     whoami
//! }
//! ```

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Turn};
use crate::error::Result;
use crate::host;

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "nsid", setup, doc: doc_of!("nsid.rs"), options: &[] };

/// The option's code (RFC 5001 section 2.3).
const NSID: u16 = 3;

struct Nsid(Vec<u8>);

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let mut data = host::name();
    while cursor.only_occurrence()? {
        let args: Vec<&str> = cursor.args().iter().map(|word| word.as_str()).collect();
        if !args.is_empty() {
            data = args.join(" ");
        }
    }
    s.chain(Nsid(data.into_bytes()));
    Ok(())
}

impl Plugin for Nsid {
    fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, _: &Here<'_>) -> Turn {
        if query.request.options(query.packet()).any(|option| option.code == NSID) {
            reply.add_option(NSID, &self.0);
        }
        Turn::Up
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, packet};
    use crate::wire::write::Writer;

    /// Returns the OPT options of the reply to a query with these options.
    fn options(server: &Server, options: &[u8]) -> Vec<u8> {
        let mut packet = packet("a.example.", "A");
        let at = packet.len() - 2;
        packet[at..].copy_from_slice(&(options.len() as u16).to_be_bytes());
        packet.extend_from_slice(options);
        let (query, reply) = server.outcome(&packet, "10.0.0.1:53".parse().expect("an address")).expect("a reply");
        let mut out = Vec::new();
        Writer::default().reply(&packet, &query.request, &reply, query.limit(), &mut out);
        let opt = out.windows(3).rposition(|three| three == [0, 0, 41]).expect("an OPT");
        out[opt + 11..].to_vec()
    }

    #[test]
    fn only_clients_that_ask_get_the_identifier() {
        let server = Server::new(". {\nnsid node 7\nwhoami\n}\n");
        let cookie = b"\0\x0a\0\x0812345678";
        assert_eq!(options(&server, b""), b"");
        assert_eq!(options(&server, cookie), b"");
        assert_eq!(options(&server, &[cookie.as_slice(), b"\0\x03\0\0"].concat()), b"\0\x03\0\x06node 7");
        let server = Server::new(". {\nnsid\nwhoami\n}\n");
        assert!(options(&server, b"\0\x03\0\0").len() > 4);
    }
}
