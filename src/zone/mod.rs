//! Zone data: read from a file, held, and looked up. Knows no plugin and no Corefile.
//!
//! ```text
//! lines -> read -> Builder -> Zone -> find -> answer
//!            ^ scan, rare, generate     ^ LiveZone holds the current one
//! ```
//!
//! - `lines`: the logical lines of a zone file
//! - [`read`]: a zone file as records, with its directives and includes
//! - `generate`: `$GENERATE`
//! - `scan`, `rare`, `places`: the data of one record; the crate `domain` reads most types
//! - [`data`]: a zone in memory, and how records become one
//! - `names`, `order`: names in files, and their canonical order
//! - [`ready`]: an answer that is kept
//! - `find`: which node decides about a name (RFC 1034 section 4.3.2)
//! - [`answer`]: answers, made once and kept
//! - `compose`: writes the records of an answer
//! - [`live`]: a zone that is replaced as a whole when its file changes
//! - [`incoming`], [`outgoing`]: transfers, from a primary and to a secondary
//! - [`text`]: records as lines of a file
//! - [`table`]: zones by their names

pub mod answer;
mod compose;
pub mod data;
mod find;
mod generate;
pub mod incoming;
mod lines;
pub mod live;
mod names;
mod order;
pub mod outgoing;
mod places;
mod rare;
pub mod read;
pub mod ready;
mod scan;
pub mod table;
#[cfg(test)]
mod tests;
pub mod text;
