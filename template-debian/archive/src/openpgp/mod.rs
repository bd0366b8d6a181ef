//! Whether an InRelease file was signed by somebody the person trusts.
//!
//! Everything else goes through [`Verifier`], so that rpgp can be exchanged. rpgp checks the
//! mathematics and the framing; what it leaves to the caller is decided in `certificate`:
//! expiry, revocation, key flags, bindings, hashes and key sizes that are too weak.

mod certificate;
mod keyring;

pub use certificate::Concessions;
#[cfg(any(test, feature = "testing"))]
pub(crate) use certificate::id_of as key_id;
pub use keyring::Keyring;

use crate::Result;

/// A text that was signed by a trusted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The text, and nothing that stands around it.
    pub text: String,
    /// Why it would be refused if nothing was given up ([`Concessions`]).
    pub conceded: Option<String>,
}

/// Somebody who can tell whether a cleartext-signed message is good.
pub trait Verifier {
    /// The signed text of `message`, if at least one signature
    /// is good at `now` (seconds since 1970). `what` names the message in errors.
    fn verify(&self, message: &[u8], now: i64, what: &str) -> Result<Signed>;

    /// Tells one set of trusted keys from another, in 64 hexadecimal digits.
    fn identity(&self) -> String;
}
