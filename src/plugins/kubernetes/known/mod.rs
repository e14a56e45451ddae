//! What is known of the cluster: slim objects, the index that answers read, and the store that
//! alone writes it.
//!
//! Nothing here knows where objects come from or what is asked. What changes a table or the index
//! ([`shards`], [`addresses`], [`index`]) is visible in this folder only, so that reading and
//! answers cannot write: changes go through [`store`].

pub mod addresses;
pub mod endpoints;
pub mod index;
pub mod label;
pub mod model;
pub mod shards;
pub mod store;
pub mod troubles;
