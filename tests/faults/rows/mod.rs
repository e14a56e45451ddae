//! All rows, by kind of fault. Their numbers are those of the project's first fault table.

mod clients;
mod config;
mod floods;
mod forged;
mod kept;
mod lossy;
mod overload;
mod pages;
mod process;
mod real;
mod replies;
mod secret;
mod silent;
mod snapshot;
mod streams;

use super::row::Row;

/// All rows, in the order of the table.
pub(crate) const ALL: &[&[Row]] = &[
    snapshot::ROWS,
    silent::ROWS,
    lossy::ROWS,
    replies::ROWS,
    streams::ROWS,
    secret::ROWS,
    config::ROWS,
    forged::ROWS,
    kept::ROWS,
    floods::ROWS,
    overload::ROWS,
    pages::ROWS,
    process::ROWS,
    real::ROWS,
    clients::ROWS,
];
