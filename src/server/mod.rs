//! Sockets and everything around them: workers, publishing, reload, signals, the end.
//!
//! - [`run`], [`signals`]: the life of the process, and the signals that it handles
//! - [`check`]: what `-validate` does
//! - [`load`], [`reload`]: reading the Corefile; one attempt to make a configuration of it
//! - [`publish`]: makes a configuration live, or changes nothing
//! - [`worker`], [`udp`], [`stream`]: the loops
//! - [`clients`], [`intake`], [`waiting`], [`shifts`]: how a worker's time and its places for
//!   waiting queries are shared
//! - [`bind`], [`sys`]: sockets

mod bind;
pub mod check;
mod clients;
mod intake;
pub mod load;
pub mod publish;
mod reload;
pub mod run;
mod shifts;
mod signals;
mod stream;
mod sys;
#[cfg(test)]
mod sys_tests;
mod udp;
mod waiting;
mod worker;
