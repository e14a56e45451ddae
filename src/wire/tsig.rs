//! Signatures of messages with a shared secret (TSIG, RFC 8945). Pure: the time is an argument.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::name::Name;
use super::request::{HEADER, Request, skip_name};
use super::types::{class, rtype};

/// How many seconds the clock of the client may differ from ours (RFC 8945 section 10).
const FUDGE: u16 = 300;

/// The least octets of a truncated signature (RFC 8945 section 5.2.2.1).
const LEAST_MAC: usize = 10;

//----------- Algorithm ------------------------------------------------------

/// How a signature is made (RFC 8945 section 6): all that CoreDNS takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// Algorithms by their names in wire form, and the octets of a signature.
const ALGORITHMS: [(&[u8], Algorithm, usize); 5] = [
    (b"\x09hmac-sha1\0", Algorithm::Sha1, 20),
    (b"\x0bhmac-sha224\0", Algorithm::Sha224, 28),
    (b"\x0bhmac-sha256\0", Algorithm::Sha256, 32),
    (b"\x0bhmac-sha384\0", Algorithm::Sha384, 48),
    (b"\x0bhmac-sha512\0", Algorithm::Sha512, 64),
];

impl Algorithm {
    /// Returns the algorithm with a name in lower case, and the octets of its signatures.
    fn of(name: &Name) -> Option<(Self, usize)> {
        ALGORITHMS.iter().find(|(known, ..)| *known == name.wire()).map(|&(_, algorithm, octets)| (algorithm, octets))
    }

    fn sign(self, secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha1 => fed::<Hmac<Sha1>>(secret, parts).finalize().into_bytes().to_vec(),
            Self::Sha224 => fed::<Hmac<Sha224>>(secret, parts).finalize().into_bytes().to_vec(),
            Self::Sha256 => fed::<Hmac<Sha256>>(secret, parts).finalize().into_bytes().to_vec(),
            Self::Sha384 => fed::<Hmac<Sha384>>(secret, parts).finalize().into_bytes().to_vec(),
            Self::Sha512 => fed::<Hmac<Sha512>>(secret, parts).finalize().into_bytes().to_vec(),
        }
    }

    /// Returns whether a signature, truncated or not, is right. It takes as long for a wrong one.
    fn verify(self, secret: &[u8], parts: &[&[u8]], mac: &[u8]) -> bool {
        let verified = match self {
            Self::Sha1 => fed::<Hmac<Sha1>>(secret, parts).verify_truncated_left(mac),
            Self::Sha224 => fed::<Hmac<Sha224>>(secret, parts).verify_truncated_left(mac),
            Self::Sha256 => fed::<Hmac<Sha256>>(secret, parts).verify_truncated_left(mac),
            Self::Sha384 => fed::<Hmac<Sha384>>(secret, parts).verify_truncated_left(mac),
            Self::Sha512 => fed::<Hmac<Sha512>>(secret, parts).verify_truncated_left(mac),
        };
        verified.is_ok()
    }
}

fn fed<M: Mac + KeyInit>(secret: &[u8], parts: &[&[u8]]) -> M {
    let mut mac = <M as KeyInit>::new_from_slice(secret).expect("a secret may have any length");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

//----------- Tsig -----------------------------------------------------------

/// The TSIG record at the end of a message, as it was received.
pub struct Tsig<'p> {
    packet: &'p [u8],
    /// Where the record begins.
    at: usize,
    /// The name of the key, in lower case.
    pub key: Name,
    /// The name of the algorithm, in lower case.
    algorithm: Name,
    /// When the message was signed, in seconds since 1970.
    time: u64,
    fudge: u16,
    mac: &'p [u8],
    /// The id of the message when it was signed.
    id: u16,
    error: u16,
    other: &'p [u8],
}

/// A TSIG record that is malformed, or not where it belongs: FORMERR (RFC 8945 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadTsig;

/// Why a signature is not accepted. The number is the error of the TSIG record in the reply, whose
/// RCODE is NOTAUTH (RFC 8945 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The signature is wrong.
    BadSig = 16,
    /// The key or the algorithm is unknown.
    BadKey = 17,
    /// The time of the signature is too far from ours.
    BadTime = 18,
    /// The signature is truncated.
    BadTrunc = 22,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadSig => "BADSIG",
            Self::BadKey => "BADKEY",
            Self::BadTime => "BADTIME",
            Self::BadTrunc => "BADTRUNC",
        })
    }
}

