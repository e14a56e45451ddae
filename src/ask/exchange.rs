//! One question to one server: a datagram, repeated if it is lost, and a connection if the reply
//! does not fit.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{https, tls};

/// The UDP size that queries announce, in octets.
const SIZE: u16 = 1232;

/// How a query travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams; TCP if the reply is truncated.
    Udp,
    /// A TCP connection.
    Tcp,
    /// A connection with TLS (RFC 7858). The certificate is not checked.
    Tls,
    /// A POST over HTTPS (RFC 8484). The certificate is not checked.
    Https,
}

impl Transport {
    /// Returns the port of servers that are given without one.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 53,
            Self::Tls => 853,
            Self::Https => 443,
        }
    }

    /// Returns whether there is a certificate, which is not checked.
    #[must_use]
    pub fn is_secured(self) -> bool {
        matches!(self, Self::Tls | Self::Https)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Https => "HTTPS",
        })
    }
}

/// How to send a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct How {
    /// How the query travels.
    pub transport: Transport,
    /// How long one try waits.
    pub patience: Duration,
    /// Number of tries; at least one.
    pub tries: u32,
    /// Whether an OPT goes with the query.
    pub edns: bool,
    /// The DO bit.
    pub dnssec_ok: bool,
    /// The RD bit.
    pub recursion_desired: bool,
}

impl Default for How {
    fn default() -> Self {
        Self {
            transport: Transport::Udp,
            patience: Duration::from_secs(3),
            tries: 2,
            edns: true,
            dnssec_ok: false,
            recursion_desired: true,
        }
    }
}

/// A reply and how it arrived.
#[derive(Debug)]
pub struct Reply {
    /// The message.
    pub message: Message,
    /// Its length in octets.
    pub len: usize,
    /// The transport of the final reply.
    pub transport: Transport,
    /// Whether a truncated reply arrived first, over UDP.
    pub was_truncated: bool,
    /// Time from the first query to the reply.
    pub took: Duration,
}

/// Sends a question to a server and returns the reply.
///
/// # Errors
/// A sentence that says why there is no reply.
pub async fn exchange(server: SocketAddr, question: &Query, how: &How) -> Result<Reply, String> {
    let packet = packet(question, how)?;
    let start = Instant::now();
    let mut why = "no reply".to_owned();
    for _ in 0..how.tries.max(1) {
        match timeout(how.patience, carry(server, &packet, how.transport)).await {
            Ok(Ok((message, _))) if how.transport == Transport::Udp && message.metadata.truncation => {
                let reply = timeout(how.patience, carry(server, &packet, Transport::Tcp));
                let reply = reply.await.map_err(|_| "truncated over UDP, and no reply over TCP".to_owned())?;
                let (message, len) = reply.map_err(|error| format!("truncated over UDP, and over TCP: {error}"))?;
                let took = start.elapsed();
                return Ok(Reply { message, len, transport: Transport::Tcp, was_truncated: true, took });
            }
            Ok(Ok((message, len))) => {
                let took = start.elapsed();
                return Ok(Reply { message, len, transport: how.transport, was_truncated: false, took });
            }
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => {}
        }
    }
    Err(why)
}

fn packet(question: &Query, how: &How) -> Result<Vec<u8>, String> {
    let mut query = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = how.recursion_desired;
    query.add_query(question.clone());
    if how.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(SIZE);
        edns.set_dnssec_ok(how.dnssec_ok);
        query.edns = Some(edns);
    }
    query.to_vec().map_err(|error| error.to_string())
}

/// Tries once; returns the reply and its length.
async fn carry(server: SocketAddr, packet: &[u8], transport: Transport) -> std::io::Result<(Message, usize)> {
    let reply = match transport {
        Transport::Udp => over_udp(server, packet).await?,
        Transport::Tcp => over_stream(TcpStream::connect(server).await?, packet).await?,
        Transport::Tls => {
            let connector = TlsConnector::from(tls::any_certificate().map_err(std::io::Error::other)?);
            let stream = TcpStream::connect(server).await?;
            over_stream(connector.connect(ServerName::from(server.ip()), stream).await?, packet).await?
        }
        // Boxed: it is larger than the other ways together.
        Transport::Https => Box::pin(https::post(server, packet)).await?,
    };
    let malformed = |error| std::io::Error::other(format!("a malformed reply of {} octets: {error}", reply.len()));
    Ok((Message::from_vec(&reply).map_err(malformed)?, reply.len()))
}

async fn over_udp(server: SocketAddr, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(packet).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let len = socket.recv(&mut buffer).await?;
        if buffer[..len].get(..2) == packet.get(..2) {
            buffer.truncate(len);
            return Ok(buffer);
        }
    }
}

async fn over_stream(mut stream: impl AsyncRead + AsyncWrite + Unpin, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(&[&(packet.len() as u16).to_be_bytes(), packet].concat()).await?;
    stream.flush().await?;
    let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut buffer).await?;
    Ok(buffer)
}
