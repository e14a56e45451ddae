//! The scale bed: an API server of a large cluster with almost no cost of its own, for
//! benches/scale.py.
//!
//!     scale-bed ADDRESS:PORT 5000|500|small
//!
//! It serves Namespaces, Services, EndpointSlices and Pods by list (`limit`, `continue`), streaming
//! list and watch, in protobuf if that is accepted and otherwise in JSON, over plain HTTP/1.1. On
//! command slices change, and every watch expires. Commands: control.rs.

mod bed;
mod control;
#[path = "../../tests/support/protobuf.rs"]
mod protobuf;
mod serve;
mod set;
mod template;

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> std::io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let size = arguments.get(1).and_then(|name| set::Size::named(name));
    let (Some(address), Some(size)) = (arguments.first(), size) else {
        eprintln!("usage: scale-bed ADDRESS:PORT 5000|500|small");
        return Ok(ExitCode::from(2));
    };
    let listener = TcpListener::bind(address)?;
    println!("{}", listener.local_addr()?);
    let bed = Arc::new(bed::Bed::new(size));
    let churning = bed.clone();
    std::thread::spawn(move || churning.churn());
    for stream in listener.incoming().flatten() {
        let bed = bed.clone();
        // A client may close at any time.
        std::thread::spawn(move || drop(serve::serve(&bed, stream)));
    }
    Ok(ExitCode::SUCCESS)
}
