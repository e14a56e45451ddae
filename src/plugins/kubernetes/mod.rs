//! kubernetes
pub mod index;
pub mod model;
pub mod shards;
pub mod store;
