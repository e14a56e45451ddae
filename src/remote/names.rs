//! The addresses of servers that are named by their host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::address::{Address, Scheme};
use super::message::Sent;
use crate::host::resolv::RESOLV_CONF;
use crate::wire::answer::{Answer, Section};
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::request::flag;
use crate::wire::types::{rcode, rtype};

/// How long one name server may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Queries to each name server.
const ROUNDS: usize = 2;

/// Addresses are looked up again when their TTL is over, but not more often than this,
const AGAIN_LEAST: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 5_000 });

/// and not less often than this.
const AGAIN_MOST: Duration = Duration::from_secs(3600);

/// How long addresses from the machine's hosts file are good for.
const HOSTS_FILE_TTL: Duration = Duration::from_secs(30);

const HOSTS_FILE: &str = "/etc/hosts";

//----------- Host -----------------------------------------------------------

/// A server that is named by its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName {
    /// The name as it is written.
    pub(crate) text: String,
    /// The name, absolute.
    pub(crate) name: Name,
    /// The port of all its addresses.
    pub(crate) port: u64,
    /// How queries travel.
    pub(crate) scheme: Scheme,
    /// The name that its certificate has to show.
    pub(crate) server_name: Option<String>,
}

/// Why a name has no addresses.
#[derive(Debug)]
pub(crate) enum Lost {
    /// It has none.
    NoSuchHost(String),
    /// No name server could say.
    NoAnswer(String),
}

impl HostName {
    /// Looks up the servers at its addresses, IPv4 first, and how long they are good for.
    /// `resolvers` are asked; without any, the machine's hosts file and name servers.
    ///
    /// # Errors
    /// There are no addresses, or no name server answered.
    pub(super) async fn look_up(&self, resolvers: &[SocketAddr]) -> Result<(Vec<Address>, Duration), Lost> {
        let (addresses, good_for) = if resolvers.is_empty() {
            let found = from_hosts_file(&std::fs::read_to_string(HOSTS_FILE).unwrap_or_default(), &self.name);
            if found.is_empty() {
                let servers = Address::of_file(RESOLV_CONF, Scheme::Dns).unwrap_or_default();
                let servers: Vec<SocketAddr> = servers.iter().map(|server| server.socket).collect();
                addresses(&self.name, &servers).await?
            } else {
                (found, HOSTS_FILE_TTL)
            }
        } else {
            addresses(&self.name, resolvers).await?
        };
        let server = |ip| Address { server_name: self.server_name.clone(), ..Address::at(ip, self.port, self.scheme) };
        Ok((addresses.into_iter().map(server).collect(), good_for.clamp(AGAIN_LEAST, AGAIN_MOST)))
    }
}

/// The addresses of a name in the text of a hosts file.
fn from_hosts_file(text: &str, name: &Name) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let ip: IpAddr = words.next()?.parse().ok()?;
        words.any(|word| Name::from_text(word).is_ok_and(|word| word.lowered() == *name)).then_some(ip)
    };
    text.lines().filter_map(line).collect()
}

//----------- Look-up --------------------------------------------------------

async fn addresses(name: &Name, servers: &[SocketAddr]) -> Result<(Vec<IpAddr>, Duration), Lost> {
    let mut last = "no name server to ask".to_owned();
    for server in servers.iter().cycle().take(ROUNDS * servers.len()) {
        let (v4, v6) = tokio::join!(ask(name, rtype::A, *server), ask(name, rtype::AAAA, *server));
        let is_sure = v4.is_ok() && v6.is_ok();
        let (mut addresses, mut good_for) = (Vec::new(), AGAIN_MOST);
        for answer in [v4, v6] {
            match answer {
                Ok(answer) => {
                    addresses.extend(
                        answer.section(Section::Answer).filter_map(|record| address(record.rtype, record.rdata)),
                    );
                    let ttls = answer.section(Section::Answer).map(|record| Duration::from_secs(record.ttl.into()));
                    good_for = ttls.fold(good_for, Duration::min);
                }
                Err(why) => last = why,
            }
        }
        if !addresses.is_empty() {
            return Ok((addresses, good_for));
        }
        if is_sure {
            return Err(Lost::NoSuchHost(format!("lookup {name} on {server}: no such host")));
        }
    }
    Err(Lost::NoAnswer(format!("lookup {name}: {last}")))
}

fn address(rtype: u16, data: &[u8]) -> Option<IpAddr> {
    match rtype {
        rtype::A => Some(IpAddr::from(<[u8; 4]>::try_from(data).ok()?)),
        rtype::AAAA => Some(IpAddr::from(<[u8; 16]>::try_from(data).ok()?)),
        _ => None,
    }
}

/// Asks one name server. NXDOMAIN is an answer as well.
async fn ask(name: &Name, qtype: u16, server: SocketAddr) -> Result<Answer, String> {
    let sent = Sent::plain(Question::new(*name, qtype), true);
    let exchange = async {
        let answer = over_udp(&sent, server).await?;
        if answer.flags & flag::TC != 0 { over_tcp(&sent, server).await } else { Ok(answer) }
    };
    let answer = match timeout(PATIENCE, exchange).await {
        Err(_) => return Err(format!("{server}: i/o timeout")),
        Ok(Err(error)) => return Err(format!("{server}: {error}")),
        Ok(Ok(answer)) => answer,
    };
    match answer.rcode {
        rcode::NOERROR | rcode::NXDOMAIN => Ok(answer),
        _ => Err(format!("{server}: server misbehaving")),
    }
}

async fn over_udp(sent: &Sent, server: SocketAddr) -> std::io::Result<Answer> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    let id: [u8; 2] = rand::random();
    socket.send(&[&id, sent.behind_id()].concat()).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let len = socket.recv(&mut buffer).await?;
        // Other datagrams are ignored; the reply may still come.
        if let Some(answer) = buffer[..len].starts_with(&id).then(|| sent.answer(&buffer[..len])).flatten() {
            return Ok(answer);
        }
    }
}

async fn over_tcp(sent: &Sent, server: SocketAddr) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let len = (sent.behind_id().len() + 2) as u16;
    stream.write_all(&[&len.to_be_bytes()[..], &[0, 0], sent.behind_id()].concat()).await?;
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    sent.answer(&message).ok_or_else(|| std::io::Error::other("the reply is to another question"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file() {
        let text = "# 192.0.2.9 dns.example\n192.0.2.1\tother DNS.example # it\n::1 dns.example.\nnone dns.example\n";
        let found = from_hosts_file(text, &Name::from_text("dns.example").expect("a name"));
        assert_eq!(found, ["192.0.2.1".parse::<IpAddr>().expect("an address"), "::1".parse().expect("an address")]);
    }
}
