//! kubernetes
pub mod decode;
pub mod feed;
pub mod index;
pub mod manifests;
pub mod model;
pub mod selector;
pub mod shards;
pub mod source;
pub mod store;
pub mod watch;
