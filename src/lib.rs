//! Signpost
