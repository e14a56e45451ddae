//! One question to one server: a datagram, again if it is lost, and a connection where the answer does not fit.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::questions::Question;

/// How long one try waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tries over UDP.
const TRIES: usize = 2;

/// The UDP size that is announced, in octets.
const SIZE: u16 = 1232;

/// The server's reply.
///
/// # Errors
/// Why there is none, in words.
pub(super) async fn ask(server: SocketAddr, question: &Question) -> Result<Message, String> {
    let mut query = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(question.name.clone(), question.qtype));
    let mut edns = Edns::new();
    edns.set_max_payload(SIZE);
    query.edns = Some(edns);
    let packet = query.to_vec().map_err(|error| error.to_string())?;
    let mut why = "no reply".to_owned();
    for _ in 0..TRIES {
        match timeout(PATIENCE, over_udp(server, &packet)).await {
            Ok(Ok(reply)) if reply.metadata.truncation => {
                let reply = timeout(PATIENCE, over_tcp(server, &packet)).await.map_err(|_| "no reply over TCP")?;
                return reply.map_err(|error| format!("over TCP: {error}"));
            }
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => {}
        }
    }
    Err(why)
}

async fn over_udp(server: SocketAddr, packet: &[u8]) -> std::io::Result<Message> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(packet).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let len = socket.recv(&mut buffer).await?;
        if buffer[..len].get(..2) == packet.get(..2) {
            return Message::from_vec(&buffer[..len]).map_err(std::io::Error::other);
        }
    }
}

async fn over_tcp(server: SocketAddr, packet: &[u8]) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&[&(packet.len() as u16).to_be_bytes(), packet].concat()).await?;
    let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut buffer).await?;
    Message::from_vec(&buffer).map_err(std::io::Error::other)
}
