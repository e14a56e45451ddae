//! The chain: plugins see the query on the way down and the reply on the way up.
//!
//! - [`query`]: the query that walks down
//! - [`plugin`]: what a plugin is
//! - [`serve`]: from a packet to its reply, the same for every transport
//! - [`listener`]: all server blocks of one address and port, and the choice of the block for a
//!   question
//! - [`walk`]: down, up, waiting, and asking again
//! - [`address`]: where a server block is served
//! - [`site`]: a server block's chain on one listener
//! - [`search`]: search lists of clients, from the plugin that knows them to the one that walks
//!   them
//! - [`target`]: the target of an alias, and what its failure means
//! - [`timeouts`]: how long clients of connections may take
//! - [`external`]: services as reached from outside, from the plugin that knows them to the one
//!   that names them
//! - [`per_listener`]: what a plugin keeps once for each listener
//! - [`control`]: the control runtime, as plugins reach it
//! - [`probes`]: readiness, which plugins are asked and what they report
//! - [`setup`]: the only interface between a plugin and everything else while a Corefile is built
//! - [`options`]: the options of a plugin's block as data
//! - [`doc`]: the parts of a plugin's manual
//! - [`zones`]: zones and `fallthrough`, as every plugin reads them
//! - [`build`]: builds a configuration from a Corefile and changes nothing outside of it

pub mod address;
pub mod build;
pub mod control;
pub mod doc;
pub mod external;
pub mod listener;
pub mod options;
pub mod per_listener;
pub mod plugin;
pub mod probes;
pub mod query;
pub mod search;
pub mod secure;
pub mod serve;
pub mod setup;
pub mod site;
pub mod target;
pub mod timeouts;
pub mod walk;
pub mod zones;

pub use crate::wire::reply::Reply;
pub use plugin::{Here, Later, Plugin, Step, Turn};
pub use query::{Aside, Client, Proto, Query};
pub use walk::{Outcome, Pending};
