//! The chain: plugins see the query on the way down and the reply on the way up.
//!
//! - [`query`]: the query that walks down
//! - [`plugin`]: what a plugin is
//! - [`serve`]: from a packet to its reply, the same for every transport
//! - [`listener`]: all server blocks of one address and port, and the choice of the block for a
//!   question
//! - [`walk`]: down, up, waiting, and asking again
//! - [`address`]: where a server block is served
//! - [`site`]: a server block's chain on one listener, and which queries the block takes
//! - [`metadata`]: values about a query, from plugins that publish them to those that read them
//! - [`expression`]: expressions in a Corefile, and what they can ask about a query
//! - [`search`]: search lists of clients, from the plugin that knows them to the one that walks
//!   them
//! - [`target`]: the target of an alias, and what its failure means
//! - [`authority`]: how a zone answers a query
//! - [`proxies`]: proxies in front of a listener, which say where their clients are
//! - [`timeouts`]: how long clients of connections may take
//! - [`external`]: services as reached from outside, from the plugin that knows them to the one
//!   that names them
//! - [`transfer`]: zones, from the plugins that have them to the one that transfers them
//! - [`per_listener`]: what a plugin keeps once for each listener
//! - [`control`]: the control runtime, as plugins reach it
//! - [`probes`]: readiness, which plugins are asked and what they report
//! - `draft`: what the plugins of a Corefile have asked for while it is built
//! - [`setup`]: the only interface between a plugin and everything else while a Corefile is built
//! - [`places`]: work that is not done at once, shared fairly by clients
//! - `between`, `offers`: what the plugins of a block offer to each other
//! - [`options`]: the options of a plugin's block as data
//! - [`doc`]: the parts of a plugin's manual
//! - [`zones`]: zones and `fallthrough`, as every plugin reads them
//! - [`build`]: builds a configuration from a Corefile and changes nothing outside of it

pub mod address;
pub mod authority;
mod between;
pub mod build;
pub mod caps;
pub mod control;
pub mod doc;
mod draft;
pub mod expression;
pub mod external;
pub mod listener;
pub mod metadata;
mod offers;
pub mod options;
pub mod per_listener;
pub mod places;
pub mod plugin;
pub mod probes;
pub mod proxies;
pub mod query;
pub mod search;
pub mod secure;
pub mod serve;
pub mod setup;
pub mod signing;
pub mod site;
pub mod target;
pub mod timeouts;
pub mod transfer;
pub mod walk;
pub mod zones;

pub use crate::wire::reply::{More, Reply};
pub use plugin::{Here, Later, Plugin, Step, Turn};
pub use query::{Aside, Client, Proto, Query};
pub use walk::{Outcome, Pending};