/// Returns the TSIG record of a packet, which `request` was read from. Only additional records are
/// searched.
///
/// # Errors
/// The record is malformed, or is not the last one.
pub fn find<'p>(packet: &'p [u8], request: &Request) -> Result<Option<Tsig<'p>>, BadTsig> {
    let word = |at: usize| packet.get(at..)?.first_chunk().copied().map(u16::from_be_bytes);
    let [answers, authorities, additionals] = [6, 8, 10].map(|at| word(at).unwrap_or_default());
    if additionals == 0 {
        return Ok(None);
    }
    let before = u32::from(answers) + u32::from(authorities);
    let all = before + u32::from(additionals);
    let mut at = request.question_end();
    for index in 0..all {
        let fixed = skip_name(packet, at).ok_or(BadTsig)?;
        let (rtype, len) = (word(fixed).ok_or(BadTsig)?, word(fixed + 8).ok_or(BadTsig)?);
        let end = fixed + 10 + usize::from(len);
        if rtype == rtype::TSIG && index >= before {
            let is_last = index == all - 1;
            return Tsig::read(packet, at, end).filter(|_| is_last).map(Some).ok_or(BadTsig);
        }
        at = end;
    }
    Ok(None)
}

impl<'p> Tsig<'p> {
    /// Reads the record from `at` to `end` (RFC 8945 section 4.2).
    fn read(packet: &'p [u8], at: usize, end: usize) -> Option<Self> {
        let (key, fixed) = Name::from_message(packet, at)?;
        let [_, _, c0, c1, t0, t1, t2, t3, _, _] = *packet.get(fixed..)?.first_chunk::<10>()?;
        let is_pseudo = u16::from_be_bytes([c0, c1]) == class::ANY && [t0, t1, t2, t3] == [0; 4];
        let (algorithm, data) = Name::from_message(packet.get(..end)?, fixed + 10)?;
        let (time, data) = packet.get(data..end)?.split_first_chunk::<6>()?;
        let (fudge, data) = data.split_first_chunk::<2>()?;
        let (len, data) = data.split_first_chunk::<2>()?;
        let (mac, data) = data.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        let (id, data) = data.split_first_chunk::<2>()?;
        let (error, data) = data.split_first_chunk::<2>()?;
        let (len, other) = data.split_first_chunk::<2>()?;
        (is_pseudo && other.len() == usize::from(u16::from_be_bytes(*len))).then(|| Self {
            packet,
            at,
            key: key.lowered(),
            algorithm: algorithm.lowered(),
            time: seconds(*time),
            fudge: u16::from_be_bytes(*fudge),
            mac,
            id: u16::from_be_bytes(*id),
            error: u16::from_be_bytes(*error),
            other,
        })
    }

    /// Checks the signature of a query, in the order of RFC 8945 section 5.2: key, signature, time,
    /// truncation. `secret` is that of [`Tsig::key`], `now` in seconds since 1970. Returns the
    /// signer of the replies, and why the query is not accepted, if so.
    ///
    /// # Errors
    /// The signature has a length that none has.
    pub fn check(&self, secret: Option<&Arc<[u8]>>, now: u64) -> Result<Signer, BadTsig> {
        let known = secret.zip(Algorithm::of(&self.algorithm));
        let Some((secret, (algorithm, octets))) = known else { return Ok(self.signer(None, Some(Fault::BadKey))) };
        if self.mac.len() > octets || self.mac.len() < LEAST_MAC.max(octets / 2) {
            return Err(BadTsig);
        }
        if !algorithm.verify(secret, &[&self.header(), &self.packet[HEADER..self.at], &self.variables()], self.mac) {
            return Ok(self.signer(None, Some(Fault::BadSig)));
        }
        let fault = match () {
            () if now.abs_diff(self.time) > u64::from(self.fudge) => Some(Fault::BadTime),
            () if self.mac.len() < octets => Some(Fault::BadTrunc),
            () => None,
        };
        Ok(self.signer(Some(Secret { octets: secret.clone(), algorithm }), fault))
    }

    fn signer(&self, secret: Option<Secret>, fault: Option<Fault>) -> Signer {
        let chain = Chain { mac: self.mac.to_vec(), is_first: true };
        Signer { key: self.key, algorithm: self.algorithm, secret, fault, time: self.time, chain: Mutex::new(chain) }
    }

    /// The header as it was signed: without this record, and with the id of that time.
    fn header(&self) -> [u8; HEADER] {
        let mut header = *self.packet.first_chunk().expect("the gate has read the header");
        header[..2].copy_from_slice(&self.id.to_be_bytes());
        let additionals = u16::from_be_bytes([header[10], header[11]]) - 1;
        header[10..].copy_from_slice(&additionals.to_be_bytes());
        header
    }

