//! The key pair of a zone.

use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair,
};

use crate::wire::name::Name;

/// Octets of the data of a DNSKEY record in front of the key: flags, protocol, algorithm.
const HEAD: usize = 4;

/// Numbers of algorithms (RFC 8624 section 3.1).
pub(super) mod algorithm {
    pub(in super::super) const RSASHA1: u8 = 5;
    pub(in super::super) const RSASHA1_NSEC3: u8 = 7;
    pub(in super::super) const RSASHA256: u8 = 8;
    pub(in super::super) const RSASHA512: u8 = 10;
    pub(in super::super) const ECDSAP256SHA256: u8 = 13;
    pub(in super::super) const ECDSAP384SHA384: u8 = 14;
    pub(in super::super) const ED25519: u8 = 15;
}

//----------- Key ------------------------------------------------------------

/// A key pair. What is secret of it is never shown.
pub struct Key {
    /// The zone that it was made for, in lower case.
    pub name: Name,
    /// The TTL of the DNSKEY record, in seconds.
    pub ttl: u32,
    data: Vec<u8>,
    signing: Signing,
}

enum Signing {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

/// The secret numbers of a key pair.
pub(super) enum Private {
    /// Of ECDSA and Ed25519.
    Number(Vec<u8>),
    /// Of RSA: modulus, private exponent, both primes, both exponents, coefficient.
    Rsa([Vec<u8>; 7]),
}

impl Key {
    /// Makes a key pair of the data of its DNSKEY record and the secret numbers.
    ///
    /// # Errors
    /// The key cannot sign; says why.
    pub(super) fn new(name: Name, ttl: u32, data: Vec<u8>, private: &Private) -> Result<Self, String> {
        let [_, _, protocol, number, public @ ..] = &data[..] else { return Err("the public key is too short".into()) };
        if *protocol != 3 {
            return Err("the protocol of a DNSKEY record is 3".to_owned());
        }
        let signing = match (*number, private) {
            (algorithm::RSASHA1 | algorithm::RSASHA1_NSEC3, _) => {
                return Err(
                    "RSA with SHA-1 is no longer accepted by resolvers (RFC 9905): use ECDSAP256SHA256".to_owned()
                );
            }
            (algorithm::ECDSAP256SHA256, Private::Number(own)) => {
                ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, 32, own, public)?
            }
            (algorithm::ECDSAP384SHA384, Private::Number(own)) => {
                ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, 48, own, public)?
            }
            (algorithm::ED25519, Private::Number(own)) => {
                let pair = Ed25519KeyPair::from_seed_and_public_key(own, public).map_err(|error| mismatch(&error))?;
                Signing::Ed25519(pair)
            }
            (algorithm::RSASHA256, Private::Rsa(own)) => Signing::Rsa(rsa(own, public)?, &RSA_PKCS1_SHA256),
            (algorithm::RSASHA512, Private::Rsa(own)) => Signing::Rsa(rsa(own, public)?, &RSA_PKCS1_SHA512),
            (8 | 10 | 13..=15, _) => return Err("the private key has another algorithm".to_owned()),
            (number, _) => {
                return Err(format!(
                    "the algorithm {number} is unknown: ECDSAP256SHA256 (13), ECDSAP384SHA384 (14), ED25519 (15), RSASHA256 (8) and RSASHA512 (10) are known"
                ));
            }
        };
        Ok(Self { name: name.lowered(), ttl, data, signing })
    }

    /// Returns the data of its DNSKEY record.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Returns the number of its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> u8 {
        self.data[HEAD - 1]
    }

    /// Returns its key tag (RFC 4034 appendix B).
    #[must_use]
    pub fn tag(&self) -> u16 {
        let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default());
        let sum: u32 = self.data.chunks(2).map(word).sum();
        (sum + (sum >> 16)) as u16
    }

    /// Returns whether it signs keys: the flags ZONE and SEP are set (RFC 4034 section 2.1.1).
    #[must_use]
    pub fn is_ksk(&self) -> bool {
        self.flags() & 0x101 == 0x101
    }

    /// Returns whether it signs other data: ZONE is set, and SEP is not.
    #[must_use]
    pub fn is_zsk(&self) -> bool {
        self.flags() & 0x101 == 0x100
    }

    fn flags(&self) -> u16 {
        u16::from_be_bytes([self.data[0], self.data[1]])
    }

    /// Signs octets.
    ///
    /// # Errors
    /// The numbers of the key do not belong together, or the system has no random numbers.
    pub(super) fn sign(&self, octets: &[u8]) -> Result<Vec<u8>, String> {
        let random = SystemRandom::new();
        let failed = |_| format!("the key {} cannot sign", self.tag());
        match &self.signing {
            Signing::Ecdsa(pair) => {
                pair.sign(&random, octets).map(|signature| signature.as_ref().to_vec()).map_err(failed)
            }
            Signing::Ed25519(pair) => Ok(pair.sign(octets).as_ref().to_vec()),
            Signing::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, octets, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

fn mismatch(error: &ring::error::KeyRejected) -> String {
    format!("the private key does not belong to the public key: {error}")
}

fn ecdsa(
    algorithm: &'static EcdsaSigningAlgorithm,
    octets: usize,
    own: &[u8],
    public: &[u8],
) -> Result<Signing, String> {
    // Some programs leave zeros at the beginning out.
    let mut number = vec![0; octets.saturating_sub(own.len())];
    number.extend_from_slice(own);
    // An uncompressed point (SEC 1 section 2.3.3).
    let point = [&[4], public].concat();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &number, &point, &SystemRandom::new());
    pair.map(Signing::Ecdsa).map_err(|error| mismatch(&error))
}

/// Makes the key pair of a public key in the form of RFC 3110 section 2.
fn rsa(own: &[Vec<u8>; 7], public: &[u8]) -> Result<RsaKeyPair, String> {
    let (len, rest) = match public {
        [0, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [len, rest @ ..] => (usize::from(*len), rest),
        [] => return Err("the public key is too short".to_owned()),
    };
    let (e, n) = rest.split_at_checked(len).ok_or("the public key is too short")?;
    let [modulus, d, p, q, d_p, d_q, q_inv] = own;
    if modulus != n {
        return Err("the private key does not belong to the public key".to_owned());
    }
    if n.len() < 256 || n.len() > 512 {
        return Err("an RSA key has 2048 to 4096 bits".to_owned());
    }
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n, e },
        d: d.as_slice(),
        p,
        q,
        dP: d_p,
        dQ: d_q,
        qInv: q_inv,
    };
    RsaKeyPair::from_components(&components).map_err(|error| mismatch(&error))
}
