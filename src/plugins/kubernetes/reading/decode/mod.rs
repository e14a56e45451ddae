//! Kubernetes objects as they come over the wire or out of a manifest, trimmed to the model while
//! they are read.
//!
//! A field that we do not know is skipped without a copy. What is wrong with an object costs as
//! little as possible: one unusable address costs that address, a field of the wrong type costs the
//! object, and neither costs another object.

mod keep;
mod metadata;
mod parts;
mod pods;
mod services;
mod slices;

use serde::Deserialize;
use serde::de::Deserializer;

pub use self::keep::Keep;
use self::metadata::Bare;
use self::pods::RawPod;
use self::slices::RawSlice;
use crate::plugins::kubernetes::known::model::{Kind, News, Object, ObjectKey};

/// An object that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// How it changes what is known.
    pub news: News,
    /// What is wrong with it, where something had to be left out.
    pub flaw: Option<String>,
    /// Its resourceVersion; empty in manifests.
    pub version: Box<str>,
}

/// The metadata that every object has.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it is.
    pub key: ObjectKey,
    /// Its resourceVersion.
    pub version: Box<str>,
    /// Whether it is the bookmark that ends the initial events of a streaming list.
    pub ends_initial_events: bool,
}

/// Reads an object of `kind`.
///
/// # Errors
/// When it has no name, or a field that matters has the wrong type.
pub fn decode<'de, D: Deserializer<'de>>(kind: Kind, from: D, keep: Keep) -> Result<Decoded, D::Error> {
    let mut flaw = None;
    let is = |(service, version)| (News::Is(Object::Service(service)), version);
    let (news, version) = match kind {
        Kind::Namespace => {
            let Bare { metadata } = Bare::deserialize(from)?;
            let (key, version) = metadata.identify()?;
            (News::Is(Object::Namespace(key.name)), version)
        }
        Kind::Service if keep.external => is(services::exposed(from, &mut flaw)?),
        Kind::Service => is(services::service(from, &mut flaw)?),
        Kind::Import => is(services::import(from, &mut flaw)?),
        Kind::Slice | Kind::ImportSlice => {
            let (slice, version) =
                slices::slice(RawSlice::deserialize(from)?, kind == Kind::ImportSlice, keep, &mut flaw)?;
            (News::Is(Object::Slice(slice)), version)
        }
        Kind::Pod => pods::pod(RawPod::deserialize(from)?, &mut flaw)?,
    };
    Ok(Decoded { news, flaw, version })
}

/// Reads the metadata of an object of any kind and nothing else.
///
/// # Errors
/// When that has the wrong shape.
pub fn identify<'de, D: Deserializer<'de>>(from: D) -> Result<Identity, D::Error> {
    let Bare { metadata } = Bare::deserialize(from)?;
    let annotations = metadata.annotations.unwrap_or_default();
    Ok(Identity {
        key: ObjectKey { namespace: metadata.namespace.unwrap_or_default(), name: metadata.name.unwrap_or_default() },
        version: metadata.resource_version.unwrap_or_default(),
        ends_initial_events: annotations.initial_events_end.as_deref() == Some("true"),
    })
}

#[cfg(test)]
mod tests;
