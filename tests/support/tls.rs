//! Certificates, valid and invalid, and a front that adds TLS to a server on loopback.
//!
//! ```text
//! let pki = Pki::new();                                  // a folder with the authority's ca.pem
//! pki.issue("dns", &["dns.example.org", "127.0.0.1"]);   // dns.pem and dns.key
//! let front = Front::start(upstream.address, pki.server("dns"));
//! ... front.address ... front.handshakes() ...
//! ```

#![allow(dead_code, unreachable_pub, reason = "shared by test programs of which each uses a part")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

//----------- Pki ------------------------------------------------------------

/// An authority, and a folder with its certificate (`ca.pem`) and those that it signed.
pub struct Pki {
    /// The folder, which is removed when this is dropped.
    pub folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    /// Creates an authority.
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let pki = Self { folder: tempfile::tempdir().expect("a folder"), issuer };
        pki.write("ca.pem", &pki.issuer.pem());
        pki
    }

    /// Writes `NAME.pem`, a certificate for these names and addresses, and `NAME.key`.
    pub fn issue(&self, name: &str, names: &[&str]) {
        self.issue_with(name, names, |_| {});
    }

    /// The same for a certificate that expired long ago.
    pub fn issue_expired(&self, name: &str, names: &[&str]) {
        self.issue_with(name, names, |params| params.not_after = date_time_ymd(2001, 1, 1));
    }

    /// The same for a certificate that begins in a hundred years.
    pub fn issue_early(&self, name: &str, names: &[&str]) {
        self.issue_with(name, names, |params| params.not_before = date_time_ymd(2126, 1, 1));
    }

    /// The same for a certificate that is its own authority, signed only by its own key, as
    /// `openssl req -x509` makes them.
    pub fn self_signed(&self, name: &str, names: &[&str], expired: bool) {
        let (mut params, key) = (params(names), KeyPair::generate().expect("a key"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        if expired {
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        let certificate = params.self_signed(&key).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// Returns the path of a file in the folder.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Returns the path as text for a Corefile.
    pub fn text(&self, file: &str) -> String {
        self.path(file).display().to_string()
    }

    /// Returns settings of a server that shows `NAME.pem`.
    pub fn server(&self, name: &str) -> ServerConfig {
        let (chain, key) = self.identity(name);
        builder().with_no_client_auth().with_single_cert(chain, key).expect("a key that fits")
    }

    /// The same for a server that requires client certificates signed by this authority.
    pub fn strict_server(&self, name: &str) -> ServerConfig {
        let (chain, key) = self.identity(name);
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let builder = builder().with_client_cert_verifier(verifier.expect("a verifier"));
        builder.with_single_cert(chain, key).expect("a key that fits")
    }

    /// Returns settings of a client that trusts only this authority, and shows `NAME.pem` if a name
    /// is given.
    pub fn client(&self, name: Option<&str>, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
        let builder = builder.with_root_certificates(roots);
        match name.map(|name| self.identity(name)) {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a key that fits"),
            None => builder.with_no_client_auth(),
        }
    }

    fn identity(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let certificate = CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).expect("a certificate");
        (vec![certificate], PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).expect("a key"))
    }

    fn issue_with(&self, name: &str, names: &[&str], change: impl FnOnce(&mut CertificateParams)) {
        let (mut params, key) = (params(names), KeyPair::generate().expect("a key"));
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).expect("written");
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    CertificateParams::new(names).expect("parameters")
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions")
}

//----------- Front ----------------------------------------------------------

/// TLS in front of a server without TLS; it ends when this is dropped.
pub struct Front {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Shared {
    connections: AtomicUsize,
    full: AtomicUsize,
    resumed: AtomicUsize,
    /// Connections that did not begin with TLS.
    plain: AtomicUsize,
    names: Mutex<Vec<Option<String>>>,
}

impl Front {
    /// Starts the front; decrypted data goes to `behind`.
    pub fn start(behind: SocketAddr, config: ServerConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (shared, acceptor) = (Arc::<Shared>::default(), TlsAcceptor::from(Arc::new(config)));
        let for_all = shared.clone();
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                for_all.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, acceptor.clone(), for_all.clone(), behind));
            }
        });
        Self { address, shared, _runtime: runtime }
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of successful handshakes so far: full ones, and resumed sessions.
    pub fn handshakes(&self) -> (usize, usize) {
        (self.shared.full.load(Ordering::SeqCst), self.shared.resumed.load(Ordering::SeqCst))
    }

    /// Returns the number of connections that did not begin with TLS.
    pub fn plain(&self) -> usize {
        self.shared.plain.load(Ordering::SeqCst)
    }

    /// Returns the names that clients asked for, one for each handshake.
    pub fn names(&self) -> Vec<Option<String>> {
        self.shared.names.lock().expect("no panic").clone()
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>, behind: SocketAddr) {
    let mut first = [0];
    if stream.peek(&mut first).await.is_ok_and(|len| len == 1) && first != [0x16] {
        shared.plain.fetch_add(1, Ordering::SeqCst);
    }
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let session = stream.get_ref().1;
    let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    shared.names.lock().expect("no panic").push(session.server_name().map(ToString::to_string));
    (if is_resumed { &shared.resumed } else { &shared.full }).fetch_add(1, Ordering::SeqCst);
    let Ok(mut inner) = TcpStream::connect(behind).await else { return };
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut inner).await;
    let _ = stream.shutdown().await;
}
