//! Bytes and their meaning: names, questions, OPT, ready-made answers and how they become replies.
//!
//! Pure code: no clock, no sockets, no use of other modules. It runs for every query, so it
//! allocates nothing for an answer that is in memory.
//!
//! - [`grpc`]: a message in a call or a response of gRPC
//! - [`name`]: a domain name in wire form, inline
//! - [`request`]: header, question and OPT of a query, read in place
//! - [`adopt`]: copies the records of one answer into another
//! - [`answer`]: everything after the question, encoded once and shared
//! - [`encode`]: builds an [`Answer`](answer::Answer) record by record
//! - [`option`]: the options of an OPT
//! - [`packed`]: answers to be kept, in a few octets side by side
//! - [`presentation`]: one record as a line of a zone file
//! - [`protobuf`]: fields of protobuf, read and written
//! - [`proxy`]: the header of the PROXY protocol
//! - [`question`]: a question, and the message that asks it
//! - [`records`]: the records of a message, without compression
//! - [`redirect`]: follows another alias than an answer did
//! - [`relay`]: an upstream's reply as an [`Answer`](answer::Answer)
//! - [`rename`]: rewrites an answer with other names
//! - [`reply`]: an answer on its way up the chain, with the cheap changes made to it
//! - [`mod@reverse`]: the address that a reverse name represents
//! - [`seen`]: what an answer already contains
//! - [`soa`]: the SOA record of a zone, alone or in a denial
//! - [`text`]: a domain name as text
//! - [`translate`]: answers with IPv6 addresses that represent IPv4 addresses
//! - [`tsig`]: signatures of messages
//! - [`mod@write`]: copies an answer into a reply, behind the client's question

pub mod adopt;
pub mod answer;
pub mod encode;
pub mod grpc;
pub mod name;
pub mod option;
pub mod packed;
pub mod presentation;
pub mod protobuf;
pub mod proxy;
pub mod question;
pub mod records;
pub mod redirect;
pub mod relay;
pub mod rename;
pub mod reply;
pub mod request;
pub mod reverse;
pub mod seen;
pub mod select;
pub mod soa;
pub mod text;
pub mod translate;
pub mod tsig;
pub mod types;
pub mod write;
