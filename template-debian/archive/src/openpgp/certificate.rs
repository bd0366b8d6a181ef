//! What a key may do, and until when: the judgement of its self-signatures (RFC 9580, 5.2.3).

use pgp::{
    composed::{SignedPublicKey, SignedPublicSubKey},
    crypto::{hash::HashAlgorithm, public_key::PublicKeyAlgorithm},
    packet::{Signature, SignatureType, SubpacketData},
    ser::Serialize,
    types::{KeyDetails, Tag},
};

use crate::date;

type Verdict = std::result::Result<(), String>;

/// The smallest RSA modulus that is believed, in bits.
const RSA_BITS: usize = 2048;

/// The smallest that is believed of somebody who allows weak keys: archives of their time had these.
const WEAK_RSA_BITS: usize = 1024;

/// How far a signature may lie in the future before it is refused: clocks differ.
pub const CLOCK_SKEW: i64 = 24 * 60 * 60;

/// What a person gives up of the judgement, for archives whose keys are of another time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Concessions {
    /// A key that has expired since may have made the signature before that.
    pub expired_key: bool,
    /// DSA keys, RSA keys from 1024 bits, and signatures over SHA-1 count.
    pub weak_key: bool,
}

/// When a signature was made, when it is judged, and by which rules.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// When the signature says it was made, seconds since 1970.
    pub made: i64,
    /// Now.
    pub now: i64,
    /// What is given up.
    pub allow: Concessions,
}

impl Terms {
    /// Until when keys and their bindings must have lasted.
    fn until(&self) -> i64 {
        match self.allow.expired_key {
            true => self.made,
            false => self.made.max(self.now),
        }
    }
}

/// A primary key or one of its subkeys.
pub enum Component<'k> {
    /// The primary key.
    Primary(&'k SignedPublicKey),
    /// A subkey, and the key it belongs to.
    Subkey(&'k SignedPublicKey, &'k SignedPublicSubKey),
}

/// Everything in a key that might make signatures.
pub fn components(key: &SignedPublicKey) -> impl Iterator<Item = Component<'_>> {
    std::iter::once(Component::Primary(key)).chain(
        key.public_subkeys
            .iter()
            .map(move |sub| Component::Subkey(key, sub)),
    )
}

/// The short form that people compare: `0x` and the last 16 digits of a fingerprint.
pub fn id_of(fingerprint: &[u8]) -> String {
    let tail = fingerprint.len().saturating_sub(8);
    let digits: String = fingerprint[tail..]
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect();
    format!("0x{digits}")
}

/// Refuses hashes for which collisions can be made.
pub fn check_hash(signature: &Signature, allow: Concessions) -> Verdict {
    match signature.hash_alg() {
        Some(
            HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512,
        ) => Ok(()),
        Some(HashAlgorithm::Sha1) if allow.weak_key => Ok(()),
        Some(other) => Err(format!("its signature uses {other}, which is too weak")),
        None => Err("its signature is of a kind that is not known".to_owned()),
    }
}

impl Component<'_> {
    /// The key id, for people.
    pub fn id(&self) -> String {
        match self {
            Self::Primary(key) => id_of(key.fingerprint().as_bytes()),
            Self::Subkey(_, sub) => id_of(sub.fingerprint().as_bytes()),
        }
    }

    /// Whether this very key made the signature over `text`. Says nothing about whether it may.
    pub fn made(&self, signature: &Signature, text: &[u8]) -> bool {
        match self {
            Self::Primary(key) => signature.verify(&key.primary_key, text).is_ok(),
            Self::Subkey(_, sub) => signature.verify(&sub.key, text).is_ok(),
        }
    }

    /// Whether this key was allowed to make a document signature, and still is.
    pub fn check(&self, terms: &Terms) -> Verdict {
        match self {
            Self::Primary(key) => {
                let own = primary_signature(key, terms)?;
                check_primary(key, own, terms)?;
                // Without flags a primary key may sign (it has no binding that forbids it).
                if has_flags(own) && !own.key_flags().sign() {
                    return Err("not a signing key by its own flags".to_owned());
                }
                Ok(())
            }
            Self::Subkey(key, sub) => {
                let own = primary_signature(key, terms)?;
                check_primary(key, own, terms).map_err(|why| format!("its primary key: {why}"))?;
                check_subkey(key, sub, terms)
            }
        }
    }
}

fn check_primary(key: &SignedPublicKey, own: &Signature, terms: &Terms) -> Verdict {
    let revoked = key
        .details
        .revocation_signatures
        .iter()
        .any(|signature| signature.verify_key(&key.primary_key).is_ok());
    if revoked {
        return Err("revoked by its owner".to_owned());
    }
    check_strength(&key.primary_key, terms.allow)?;
    check_time(&key.primary_key, own, terms)
}

