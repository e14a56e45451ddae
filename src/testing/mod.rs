//! For unit tests: a whole server without sockets, built from the text of a Corefile.

#[path = "../../tests/kit/mod.rs"]
pub(crate) mod kit;
pub(crate) mod live;
#[path = "../../tests/support/tls.rs"]
pub(crate) mod tls;
#[path = "../../tests/support/upstream.rs"]
pub(crate) mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::op::Message;

use crate::chain::build::Configuration;
use crate::chain::setup::Registration;
use crate::chain::{Client, Query, Reply};
use crate::error::Result;
use crate::host::Host;
use crate::host::clock::Clock;
use crate::plugins;
use crate::wire::name::Name;
use crate::wire::question::{Opt, Question};
use crate::wire::request::flag;
use crate::wire::types::type_number;

use self::kit::built::built;
pub(crate) use self::kit::kept;
use self::kit::message::client;

/// A configuration and the process it runs in.
pub(crate) struct Server {
    pub(crate) host: Arc<Host>,
    pub(crate) configuration: Configuration,
}

impl Server {
    /// Builds the Corefile `text`.
    pub(crate) fn new(text: &str) -> Self {
        Self::try_new(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// Builds the Corefile `text`.
    pub(crate) fn try_new(text: &str) -> Result<Self> {
        Self::with_plugins(plugins::ALL, text)
    }

    /// Builds the Corefile `text` with these plugins.
    pub(crate) fn with_plugins(plugins: &[Registration], text: &str) -> Result<Self> {
        // Tests move the clock, so nothing depends on how busy the machine is.
        let host = Arc::new(Host { clock: Clock::stopped(), ..Host::default() });
        let configuration = built(text, plugins, &host)?;
        Ok(Self { host, configuration })
    }

    /// Builds a server block with these lines. Returns the first line of the error, or an empty
    /// text if there is none.
    pub(crate) fn refusal(lines: &str) -> String {
        let error = Self::try_new(&format!(".:1053 {{\n{lines}\n}}\n")).err();
        error.and_then(|error| error.to_string().lines().next().map(str::to_owned)).unwrap_or_default()
    }

    /// Asks the first listener over UDP, with EDNS. Returns `None` if there is no reply.
    pub(crate) fn ask(&self, name: &str, qtype: &str) -> Option<Message> {
        let packet = packet(name, qtype);
        let (query, reply) = self.outcome(&packet, client().peer)?;
        Some(kept::read(&packet, &query, &reply))
    }

    /// Returns the reply to a packet before it is written.
    pub(crate) fn outcome(&self, packet: &[u8], peer: SocketAddr) -> Option<(Query<'static>, Reply)> {
        let client = Client { peer, ..client() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(kept::reply(packet, client, &self.configuration.listeners[0]))
    }
}

/// Makes a query with RD and an OPT of 1232 octets.
pub(crate) fn packet(name: &str, qtype: &str) -> Vec<u8> {
    let name = Name::from_text(name).expect("a name");
    Question::new(name, type_number(qtype).expect("a type")).query(0x1234, flag::RD, Some(Opt::of_size(1232)))
}
