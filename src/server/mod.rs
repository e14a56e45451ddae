//! Sockets and everything around them: workers, publishing, reload, signals, the end.
//!
//! - [`run`], [`signals`]: the life of the process, and what it obeys
//! - [`check`]: what `-validate` does
//! - [`load`], [`reload`]: reading the Corefile; one attempt to make a configuration of it
//! - [`publish`]: a configuration goes live, or nothing has happened
//! - [`worker`], [`udp`], [`stream`]: the loops
//! - [`shifts`], [`waiting`]: who may use a worker's time, and its places for queries that wait
//! - [`bind`], [`sys`]: sockets

mod bind;
pub mod check;
pub mod load;
pub mod publish;
mod reload;
pub mod run;
mod shifts;
mod signals;
mod stream;
mod sys;
mod udp;
mod waiting;
mod worker;
