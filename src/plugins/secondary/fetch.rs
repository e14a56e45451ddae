//! Asks one primary for a zone, over one TCP connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::error::words;
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::records::answers;
use crate::wire::soa::is_older;
use crate::wire::types::rtype;
use crate::zone::data::{Soa, Zone};
use crate::zone::incoming::{Incoming, Progress, UNREADABLE, header};

/// How long connecting may take, and each message.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a whole transfer may take, as in BIND: then the next primary is asked.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);

/// The result of asking a primary.
pub(super) enum Fetched {
    /// It has no newer version.
    Current,
    /// A newer version.
    Zone(Box<Zone>),
}

/// Returns a newer version than the known one, if the primary has it.
///
/// # Errors
/// The primary does not answer, or its answer cannot be used; says why.
pub(super) async fn fetch(primary: SocketAddr, zone: &Name, known: Option<&Arc<Zone>>) -> Result<Fetched, String> {
    let fetched = timeout(LONGEST, fetch_from(primary, zone, known)).await;
    fetched.unwrap_or_else(|_| Err("the transfer takes too long".to_owned()))
}

async fn fetch_from(primary: SocketAddr, zone: &Name, known: Option<&Arc<Zone>>) -> Result<Fetched, String> {
    let mut primary = Primary::connect(primary).await?;
    if let Some(known) = known {
        let serial = primary.serial(zone).await?;
        if !is_older(known.soa().serial, serial) {
            return Ok(Fetched::Current);
        }
        // Where a primary has no changes, or they do not fit, it has the whole zone.
        match primary.transfer(zone, Some(known)).await {
            Ok(fetched) => return Ok(fetched),
            Err(_) => primary = Primary::connect(primary.address).await?,
        }
    }
    primary.transfer(zone, None).await
}

/// A connection to a primary.
struct Primary {
    address: SocketAddr,
    stream: TcpStream,
}

impl Primary {
    async fn connect(address: SocketAddr) -> Result<Self, String> {
        let stream = in_time(async { TcpStream::connect(address).await.map_err(|error| words(&error)) }).await?;
        Ok(Self { address, stream })
    }

    /// Asks for the serial of the zone.
    async fn serial(&mut self, zone: &Name) -> Result<u32, String> {
        let id = rand::random();
        self.send(&Question::new(*zone, rtype::SOA).query(id, 0, None)).await?;
        let message = self.receive().await?;
        header(&message, id)?;
        let mut records = answers(&message).map_err(|_| UNREADABLE)?.map_while(Result::ok);
        let soa = records.find(|record| record.rtype == rtype::SOA && record.owner.lowered() == *zone);
        let numbers = soa.and_then(|soa| Soa::of(&soa.data));
        numbers.map(|numbers| numbers.serial).ok_or_else(|| "no SOA record".to_owned())
    }

    /// Copies the zone, or its changes since the known version.
    async fn transfer(&mut self, zone: &Name, known: Option<&Arc<Zone>>) -> Result<Fetched, String> {
        let id = rand::random();
        let query = match known {
            None => Question::new(*zone, rtype::AXFR).query(id, 0, None),
            Some(known) => ixfr(zone, id, known),
        };
        self.send(&query).await?;
        let mut incoming = Incoming::new(zone, id, known.cloned());
        loop {
            let message = self.receive().await?;
            // A large zone takes time to read; other tasks use the runtime's threads meanwhile.
            let read = spawn_blocking(move || incoming.message(&message)).await.map_err(|error| error.to_string())?;
            match read? {
                Progress::More(next) => incoming = *next,
                Progress::Current => return Ok(Fetched::Current),
                Progress::Done(zone) => return Ok(Fetched::Zone(zone)),
            }
        }
    }

    async fn send(&mut self, message: &[u8]) -> Result<(), String> {
        let framed = [&(message.len() as u16).to_be_bytes(), message].concat();
        in_time(async { self.stream.write_all(&framed).await.map_err(|error| words(&error)) }).await
    }

    async fn receive(&mut self) -> Result<Vec<u8>, String> {
        in_time(async {
            let len = self.stream.read_u16().await.map_err(|error| words(&error))?;
            let mut message = vec![0; usize::from(len)];
            self.stream.read_exact(&mut message).await.map_err(|error| words(&error))?;
            Ok(message)
        })
        .await
    }
}

/// An IXFR query: the SOA record of the known version is its authority section (RFC 1995 section
/// 3).
fn ixfr(zone: &Name, id: u16, known: &Zone) -> Vec<u8> {
    let mut query = Question::new(*zone, rtype::IXFR).query(id, 0, None);
    let soa = known.soa_record();
    query[9] = 1;
    query.extend_from_slice(&[0xC0, 0x0C, 0, rtype::SOA as u8, 0, 1]);
    query.extend_from_slice(&soa.ttl.to_be_bytes());
    query.extend_from_slice(&(soa.data.len() as u16).to_be_bytes());
    query.extend_from_slice(soa.data);
    query
}

async fn in_time<T>(step: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(PATIENCE, step).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}
