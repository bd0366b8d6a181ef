//! A keyring file: the keys whose signatures are believed.

use pgp::{
    composed::{CleartextSignedMessage, Deserializable, SignedPublicKey},
    packet::{Signature, SignatureType},
    types::KeyDetails,
};
use sha2::{Digest, Sha256};

use super::{
    Signed, Verifier,
    certificate::{self, Concessions, Terms},
};
use crate::{Error, Result, date, source::hex};

/// Debian's own keys; keyring/PROVENANCE.md says where they are from.
const DEBIAN: &[u8] = include_bytes!("../../keyring/debian-archive-keyring.gpg");

/// Some keys, with a name for errors.
#[derive(Debug, Clone)]
pub struct Keyring {
    name: String,
    keys: Vec<SignedPublicKey>,
    allow: Concessions,
}

impl Keyring {
    /// Debian's archive keys, as this crate carries them.
    pub fn debian() -> Result<Self> {
        Self::parse(DEBIAN, "debian-archive-keyring, which Sampan carries")
    }

    /// Reads a keyring: binary, or one or more armored blocks; `name` is what people know it by.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self> {
        let bad = |reason: String| Error::Keyring {
            keyring: name.to_owned(),
            reason,
        };
        let begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
        let mut keys = Vec::new();
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains(begin) => {
                for block in text.split(begin).skip(1) {
                    let block = format!("{begin}{block}");
                    let (found, _) = SignedPublicKey::from_string_many(&block)
                        .map_err(|error| bad(error.to_string()))?;
                    keys.extend(found);
                }
            }
            _ => {
                let found = SignedPublicKey::from_bytes_many(bytes)
                    .map_err(|error| bad(error.to_string()))?;
                keys.extend(found);
            }
        }
        // Keys that rpgp cannot read (of a kind it does not know) are no use, but no harm either.
        let keys: Vec<SignedPublicKey> = keys.into_iter().flatten().collect();
        if keys.is_empty() {
            return Err(bad("there is no OpenPGP public key in it".to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            keys,
            allow: Concessions::default(),
        })
    }

    /// The same keys under rules that give something up.
    #[must_use]
    pub fn allowing(mut self, allow: Concessions) -> Self {
        self.allow = allow;
        self
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key; never so for a keyring that was read.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Why one signature is not good; nothing when it is.
    fn refuse(
        &self,
        signature: &Signature,
        text: &str,
        now: i64,
        allow: Concessions,
    ) -> Option<String> {
        let issuer = issuer(signature);
        // First, since rpgp gives the same answer for a weak hash as for a changed text.
        if let Err(why) = certificate::check_hash(signature, allow) {
            return Some(format!("key {issuer}: {why}"));
        }
        let mut reason = None;
        for key in &self.keys {
            for component in certificate::components(key) {
                if !component.made(signature, text.as_bytes()) {
                    continue;
                }
                let judged = check_signature(signature, now)
                    .and_then(|made| component.check(&Terms { made, now, allow }));
                match judged {
                    Ok(()) => return None,
                    Err(why) => reason = Some(format!("key {issuer}: {why}")),
                }
            }
        }
        Some(reason.unwrap_or_else(|| {
            let known = self
                .keys
                .iter()
                .flat_map(certificate::components)
                .any(|component| component.id() == issuer);
            if known {
                format!("key {issuer}: its signature does not fit the text, which was changed")
            } else {
                format!("key {issuer}: not in the keyring {}", self.name)
            }
        }))
    }
}

impl Verifier for Keyring {
    fn verify(&self, message: &[u8], now: i64, what: &str) -> Result<Signed> {
        let refuse = |reasons: Vec<String>, keyring_may_help| Error::Signature {
            what: what.to_owned(),
            reasons,
            keyring_may_help,
        };
        let text = std::str::from_utf8(message)
            .map_err(|_| refuse(vec!["it is not text".to_owned()], false))?;
        let (message, _) = CleartextSignedMessage::from_string(text).map_err(|error| {
            let reason = format!("it is not one OpenPGP cleartext-signed message: {error}");
            refuse(vec![reason], false)
        })?;
        if message.signatures().is_empty() {
            return Err(refuse(vec!["it has no signature".to_owned()], false));
        }
        let signed = message.signed_text();
        // Line ends were made canonical (CR LF) for the hash; readers want LF.
        let believed = |conceded| Signed {
            text: signed.replace("\r\n", "\n"),
            conceded,
        };
        let mut reasons = Vec::new();
        for signature in message.signatures() {
            match self.refuse(signature, &signed, now, Concessions::default()) {
                None => return Ok(believed(None)),
                Some(reason) => reasons.push(reason),
            }
        }
        // Only when no signature is good by the usual rules.
        if self.allow != Concessions::default() {
            for (signature, reason) in message.signatures().iter().zip(&reasons) {
                if self.refuse(signature, &signed, now, self.allow).is_none() {
                    return Ok(believed(Some(reason.clone())));
                }
            }
        }
        let keyring_may_help = reasons.iter().any(|reason| !reason.contains("was changed"));
        Err(refuse(reasons, keyring_may_help))
    }

    fn identity(&self) -> String {
        let mut prints: Vec<Vec<u8>> = self
            .keys
            .iter()
            .map(|key| key.fingerprint().as_bytes().to_vec())
            .collect();
        prints.sort();
        prints.dedup();
        hex(&Sha256::digest(prints.concat()))
    }
}

/// The key that a signature says it is by. Only a hint, for people.
fn issuer(signature: &Signature) -> String {
    let ids = signature.issuer_key_id();
    let fingerprints = signature.issuer_fingerprint();
    match (fingerprints.first(), ids.first()) {
        (Some(fingerprint), _) => certificate::id_of(fingerprint.as_bytes()),
        (None, Some(id)) => certificate::id_of(id.as_ref()),
        (None, None) => "that it does not name".to_owned(),
    }
}

/// When a signature was made, if it is of the right type and its time is not over.
fn check_signature(signature: &Signature, now: i64) -> std::result::Result<i64, String> {
    match signature.typ() {
        Some(SignatureType::Text | SignatureType::Binary) => {}
        _ => return Err("its signature is not one over a document".to_owned()),
    }
    let made = signature
        .created()
        .map(|time| i64::from(time.as_secs()))
        .ok_or("its signature does not say when it was made")?;
    if made > now + certificate::CLOCK_SKEW {
        return Err(format!(
            "its signature is from the future: {}",
            date::format(made)
        ));
    }
    match signature.signature_expiration_time() {
        Some(span) if span.as_secs() != 0 && made + i64::from(span.as_secs()) <= now => {
            Err(format!(
                "its signature expired on {}",
                date::format(made + i64::from(span.as_secs()))
            ))
        }
        _ => Ok(made),
    }
}

#[cfg(test)]
mod tests;
