//! DNS over QUIC: connections go with their listener, and clients are told.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint};
use rustls::version::TLS13;
use tokio::time::timeout;

use super::listeners::reload;
use super::support::{PATIENCE, Server, decode, free_port, query, text};
use super::support_tls::Pki;

const COREFILE: &str = "dns://.:PORT {
    bind 127.0.0.1
    whoami
}
";

const QUIC: &str = "quic://.:<QUIC> {
    bind 127.0.0.1
    tls <CERT> <KEY>
    <PLUGIN>
}
";

/// Opens a connection. Its tasks run in the runtime that waits for it.
pub(crate) async fn connect_quic(pki: &Pki, server: SocketAddr) -> Result<Connection, ConnectionError> {
    let mut config = pki.client(None, &[&TLS13]);
    config.alpn_protocols = vec![b"doq".to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).expect("a suite")));
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).expect("an endpoint");
    endpoint.connect_with(config, server, "dns.example.org").expect("begun").await
}

/// Returns the reply to a message, or `None` if it is an error of the protocol. Then there is
/// another connection.
pub(crate) async fn reply_over_quic(quic: &mut Connection, pki: &Pki, message: &[u8]) -> Option<Vec<u8>> {
    let closed = match over_quic(quic, message).await {
        Ok(reply) => return Some(reply),
        Err(closed) => closed,
    };
    let ConnectionError::ApplicationClosed(close) = &closed else { panic!("{message:02x?}: {closed}") };
    assert_eq!(close.error_code.into_inner(), 2, "{message:02x?}");
    *quic = connect_quic(pki, quic.remote_address()).await.expect("a connection");
    None
}

/// Sends a message with id 0 on a stream; returns what comes back, without its length.
async fn over_quic(quic: &Connection, message: &[u8]) -> Result<Vec<u8>, ConnectionError> {
    let mut octets = [&(message.len() as u16).to_be_bytes(), message].concat();
    octets.iter_mut().skip(2).take(2).for_each(|octet| *octet = 0);
    let (mut send, mut receive) = quic.open_bi().await?;
    let sent = send.write_all(&octets).await;
    let _ = send.finish();
    match (sent, receive.read_to_end(2 + 65_535).await) {
        (_, Ok(reply)) => Ok(reply[2..].to_vec()),
        _ => Err(quic.closed().await),
    }
}

/// Returns whether the server has ended a connection. When sockets of a port come or go, the kernel
/// spreads packets anew, so another worker may have to reset it.
fn has_ended(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner() == 0,
        error => *error == ConnectionError::Reset,
    }
}

#[test]
fn connections_go_with_their_listener_and_clients_are_told() {
    let pki = Pki::new();
    pki.issue("dns", &["dns.example.org"]);
    let port = free_port();
    let listener = |plugin: &str| {
        let words = [("<CERT>", "dns.pem"), ("<KEY>", "dns.key")].map(|(word, file)| (word, pki.text(file)));
        let words = words.into_iter().chain([("<QUIC>", port.to_string()), ("<PLUGIN>", plugin.to_owned())]);
        words.fold(QUIC.to_owned(), |text, (word, with)| text.replace(word, &with))
    };
    let server = Server::start(&(COREFILE.to_owned() + &listener("chaos one")), &[]);
    let at = SocketAddr::new(server.address().ip(), port);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ask = |quic: &Connection, code: &str| {
        let message = query("a.example.", "A");
        let reply = runtime.block_on(async { timeout(PATIENCE, over_quic(quic, &message)).await.expect("in time") })?;
        assert_eq!(text(&decode(&reply)).split_whitespace().next(), Some(code));
        Ok::<(), ConnectionError>(())
    };
    let first = runtime.block_on(connect_quic(&pki, at)).expect("a connection");
    ask(&first, "SERVFAIL").expect("open");
    // A reload that keeps the listener keeps the connection.
    reload(&server, &(COREFILE.to_owned() + &listener("whoami")));
    ask(&first, "NOERROR").expect("open");
    reload(&server, COREFILE);
    assert!(has_ended(&runtime.block_on(first.closed())), "the listener has gone");
    reload(&server, &(COREFILE.to_owned() + &listener("whoami")));
    let second = loop {
        let second = runtime.block_on(connect_quic(&pki, at)).expect("a connection");
        match ask(&second, "NOERROR") {
            Ok(()) => break second,
            Err(error) => assert!(has_ended(&error), "{error}"),
        }
    };
    server.signal("TERM");
    assert!(has_ended(&runtime.block_on(second.closed())), "the server has gone");
}