    fn variables(&self) -> Vec<u8> {
        let Self { key, algorithm, time, fudge, error, other, .. } = self;
        variables(key, algorithm, &timers(*time, *fudge), *error, other)
    }
}

/// The fields of the record that are signed with the message (RFC 8945 section 4.3.3).
fn variables(key: &Name, algorithm: &Name, timers: &[u8; 8], error: u16, other: &[u8]) -> Vec<u8> {
    let len = (other.len() as u16).to_be_bytes();
    let class = class::ANY.to_be_bytes();
    [key.wire(), &class, &[0; 4], algorithm.wire(), timers, &error.to_be_bytes(), &len, other].concat()
}

fn timers(time: u64, fudge: u16) -> [u8; 8] {
    let mut timers = [0; 8];
    timers[..6].copy_from_slice(&octets(time));
    timers[6..].copy_from_slice(&fudge.to_be_bytes());
    timers
}

/// Returns a time in 48 bits.
fn octets(time: u64) -> [u8; 6] {
    let [_, _, octets @ ..] = time.to_be_bytes();
    octets
}

fn seconds(octets: [u8; 6]) -> u64 {
    octets.into_iter().fold(0, |time, octet| time << 8 | u64::from(octet))
}

//----------- Signer ---------------------------------------------------------

/// Signs the replies to one signed query. Of several messages each is signed together with the
/// signature before it (RFC 8945 section 5.3.1).
pub struct Signer {
    key: Name,
    algorithm: Name,
    /// `None` if the key or the signature of the query is wrong: such a reply has a TSIG record
    /// without a signature (RFC 8945 section 5.3.2).
    secret: Option<Secret>,
    fault: Option<Fault>,
    /// When the query was signed.
    time: u64,
    chain: Mutex<Chain>,
}

struct Secret {
    octets: Arc<[u8]>,
    algorithm: Algorithm,
}

/// The signature before the next message.
struct Chain {
    mac: Vec<u8>,
    /// The next message is the first one.
    is_first: bool,
}

impl Signer {
    /// Returns why the query is not accepted, if so.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Returns the octets that signing adds to a message.
    #[must_use]
    pub fn added(&self) -> usize {
        let mac = self.secret.as_ref().and_then(|_| Algorithm::of(&self.algorithm)).map_or(0, |(_, octets)| octets);
        let other = if self.fault == Some(Fault::BadTime) { 6 } else { 0 };
        self.key.len() + 10 + self.algorithm.len() + 16 + mac + other
    }

    /// Signs the message from `start` to the end of `out`, and adds the record to it. `now` is in
    /// seconds since 1970.
    pub fn sign(&self, out: &mut Vec<u8>, start: usize, now: u64) {
        // The client's time comes back with ours behind it, so that it can set its clock (RFC 8945
        // section 5.2.3).
        let (time, own) = if self.fault == Some(Fault::BadTime) { (self.time, Some(octets(now))) } else { (now, None) };
        let (timers, other) = (timers(time, FUDGE), own.as_ref().map_or(&[][..], |own| own));
        let error = self.fault.map_or(0, |fault| fault as u16);
        let mac = match &self.secret {
            None => Vec::new(),
            Some(secret) => {
                let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
                let signed = match chain.is_first {
                    true => variables(&self.key, &self.algorithm, &timers, error, other),
                    false => timers.to_vec(),
                };
                let before = (chain.mac.len() as u16).to_be_bytes();
                let mac = secret.algorithm.sign(&secret.octets, &[&before, &chain.mac, &out[start..], &signed]);
                *chain = Chain { mac: mac.clone(), is_first: false };
                mac
            }
        };
        let id = [out[start], out[start + 1]];
        let len = (mac.len() as u16).to_be_bytes();
        let error = error.to_be_bytes();
        let other_len = (other.len() as u16).to_be_bytes();
        let data = [self.algorithm.wire(), &timers, &len, &mac, &id, &error, &other_len, other].concat();
        out.extend_from_slice(self.key.wire());
        out.extend_from_slice(&rtype::TSIG.to_be_bytes());
        out.extend_from_slice(&class::ANY.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(&data);
        let additionals = u16::from_be_bytes([out[start + 10], out[start + 11]]) + 1;
        out[start + 10..start + 12].copy_from_slice(&additionals.to_be_bytes());
    }
}

#[cfg(test)]
#[path = "tsig_tests.rs"]
mod tests;
