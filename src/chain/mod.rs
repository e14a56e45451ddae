//! The chain: plugins asked on the way down, seeing the reply on the way up.
//!
//! - [`query`]: what travels down
//! - [`plugin`]: what a plugin is
//! - [`serve`]: from a packet to its reply, the same for every transport
//! - [`listener`]: all server blocks of one address and port, and how a question finds its block
//! - [`walk`]: down, up, waiting, and asking again
//! - [`place`]: where a server block is served
//! - [`site`]: a server block's chain on one listener
//! - [`search`]: search lists of clients, from the plugin that knows them to the one that walks them
//! - [`target`]: the target of an alias, and what its failure means
//! - [`external`]: services as they are reached from outside, from the plugin that knows them to the one that names them
//! - [`per_listener`]: what a plugin keeps once for each listener
//! - [`control`]: the control runtime, as plugins reach it from queries
//! - [`probes`]: readiness, which plugins are asked and what they say
//! - [`setup`]: the only door between a plugin and everything else while a Corefile is built
//! - [`options`]: the options of a plugin's block as data
//! - [`doc`]: what a plugin has for its manual
//! - [`zones`]: zones and `fallthrough`, as every plugin reads them
//! - [`build`]: a Corefile becomes a configuration, with nothing changed outside of it

pub mod build;
pub mod control;
pub mod doc;
pub mod external;
pub mod listener;
pub mod options;
pub mod per_listener;
pub mod place;
pub mod plugin;
pub mod probes;
pub mod query;
pub mod search;
pub mod secure;
pub mod serve;
pub mod setup;
pub mod site;
pub mod target;
pub mod walk;
pub mod zones;

pub use crate::wire::reply::Reply;
pub use plugin::{Here, Later, Plugin, Step, Turn};
pub use query::{Aside, Client, Proto, Query};
pub use walk::{Outcome, Pending};
