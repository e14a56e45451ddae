//! Sends frames to a collector, over a unix socket, TCP or TLS: connects, and reconnects after
//! failures.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::message::{Control, is_accept};
use crate::error::words;
use crate::host::log;
use crate::host::metrics::Counter;
use crate::remote::TlsOptions;

/// How long connecting and each write may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Octets that are written at once if many frames wait.
const BUFFER: usize = 64 << 10;

/// Time between two attempts to connect: at first, and finally.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Octets of the largest control frame that is read.
const CONTROL: u32 = 512;

/// Where a collector listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
    Tls(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls(address) => write!(f, "tls://{address}"),
        }
    }
}

/// The frames of one directive on their way.
pub(super) struct Sender {
    pub(super) plugin: &'static str,
    pub(super) place: Place,
    pub(super) frames: Receiver<Vec<u8>>,
    /// Octets in the queue.
    pub(super) held: Arc<AtomicUsize>,
    pub(super) sent: Counter,
    pub(super) dropped: Counter,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Sender {
    /// Sends frames until the configuration ends.
    pub(super) async fn run(mut self) {
        let (mut pause, mut told) = (AGAIN.0, 0);
        loop {
            let ended = match in_time(self.greet()).await {
                Ok(stream) => {
                    log::info(self.plugin, format_args!("connected to {}", self.place));
                    pause = AGAIN.0;
                    self.send(stream).await
                }
                Err(error) => Err(error),
            };
            let Err(error) = ended else { return };
            let dropped = self.dropped.get();
            let lost = dropped - std::mem::replace(&mut told, dropped);
            let why = words(&error);
            log::warning(
                self.plugin,
                format_args!("no connection to {}: {why}; dropped dnstap messages: {lost}", self.place),
            );
            sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    /// Opens a connection, and agrees with the collector on what is sent.
    async fn greet(&self) -> io::Result<Box<dyn Stream>> {
        let mut stream: Box<dyn Stream> = match &self.place {
            Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Place::Tcp(address) => Box::new(TcpStream::connect(address).await?),
            Place::Tls(address) => {
                let host = address.rsplit_once(':').map_or(&**address, |(host, _)| host).trim_matches(['[', ']']);
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                let connector = TlsConnector::from(TlsOptions::default().config(None));
                Box::new(connector.connect(name, TcpStream::connect(address).await?).await?)
            }
        };
        stream.write_all(&Control::Ready.frame()).await?;
        stream.flush().await?;
        let (escape, len) = (stream.read_u32().await?, stream.read_u32().await?);
        if escape != 0 || !(4..=CONTROL).contains(&len) {
            return Err(io::Error::other("it does not speak Frame Streams"));
        }
        let mut body = vec![0; len as usize];
        stream.read_exact(&mut body).await?;
        if !is_accept(&body) {
            return Err(io::Error::other("it does not accept dnstap messages"));
        }
        stream.write_all(&Control::Start.frame()).await?;
        Ok(stream)
    }

    /// Sends frames until that fails. What has been written leaves as soon as no other frame waits.
    async fn send(&mut self, stream: Box<dyn Stream>) -> io::Result<()> {
        let mut stream = BufWriter::with_capacity(BUFFER, stream);
        loop {
            let frame = match self.frames.try_recv() {
                Ok(frame) => frame,
                Err(_) => {
                    in_time(stream.flush()).await?;
                    // The other end lives as long as the configuration.
                    let Some(frame) = self.frames.recv().await else { return Ok(()) };
                    frame
                }
            };
            self.held.fetch_sub(frame.len(), Ordering::Relaxed);
            in_time(stream.write_all(&frame)).await?;
            self.sent.inc();
        }
    }
}

/// Waits for a part of the exchange, up to `PATIENCE`.
async fn in_time<T>(part: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, part).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
