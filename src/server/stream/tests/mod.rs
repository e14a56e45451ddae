//! A worker whose connections the tests hold the other end of, with a clock that they control.

mod limits;
pub(super) mod several;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::sleep;

use super::carrier::Carrier;
use super::connections::Connections;
use super::session::Session;
use crate::chain::{Client, Proto};
use crate::server::shifts::Shifts;
use crate::server::worker::{Live, Local, Shared};
use crate::testing::{self, packet};

/// Octets that the "kernel" between client and server holds.
pub(super) const KERNEL: usize = 8 << 10;

impl Carrier for DuplexStream {
    const KEEPS: usize = 0;

    fn abort(&self) {}
}

/// How a session is served.
pub(super) type Run = fn(Session, DuplexStream) -> Pin<Box<dyn Future<Output = ()>>>;

/// A worker that answers `big.test. TXT` with 20,000 octets, forwards `wait.test.` to an upstream
/// that does not answer, and refuses everything else.
pub(super) struct Worker {
    pub(super) local: Rc<Local>,
    _server: testing::Server,
    _silent: std::net::UdpSocket,
}

impl Worker {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Shared)) -> Self {
        Self::with_shifts(Shifts::default(), change)
    }

    pub(super) fn with_shifts(shifts: Shifts, change: impl FnOnce(&mut Shared)) -> Self {
        Self::configured("", shifts, change)
    }

    /// `lines` stand in the first server block.
    pub(super) fn configured(lines: &str, shifts: Shifts, change: impl FnOnce(&mut Shared)) -> Self {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
        let texts = format!(" \"{}\"", "x".repeat(250)).repeat(80);
        let server = testing::Server::new(&format!(
            "big.test {{\n{lines}\n template IN TXT {{\n answer \"{{{{ .Name }}}} 60 IN TXT{}\"\n }}\n}}\n\
             wait.test {{\n forward . {}\n}}\n",
            texts.replace('"', "\\\""),
            silent.local_addr().expect("bound")
        ));
        Self::of(server, silent, shifts, change)
    }

    /// A worker that serves something else.
    pub(super) fn serving(server: testing::Server) -> Self {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
        Self::of(server, silent, Shifts::default(), |_| {})
    }

    fn of(
        server: testing::Server,
        silent: std::net::UdpSocket,
        shifts: Shifts,
        change: impl FnOnce(&mut Shared),
    ) -> Self {
        let mut shared = Shared::new(&Arc::default(), 1);
        change(&mut shared);
        let listeners: Vec<_> = server.configuration.listeners.iter().cloned().map(Some).collect();
        let addresses = listeners.iter().map(|_| ([127, 0, 0, 1], 53).into()).collect();
        shared.live.store(Arc::new(Live { listeners, addresses, ..Live::default() }));
        let mut local = Local::new(Arc::new(shared));
        local.shifts = shifts;
        let local = Rc::new(local);
        let pacing = local.clone();
        spawn_local(async move { pacing.shifts.pace().await });
        Self { local, _server: server, _silent: silent }
    }

    /// Connects from an address that ends in `last`.
    pub(super) fn connect(&self, last: u8) -> (DuplexStream, JoinHandle<()>) {
        self.connect_with(last, |session, stream| Box::pin(session.run(stream)))
    }

    pub(super) fn connect_with(&self, last: u8, run: Run) -> (DuplexStream, JoinHandle<()>) {
        self.connect_to(0, None, last, run)
    }

    /// The same through a door that takes `most` connections.
    pub(super) fn connect_to(
        &self,
        door: usize,
        most: Option<usize>,
        last: u8,
        run: Run,
    ) -> (DuplexStream, JoinHandle<()>) {
        let (client, server) = duplex(KERNEL);
        let peer = std::net::SocketAddr::from(([10, 0, 0, last], 4000));
        let here = "10.96.0.10:53".parse().expect("an address");
        let member = Connections::join(&self.local, door, most, peer.ip(), -1);
        let listener = self.local.shared.live.load().listeners[0].clone().expect("served");
        let session =
            Session::new(self.local.clone(), 0, listener, Client { peer, local: here, proto: Proto::Tcp }, member);
        let local = self.local.clone();
        (client, spawn_local(async move { local.shifts.work(run(session, server)).await }))
    }

    pub(super) fn held(&self) -> usize {
        self.local.connections.held()
    }
}

pub(super) fn frame(name: &str, qtype: &str) -> Vec<u8> {
    let packet = packet(name, qtype);
    [&(packet.len() as u16).to_be_bytes(), &packet[..]].concat()
}

/// Writes while the server reads; returns how many octets it read.
pub(super) async fn push(client: &mut DuplexStream, octets: &[u8]) -> usize {
    let mut taken = 0;
    while taken < octets.len()
        && let Ok(written) = tokio::time::timeout(Duration::from_millis(100), client.write(&octets[taken..])).await
    {
        taken += written.expect("open");
    }
    // The clock moves on when all tasks are idle.
    sleep(Duration::from_millis(1)).await;
    taken
}

pub(super) async fn receive(client: &mut (impl AsyncReadExt + Unpin)) -> Option<Vec<u8>> {
    let len = client.read_u16().await.ok()?;
    let mut message = vec![0; usize::from(len)];
    client.read_exact(&mut message).await.ok()?;
    Some(message)
}

pub(super) async fn local<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}
