//! A message as gRPC carries it: the call `Query` of CoreDNS's service `DnsService`. Its request
//! and its response are a `DnsPacket`, whose field 1 is the message.
//!
//! A body is one frame: whether it is compressed, its length in four octets, and a packet in
//! protobuf.

use super::protobuf::{Field, Fields, Value, put_octets};

/// The path of the call.
pub const PATH: &str = "/coredns.dns.DnsService/Query";

/// The media type of calls and responses. A suffix may follow, such as `+proto`.
pub const CONTENT_TYPE: &str = "application/grpc";

/// The field of a response that tells how the call went: a number of [`status`].
pub const STATUS: &str = "grpc-status";

/// Octets in front of a packet.
const HEAD: usize = 5;

/// Octets of the largest body: a message of 65,535 octets has four more in a packet.
pub const LARGEST: usize = HEAD + 4 + 65_535;

/// How a call went, in gRPC's numbers.
pub mod status {
    /// There is a response.
    pub const OK: u8 = 0;
    /// No reason is given.
    pub const UNKNOWN: u8 = 2;
    /// The request is not a query.
    pub const INVALID_ARGUMENT: u8 = 3;
    /// What was asked for does not exist.
    pub const NOT_FOUND: u8 = 5;
    /// There is no such call, or its form is not known.
    pub const UNIMPLEMENTED: u8 = 12;
    /// The request breaks the rules of gRPC.
    pub const INTERNAL: u8 = 13;
}

/// Returns the body with a message.
#[must_use]
pub fn body(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + 4 + message.len());
    out.extend_from_slice(&[0; HEAD]);
    put_octets(&mut out, 1, message);
    let len = (out.len() - HEAD) as u32;
    out[1..HEAD].copy_from_slice(&len.to_be_bytes());
    out
}

/// Returns the message in a body.
///
/// # Errors
/// The status for a body that is not a packet, or a compressed one.
pub fn message(body: &[u8]) -> Result<&[u8], u8> {
    let (&[compressed, a, b, c, d], packet) = body.split_first_chunk().ok_or(status::INTERNAL)?;
    match compressed {
        _ if u32::from_be_bytes([a, b, c, d]) as usize != packet.len() => return Err(status::INTERNAL),
        0 => {}
        1 => return Err(status::UNIMPLEMENTED),
        _ => return Err(status::INTERNAL),
    }
    let mut message = &[][..];
    for field in Fields(packet) {
        // Other fields are ignored, and of several the last one counts, as in protobuf.
        if let Field { number: 1, value: Value::Octets(octets) } = field.map_err(|_| status::INTERNAL)? {
            message = octets;
        }
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_out_as_it_went_in() {
        for len in [0, 1, 127, 128, 16_384, 65_535] {
            let octets = vec![7; len];
            assert_eq!(message(&body(&octets)), Ok(&octets[..]));
        }
        assert_eq!((body(b"ab"), body(&[0; 65_535]).len()), (b"\0\0\0\0\x04\x0A\x02ab".to_vec(), LARGEST));
    }

    #[test]
    fn other_bodies() {
        for (body, expected) in [
            (&b"\0\0\0\0\0"[..], Ok(&b""[..])),
            (b"\0\0\0\0\x06\x0A\x01a\x0A\x01b", Ok(b"b")),
            (b"\0\0\0\0\x05\x10\x07\x0A\x01a", Ok(b"a")),
            (b"\0\0\0\0\x02\x08\x07", Ok(b"")),
            (b"", Err(status::INTERNAL)),
            (b"\0\0\0\0", Err(status::INTERNAL)),
            (b"\0\0\0\0\x04\x0A\x01a", Err(status::INTERNAL)),
            (b"\0\0\0\0\x02\x0A\x01a", Err(status::INTERNAL)),
            (b"\0\0\0\0\x03\x0A\x02a", Err(status::INTERNAL)),
            (b"\x01\0\0\0\x03\x0A\x01a", Err(status::UNIMPLEMENTED)),
            (b"\x02\0\0\0\x03\x0A\x01a", Err(status::INTERNAL)),
        ] {
            assert_eq!(message(body), expected, "{body:?}");
        }
    }
}
