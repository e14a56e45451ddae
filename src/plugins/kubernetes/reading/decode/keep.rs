//! Which parts of objects are kept.

/// What is kept of objects, as the options of the plugin say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Endpoints without a hostname are named after their pods.
    pub endpoint_pod_names: bool,
    /// Topology zones of endpoints are kept.
    pub zonal: bool,
    /// The addresses under which Services are reached from outside are kept.
    pub external: bool,
}