fn check_subkey(key: &SignedPublicKey, sub: &SignedPublicSubKey, terms: &Terms) -> Verdict {
    let good = |signature: &&Signature| {
        signature
            .verify_subkey_binding(&key.primary_key, &sub.key)
            .is_ok()
    };
    let revoked = sub
        .signatures
        .iter()
        .filter(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation))
        .any(|signature| good(&signature));
    if revoked {
        return Err("revoked by its owner".to_owned());
    }
    let binding = sub
        .signatures
        .iter()
        .filter(|signature| signature.typ() == Some(SignatureType::SubkeyBinding))
        .filter(|signature| is_current(signature, terms))
        .filter(good)
        .max_by_key(|signature| created(signature))
        .ok_or("not bound to its primary key")?;
    if !binding.key_flags().sign() {
        return Err("not a signing key by its flags".to_owned());
    }
    let back = binding
        .embedded_signature()
        .ok_or("has no back signature, so it may be somebody else's")?;
    check_hash(back, terms.allow)?;
    back.verify_primary_key_binding(&sub.key, &key.primary_key)
        .map_err(|_| "has a bad back signature, so it may be somebody else's")?;
    check_strength(&sub.key, terms.allow)?;
    check_time(&sub.key, binding, terms)
}

/// The newest good self-signature: it says what the key may do and until when.
fn primary_signature<'k>(
    key: &'k SignedPublicKey,
    terms: &Terms,
) -> std::result::Result<&'k Signature, String> {
    let primary = &key.primary_key;
    let direct = key
        .details
        .direct_signatures
        .iter()
        .filter(|signature| signature.verify_key(primary).is_ok());
    let users = key.details.users.iter().flat_map(|user| {
        let good = move |signature: &&Signature| {
            signature
                .verify_certification(primary, Tag::UserId, &user.id)
                .is_ok()
        };
        let revoked = user
            .signatures
            .iter()
            .filter(|signature| signature.typ() == Some(SignatureType::CertRevocation))
            .filter(good)
            .map(created)
            .max();
        user.signatures
            .iter()
            .filter(|signature| signature.typ() != Some(SignatureType::CertRevocation))
            .filter(good)
            .filter(move |signature| revoked.is_none_or(|at| created(signature) > at))
    });
    direct
        .chain(users)
        .filter(|signature| is_current(signature, terms))
        .max_by_key(|signature| created(signature))
        .ok_or_else(|| "has no good signature by itself".to_owned())
}

/// A self-signature that can count: strong, already made, not expired.
fn is_current(signature: &Signature, terms: &Terms) -> bool {
    let over = signature.signature_expiration_time().is_some_and(|span| {
        span.as_secs() != 0 && created(signature) + i64::from(span.as_secs()) <= terms.until()
    });
    let made = created(signature) <= terms.now + CLOCK_SKEW;
    made && !over && check_hash(signature, terms.allow).is_ok()
}

fn created(signature: &Signature) -> i64 {
    signature
        .created()
        .map_or(0, |time| i64::from(time.as_secs()))
}

fn has_flags(signature: &Signature) -> bool {
    signature.config().is_some_and(|config| {
        config
            .hashed_subpackets()
            .any(|packet| matches!(packet.data, SubpacketData::KeyFlags(_)))
    })
}

fn check_time(key: &impl KeyDetails, own: &Signature, terms: &Terms) -> Verdict {
    let made = terms.made;
    let born = i64::from(key.created_at().as_secs());
    if made < born {
        return Err(format!(
            "its signature of {} is older than the key, made on {}",
            date::format(made),
            date::format(born)
        ));
    }
    match own
        .key_expiration_time()
        .map(|span| i64::from(span.as_secs()))
    {
        None | Some(0) => Ok(()),
        Some(span) if born + span <= terms.until() => {
            Err(format!("expired on {}", date::format(born + span)))
        }
        Some(_) => Ok(()),
    }
}

fn check_strength(key: &impl KeyDetails, allow: Concessions) -> Verdict {
    match key.algorithm() {
        PublicKeyAlgorithm::RSA | PublicKeyAlgorithm::RSASign => {
            let least = match allow.weak_key {
                true => WEAK_RSA_BITS,
                false => RSA_BITS,
            };
            // Two lengths of two bytes and an exponent of at most eight stand beside the modulus.
            let bytes = key.public_params().write_len();
            if bytes < least / 8 {
                return Err(format!("an RSA key of fewer than {least} bits is too weak"));
            }
            Ok(())
        }
        PublicKeyAlgorithm::DSA if allow.weak_key => Ok(()),
        PublicKeyAlgorithm::DSA | PublicKeyAlgorithm::Elgamal => {
            Err("a DSA key is too weak".to_owned())
        }
        _ => Ok(()),
    }
}
