//! What carries messages: TCP, or TLS on TCP.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Octets of encrypted replies that TLS may buffer for a client that does not read.
pub(super) const SEALED: usize = 16 << 10;

/// A stream of octets for a session.
pub(super) trait Carrier: AsyncRead + AsyncWrite + Unpin {
    /// Octets that it may buffer before they reach the kernel.
    const KEEPS: usize;

    /// Discards what the client has not read when the connection ends. Otherwise the kernel would
    /// keep sending it.
    fn abort(&self);
}

impl Carrier for TcpStream {
    const KEEPS: usize = 0;

    fn abort(&self) {
        let _ = self.set_zero_linger();
    }
}

impl Carrier for TlsStream<TcpStream> {
    const KEEPS: usize = SEALED;

    fn abort(&self) {
        self.get_ref().0.abort();
    }
}
