//! kubernetes
pub mod index;
pub mod model;
pub mod name;
pub mod reverse;
pub mod shards;
pub mod store;
