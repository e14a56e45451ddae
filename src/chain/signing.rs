//! Signed queries (TSIG, RFC 8945): the secrets of a server block, and how replies get signed.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::host::Host;
use crate::wire::name::Name;
use crate::wire::tsig::{BadTsig, Signer, Tsig};

//----------- Secrets --------------------------------------------------------

/// The secrets of a server block by the names of their keys, in lower case.
pub type Secrets = HashMap<Name, Arc<[u8]>, RandomState>;

//----------- Signing --------------------------------------------------------

/// How the replies to a query are signed. Each message of a reply is signed when it is written, so
/// that no transport has to do it.
pub struct Signing {
    signer: Signer,
    host: Arc<Host>,
}

impl Signing {
    /// Checks the signature of a query with the secret of its key.
    ///
    /// # Errors
    /// The signature has a length that none has.
    pub fn check(tsig: &Tsig<'_>, secret: Option<&Arc<[u8]>>, host: &Arc<Host>) -> Result<Self, BadTsig> {
        let signer = tsig.check(secret, host.clock.seconds_since_1970())?;
        Ok(Self { signer, host: host.clone() })
    }

    /// Returns the signer of one message after the other.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Signs the message from `start` to the end of `out`.
    pub(super) fn sign(&self, out: &mut Vec<u8>, start: usize) {
        self.signer.sign(out, start, self.host.clock.seconds_since_1970());
    }
}
