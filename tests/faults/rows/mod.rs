//! All rows, by what goes wrong. Numbers are those of the fault table that the project set out with.

mod lossy;
mod replies;
mod silent;
mod streams;

use super::row::Row;

/// All rows, in the order of the table.
pub(crate) const ALL: &[&[Row]] = &[silent::ROWS, lossy::ROWS, replies::ROWS, streams::ROWS];
