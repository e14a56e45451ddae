//! Queries over connections, plain or with TLS: many in flight on each, replies in any order.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::lane::Client;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Octets that may wait to be sent; above that, no more queries are taken.
const UNSENT: usize = 64 << 10;

/// A connection.
pub(super) struct Stream {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    unsent: Vec<u8>,
    received: Vec<u8>,
}

/// How TLS is spoken to a server.
pub(super) struct Secure<'a> {
    pub(super) config: &'a Arc<ClientConfig>,
    /// The name that the server's certificate is asked for.
    pub(super) name: &'a str,
}

impl Stream {
    pub(super) fn connect(server: SocketAddr, tls: Option<Secure<'_>>) -> io::Result<Self> {
        let mut socket = TcpStream::connect_timeout(&server, CONNECT)?;
        socket.set_nodelay(true)?;
        let tls = match tls {
            None => None,
            Some(Secure { config, name }) => {
                let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
                let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                socket.set_read_timeout(Some(CONNECT))?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut socket)?;
                }
                Some(Box::new(tls))
            }
        };
        socket.set_nonblocking(true)?;
        Ok(Self { socket, tls, unsent: Vec::new(), received: Vec::new() })
    }

    /// Sends as much as the kernel takes.
    fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(&self.unsent)?;
            self.unsent.clear();
            while tls.wants_write() {
                if ready(tls.write_tls(&mut self.socket))?.is_none() {
                    break;
                }
            }
            return Ok(());
        }
        let mut done = 0;
        while done < self.unsent.len() {
            match ready(self.socket.write(&self.unsent[done..]))? {
                Some(count) => done += count,
                None => break,
            }
        }
        self.unsent.drain(..done);
        Ok(())
    }

    /// Reads what has arrived; returns whether there was anything.
    fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        let count = match &mut self.tls {
            None => ready(self.socket.read(&mut buffer))?,
            Some(tls) => match tls.reader().read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => match ready(tls.read_tls(&mut self.socket))? {
                    None => None,
                    Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
                    Some(_) => return tls.process_new_packets().map(|_| true).map_err(io::Error::other),
                },
                result => Some(result?),
            },
        };
        match count {
            None => Ok(false),
            Some(0) => Err(ErrorKind::UnexpectedEof.into()),
            Some(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
        }
    }
}

/// Returns `None` if the call would block.
fn ready<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Client for Stream {
    fn send(&mut self, bytes: &[u8], messages: &[Range<usize>]) -> io::Result<usize> {
        if self.has_unsent() {
            self.flush()?;
        }
        if self.unsent.len() > UNSENT || self.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            return Ok(0);
        }
        for message in messages {
            let message = &bytes[message.clone()];
            self.unsent.extend_from_slice(&(message.len() as u16).to_be_bytes());
            self.unsent.extend_from_slice(message);
        }
        self.flush()?;
        Ok(messages.len())
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.flush()?;
        while self.fill()? {}
        let mut at = 0;
        while let Some([high, low]) = self.received.get(at..at + 2) {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            let Some(message) = self.received.get(at + 2..at + 2 + len) else { break };
            each(message);
            at += 2 + len;
        }
        self.received.drain(..at);
        Ok(())
    }

    fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    fn handle(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
