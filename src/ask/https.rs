//! One message as a request over HTTPS, by HTTP/2 or HTTP/1.1 as the server chooses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls;

/// The media type of a message.
const MESSAGE: &str = "application/dns-message";

/// Octets of a message, at most.
const LARGEST: usize = 65_535;

/// Asks `server` at the usual path and returns the message of its response.
///
/// # Errors
/// What failed, or the status of a response that is not 200.
pub(super) async fn post(server: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let mut config = ClientConfig::clone(&*tls::any_certificate().map_err(io::Error::other)?);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(server).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::from(server.ip()), stream).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    let response = if is_http2 {
        let (mut requests, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        requests.send_request(request(server, packet, Version::HTTP_2)?).await
    } else {
        let (mut requests, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        requests.send_request(request(server, packet, Version::HTTP_11)?).await
    };
    message(response.map_err(io::Error::other)?).await
}

fn request(server: SocketAddr, packet: &[u8], version: Version) -> io::Result<Request<Full<Bytes>>> {
    // HTTP/2 has the server in the URL, HTTP/1.1 in a header.
    let uri = if version == Version::HTTP_2 { format!("https://{server}/dns-query") } else { "/dns-query".to_owned() };
    let request = Request::post(uri).version(version).header("accept", MESSAGE).header("content-type", MESSAGE);
    let request = if version == Version::HTTP_2 { request } else { request.header("host", server.to_string()) };
    request.body(Full::from(packet.to_vec())).map_err(io::Error::other)
}

async fn message(response: Response<Incoming>) -> io::Result<Vec<u8>> {
    if response.status() != StatusCode::OK {
        return Err(io::Error::other(format!("HTTP status {}", response.status())));
    }
    let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(io::Error::other)?;
    Ok(body.to_bytes().to_vec())
}
