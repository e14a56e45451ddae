//! Messages signed with a shared secret (TSIG, RFC 8945), as a client makes and checks them.
//! Written anew, so that it is no copy of what it judges.

#![allow(dead_code, unreachable_pub, reason = "each of them uses its part")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};
use signpost::wire::name::Name;

/// A client's key for `hmac-sha256` or `hmac-sha512`.
#[derive(Debug, Clone)]
pub struct ClientKey {
    name: Name,
    algorithm: Name,
    secret: Vec<u8>,
    octets: usize,
}

/// What a client reads of a signed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The message without its signature.
    pub message: Vec<u8>,
    /// When it was signed, in seconds since 1970.
    pub time: u64,
    /// The signature; empty if there is none.
    pub mac: Vec<u8>,
    /// The error of the TSIG record.
    pub error: u16,
    pub other: Vec<u8>,
}

impl ClientKey {
    /// Reads `ALGORITHM:NAME:SECRET`, as `dig -y` does.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (algorithm, name) = (Name::from_text(parts.next()?).ok()?, Name::from_text(parts.next()?).ok()?);
        let octets = match text.split_once(':')?.0 {
            "hmac-sha256" => 32,
            "hmac-sha512" => 64,
            _ => return None,
        };
        Some(Self { name: name.lowered(), algorithm, secret: STANDARD.decode(parts.next()?).ok()?, octets })
    }

    /// Returns the secret.
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    fn mac(&self, signed: &[u8]) -> Vec<u8> {
        if self.octets == 64 {
            let mac = Hmac::<Sha512>::new_from_slice(&self.secret).expect("any length").chain_update(signed);
            return mac.finalize().into_bytes().to_vec();
        }
        let mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("any length").chain_update(signed);
        mac.finalize().into_bytes().to_vec()
    }

    /// The beginning of a TSIG record.
    fn head(&self) -> Vec<u8> {
        [self.name.wire(), &[0, 250, 0, 255, 0, 0, 0, 0]].concat()
    }

    /// Signs a query at a time, in seconds since 1970.
    pub fn sign(&self, query: &[u8], time: u64) -> Vec<u8> {
        let timers = [&time.to_be_bytes()[2..], &300u16.to_be_bytes()].concat();
        let variables = [self.name.wire(), &[0, 255, 0, 0, 0, 0], self.algorithm.wire(), &timers, &[0; 4]].concat();
        let mac = self.mac(&[query, &variables].concat());
        let len = (mac.len() as u16).to_be_bytes();
        let data = [self.algorithm.wire(), &timers, &len, &mac, &query[..2], &[0; 4]].concat();
        let mut signed = [query, &self.head(), &(data.len() as u16).to_be_bytes(), &data].concat();
        signed[11] += 1;
        signed
    }

    /// Returns the signature of a query that [`ClientKey::sign`] has signed.
    pub fn mac_of<'q>(&self, query: &'q [u8]) -> &'q [u8] {
        let end = query.len() - 6;
        &query[end - self.octets..end]
    }

    /// Reads a message, and checks its signature unless that is empty. `before` is the signature of
    /// the query, or of the message before if this is not the first one. Returns `None` if there is
    /// no TSIG record.
    pub fn check(&self, message: &[u8], before: &[u8], is_first: bool) -> Option<Signed> {
        let head = self.head();
        let at = message.windows(head.len()).rposition(|octets| *octets == *head)?;
        let fields = message[at + head.len() + 2..].strip_prefix(self.algorithm.wire()).expect("the same algorithm");
        let time = fields[..6].iter().fold(0, |time, octet| time << 8 | u64::from(*octet));
        let (mac, rest) = fields[10..].split_at(usize::from(u16::from_be_bytes([fields[8], fields[9]])));
        let (id, error, other) = (&rest[..2], u16::from_be_bytes([rest[2], rest[3]]), &rest[6..]);
        assert_eq!((id, rest[5]), (&message[..2], other.len() as u8), "its id, and the end of the message");
        let mut unsigned = message[..at].to_vec();
        unsigned[11] -= 1;
        let variables = match is_first {
            true => [self.name.wire(), &[0, 255, 0, 0, 0, 0], self.algorithm.wire(), &fields[..8], &rest[2..]].concat(),
            false => fields[..8].to_vec(),
        };
        let signed = [&(before.len() as u16).to_be_bytes()[..], before, &unsigned, &variables].concat();
        assert!(mac.is_empty() || mac == self.mac(&signed), "a wrong signature");
        Some(Signed { message: unsigned, time, mac: mac.to_vec(), error, other: other.to_vec() })
    }
}
