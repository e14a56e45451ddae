//! Sockets and everything around them: workers, publishing, reload, signals, the end.
//!
//! - [`run`]: the life of the process
//! - [`check`]: what `-validate` does
//! - [`load`]: reading the Corefile
//! - [`publish`]: a configuration goes live, or nothing has happened
//! - [`worker`], [`udp`], [`stream`]: the loops
//! - [`turns`], [`waiting`]: who may use a worker's time, and its places for queries that wait
//! - [`bind`], [`sys`]: sockets

mod bind;
pub mod check;
pub mod load;
pub mod publish;
pub mod run;
mod stream;
mod sys;
mod turns;
mod udp;
mod waiting;
mod worker;
