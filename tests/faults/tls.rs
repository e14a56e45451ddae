//! An upstream with TLS and a certificate as the row says, which counts everything that comes in
//! clear text.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::names::address;
use crate::support::free_port;
use crate::upstream::{Answer, Seen};

/// The name that clients expect.
pub(crate) const NAME: &str = "dns.test";

/// What is wrong with the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing.
    None,
    /// Its certificate has expired.
    Expired,
    /// Its certificate is for another name.
    OtherName,
    /// Its certificate is signed by an unknown authority.
    Unknown,
    /// It accepts connections and never replies.
    Stalls,
}

/// The upstream.
pub(crate) struct Secret {
    pub(crate) address: SocketAddr,
    /// The authority that clients trust, as PEM.
    pub(crate) authority: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    /// Clear text: datagrams, and connections that do not begin with TLS.
    plain: AtomicUsize,
    answered: AtomicUsize,
}

/// Binds both sockets of a port. A program that another thread is starting may still hold one of
/// [`free_port`]'s.
fn bind() -> (SocketAddr, TcpListener, UdpSocket) {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        if let (Ok(tcp), Ok(udp)) = (TcpListener::bind(address), UdpSocket::bind(address)) {
            return (address, tcp, udp);
        }
    }
}

impl Secret {
    /// Starts it.
    pub(crate) fn start(flaw: Flaw) -> Self {
        let (authority, config) = certificates(flaw);
        let (address, tcp, udp) = bind();
        let shared = Arc::new(Shared::default());
        let (for_udp, for_tcp) = (shared.clone(), shared.clone());
        thread::spawn(move || for_udp.count_datagrams(&udp));
        thread::spawn(move || for_tcp.serve(&tcp, flaw, &config));
        Self { address, authority, shared }
    }

    /// Returns how much came in clear text.
    pub(crate) fn plain(&self) -> usize {
        self.shared.plain.load(Ordering::Relaxed)
    }

    /// Returns how many queries were answered.
    pub(crate) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn count_datagrams(&self, socket: &UdpSocket) {
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        while !self.is_over() {
            let got = socket.recv(&mut [0; 512]).is_ok();
            self.plain.fetch_add(usize::from(got), Ordering::Relaxed);
        }
    }

    fn serve(self: &Arc<Self>, listener: &TcpListener, flaw: Flaw, config: &Arc<ServerConfig>) {
        listener.set_nonblocking(true).expect("not blocking");
        let mut held = Vec::new();
        while !self.is_over() {
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            if flaw == Flaw::Stalls {
                held.push(stream);
                continue;
            }
            let (shared, config) = (self.clone(), config.clone());
            thread::spawn(move || shared.converse(stream, config));
        }
    }

    /// Answers queries until the client closes, if the handshake succeeds.
    fn converse(&self, stream: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
        stream.set_nonblocking(false).expect("blocking");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        let mut first = [0];
        // The first octet of TLS announces a handshake.
        if stream.peek(&mut first).ok()? == 1 && first != [22] {
            self.plain.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
        loop {
            let mut prefix = [0; 2];
            stream.read_exact(&mut prefix).ok()?;
            let mut packet = vec![0; usize::from(u16::from_be_bytes(prefix))];
            stream.read_exact(&mut packet).ok()?;
            let from = SocketAddr::from(([127, 0, 0, 1], 0));
            let seen = Seen { packet, from, tcp: true, before: 0, at: std::time::Instant::now() };
            let answer = Answer::to(&seen.packet).a(&address(&seen.name()).to_string(), 60).message();
            stream.write_all(&[&(answer.len() as u16).to_be_bytes()[..], &answer].concat()).ok()?;
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Returns the trusted authority as PEM, and settings of a server with the flaw.
fn certificates(flaw: Flaw) -> (String, Arc<ServerConfig>) {
    let authority = || {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        (certificate.pem(), Issuer::new(params, key))
    };
    let ((trusted, issuer), (_, stranger)) = (authority(), authority());
    let name = if flaw == Flaw::OtherName { "other.test" } else { NAME };
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    if flaw == Flaw::Expired {
        params.not_after = date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().expect("a key");
    let signer = if flaw == Flaw::Unknown { &stranger } else { &issuer };
    let certificate: CertificateDer<'static> = params.signed_by(&key, signer).expect("a certificate").into();
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth().with_single_cert(vec![certificate], key);
    (trusted, Arc::new(config.expect("a configuration")))
}
