//! The scale bed: the servers that a measured server needs or is compared with, at almost no cost
//! of their own, for benches/scale.py and benches/peers/.
//!
//!     scale-bed ADDRESS:PORT 5000|500|small|names        the API server of a large cluster
//!     scale-bed floor ADDRESS:PORT NAME IPV4 [RECORDS]   the bare UDP loop: ../echo.rs
//!
//! The API server has Namespaces, Services, EndpointSlices and Pods by list (`limit`, `continue`),
//! streaming list and watch, in protobuf if that is accepted and otherwise in JSON, over plain
//! HTTP/1.1. On command slices change, and every watch expires. Commands: control.rs. UDP of the
//! same port is the world outside of the cluster: ../outside.rs.

mod bed;
mod control;
#[path = "../echo.rs"]
mod echo;
#[path = "../outside.rs"]
mod outside;
#[path = "../../tests/support/protobuf.rs"]
mod protobuf;
mod serve;
mod set;
mod template;

use std::net::{TcpListener, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> std::io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("floor", rest)) = arguments.split_first().map(|(word, rest)| (word.as_str(), rest)) {
        return echo::run(rest).map(|()| ExitCode::SUCCESS);
    }
    let size = arguments.get(1).and_then(|name| set::Size::named(name));
    let (Some(address), Some(size)) = (arguments.first(), size) else {
        eprintln!("usage: scale-bed ADDRESS:PORT 5000|500|small|names");
        return Ok(ExitCode::from(2));
    };
    let listener = TcpListener::bind(address)?;
    let socket = UdpSocket::bind(listener.local_addr()?)?;
    std::thread::spawn(move || outside::serve(&socket));
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
