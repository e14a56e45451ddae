//! The world outside of the cluster, for servers that forward. Below `example.com` and
//! `example.org` every name has an address of each family, unless it begins with `missing`; no
//! other name exists.

use std::net::UdpSocket;

/// A denial's SOA record: of the root, kept for 300 seconds.
const SOA: &[u8] =
    b"\0\0\x06\0\x01\0\0\x01\x2c\0\x1c\x02ns\0\x02ns\0\0\0\0\x01\0\0\x1c\x20\0\0\x07\x08\0\x01\x51\x80\0\0\x01\x2c";

/// Answers questions until the socket fails.
pub(crate) fn serve(socket: &UdpSocket) {
    let mut packet = [0; 1500];
    while let Ok((len, peer)) = socket.recv_from(&mut packet) {
        if let Some((reply, _)) = reply(&packet[..len]) {
            // The client may have closed its socket.
            let _ = socket.send_to(&reply, peer);
        }
    }
}

/// Returns the reply to a question, with RD and RA, and the octets of the question. Addresses are
/// kept for 300 seconds; other types have no data. Returns `None` for a packet without a question.
pub(crate) fn reply(packet: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let end = 12 + packet.get(12..)?.iter().position(|&octet| octet == 0)? + 5;
    let question = packet.get(12..end)?;
    let (name, kind) = question.split_at(question.len() - 4);
    let exists = [b"\x07example\x03com\0", b"\x07example\x03org\0"].iter().any(|zone| name.ends_with(*zone))
        && !name[1..].starts_with(b"missing");
    let data: &[u8] = match kind {
        [0, 1, ..] if exists => &[192, 0, 2, 1],
        [0, 28, ..] if exists => &[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        _ => &[],
    };
    let mut reply = packet[..end].to_vec();
    reply[2..4].copy_from_slice(&[0x81, if exists { 0x80 } else { 0x83 }]);
    reply[6..12].copy_from_slice(&[0, u8::from(!data.is_empty()), 0, u8::from(data.is_empty()), 0, 0]);
    if data.is_empty() {
        reply.extend_from_slice(SOA);
    } else {
        reply.extend_from_slice(&[0xC0, 12]);
        reply.extend_from_slice(kind);
        reply.extend_from_slice(&[0, 0, 1, 44, 0, data.len() as u8]);
        reply.extend_from_slice(data);
    }
    Some((reply, question))
}
