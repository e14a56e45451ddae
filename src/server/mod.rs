//! Sockets and everything around them: workers, publishing, reload, signals, the end.
//!
//! - [`run`]: the life of the process
//! - [`check`]: what `-validate` does
//! - [`load`]: reading the Corefile
//! - [`publish`]: a configuration goes live, or nothing has happened
//! - [`worker`], [`udp`], [`stream`]: the loops
//! - [`bind`], [`sys`]: sockets

mod bind;
pub mod check;
pub mod load;
pub mod publish;
pub mod run;
mod stream;
mod sys;
mod udp;
mod worker;
