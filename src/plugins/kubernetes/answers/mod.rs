//! What is answered: a name is read, looked up in the index, and its records are found or encoded.
//!
//! [`name`] says what a name asks for, and `lookup` has the one `match` that decides what there is
//! for it, with `srv`, `ptr` and `apex` for the records of their types, `selection` for the
//! endpoints that a name selects, and `memo` for answers that were encoded for one question.
//! [`zone`] encodes what says no. [`alias`] follows ExternalNames. [`search`], [`external`] and
//! [`published`] answer other plugins: `autopath`, `k8s_external`, and those that read metadata.
//! [`transfer`] makes a whole zone.

pub(crate) mod alias;
pub(crate) mod apex;
pub(crate) mod external;
pub mod found;
mod lookup;
mod memo;
pub mod name;
pub mod options;
pub(crate) mod patience;
mod ptr;
pub(crate) mod published;
pub(crate) mod search;
mod selection;
mod srv;
pub(crate) mod transfer;
pub mod view;
pub mod zone;
