//! Keys that sign made-up archives, good ones and bad ones.

use pgp::{
    composed::{
        ArmorOptions, CleartextSignedMessage, DsaKeySize, KeyType, SecretKeyParamsBuilder,
        SignedKeyDetails, SignedPublicKey, SignedPublicSubKey, SubkeyParamsBuilder,
    },
    crypto::{hash::HashAlgorithm, public_key::PublicKeyAlgorithm, rsa},
    packet::{
        KeyFlags, PubKeyInner, PublicKey, SecretKey, SecretSubkey, Signature, SignatureConfig,
        SignatureType, Subpacket, SubpacketData, UserId,
    },
    ser::Serialize,
    types::{
        Duration, KeyDetails, KeyVersion, Password, PlainSecretParams, PublicParams, SecretParams,
        SignedUser, Tag, Timestamp,
    },
};

use crate::{date, openpgp::key_id};

/// A key and how it behaves.
#[derive(Debug, Clone)]
pub struct Key {
    secret: SecretKey,
    created: i64,
    expires: Option<i64>,
    may_sign: bool,
    revoked: bool,
    signs_at: Option<i64>,
    hash: HashAlgorithm,
    certified_over: HashAlgorithm,
    subkey: Option<(SecretSubkey, Binding)>,
}

/// How a subkey, which then makes all signatures, belongs to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// As it should.
    Good,
    /// Not at all: it was put beside the key.
    None,
    /// Without the signature by the subkey, so that it may be somebody else's.
    OneSided,
    /// Not for signing.
    WithoutSignFlag,
    /// Taken back.
    Revoked,
}

impl Key {
    /// A fresh key, made a year ago, without an end.
    pub fn generate() -> Self {
        Self::generate_at(date::now() - 365 * 86_400)
    }

    /// A fresh key that says it was made at `created` (seconds since 1970).
    pub fn generate_at(created: i64) -> Self {
        Self::generate_kind(KeyType::Ed25519Legacy, created)
    }

    fn generate_kind(kind: KeyType, created: i64) -> Self {
        let secret = SecretKeyParamsBuilder::default()
            .key_type(kind)
            .can_sign(true)
            .can_certify(true)
            .created_at(timestamp(created))
            .primary_user_id("made up for a test".to_owned())
            .build()
            .expect("fixed parameters")
            .generate(rand::thread_rng())
            .expect("a key");
        Self::of(secret.primary_key.clone(), created)
    }

    fn of(secret: SecretKey, created: i64) -> Self {
        Self {
            secret,
            created,
            expires: None,
            may_sign: true,
            revoked: false,
            signs_at: None,
            hash: HashAlgorithm::Sha512,
            certified_over: HashAlgorithm::Sha512,
            subkey: None,
        }
    }

    /// A fresh key with a subkey, which makes the signatures.
    pub fn with_subkey(binding: Binding) -> Self {
        let key = Self::generate();
        let subkey = SubkeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_sign(true)
            .created_at(timestamp(key.created))
            .build()
            .expect("fixed parameters");
        let mut pair = SecretKeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .created_at(timestamp(key.created))
            .primary_user_id("made up for a test".to_owned())
            .subkeys(vec![subkey])
            .build()
            .expect("fixed parameters")
            .generate(rand::thread_rng())
            .expect("a key");
        let subkey = pair.secret_subkeys.remove(0).key;
        Self {
            subkey: Some((subkey, binding)),
            ..key
        }
    }

    /// The same key, over at `at`.
    #[must_use]
    pub fn expires(mut self, at: i64) -> Self {
        self.expires = Some(at);
        self
    }

    /// The same key, revoked by its owner.
    #[must_use]
    pub fn revoked(mut self) -> Self {
        self.revoked = true;
        self
    }

    /// The same key without the flag that lets it sign documents.
    #[must_use]
    pub fn without_sign_flag(mut self) -> Self {
        self.may_sign = false;
        self
    }

    /// The same key, whose signatures say that they were made at `at`.
    #[must_use]
    pub fn signs_at(mut self, at: i64) -> Self {
        self.signs_at = Some(at);
        self
    }

    /// A fresh key, made a year ago, that signs over SHA-1.
    pub fn generate_for_sha1() -> Self {
        let created = date::now() - 365 * 86_400;
        Self {
            hash: HashAlgorithm::Sha1,
            // rpgp makes such signatures with RSA only.
            ..Self::generate_kind(KeyType::Rsa(2048), created)
        }
    }

    /// A fresh DSA key of 1024 bits, made a year ago, that signs and certifies itself over SHA-1 as
    /// the keys of the first signed archives did.
    pub fn generate_dsa() -> Self {
        let created = date::now() - 365 * 86_400;
        Self {
            hash: HashAlgorithm::Sha1,
            ..Self::generate_kind(KeyType::Dsa(DsaKeySize::B1024), created)
        }
        .certified_over_sha1()
    }

    /// A fresh RSA key of 1024 bits, made a year ago.
    pub fn generate_small_rsa() -> Self {
        let created = date::now() - 365 * 86_400;
        let secret = rsa::SecretKey::generate(rand::thread_rng(), 1024).expect("a key");
        // The builder of whole keys refuses to make one.
        let public = PubKeyInner::new(
            KeyVersion::V4,
            PublicKeyAlgorithm::RSA,
            timestamp(created),
            None,
            PublicParams::RSA((&secret).into()),
        )
        .and_then(PublicKey::from_inner)
        .expect("a public key");
        let params = SecretParams::Plain(PlainSecretParams::RSA(secret));
        Self::of(SecretKey::new(public, params).expect("a key"), created)
    }

    /// The same key with a self-signature over SHA-1.
    #[must_use]
    pub fn certified_over_sha1(mut self) -> Self {
        self.certified_over = HashAlgorithm::Sha1;
        self
    }

    /// Its id as errors show it.
    pub fn id(&self) -> String {
        key_id(self.secret.public_key().fingerprint().as_bytes())
    }

    /// The public key as a keyring holds it.
    pub fn public(&self) -> Vec<u8> {
        self.certificate().to_bytes().expect("into memory")
    }

    /// The public key in armor.
    pub fn public_armored(&self) -> String {
        let options = ArmorOptions::default();
        self.certificate()
            .to_armored_string(options)
            .expect("into memory")
    }

    fn certificate(&self) -> SignedPublicKey {
        let public = self.secret.public_key();
        let password = Password::empty();
        let id = UserId::from_str(Default::default(), "made up for a test").expect("a user id");
        let mut flags = KeyFlags::default();
        flags.set_certify(true);
        flags.set_sign(self.may_sign);
        let mut packets = vec![SubpacketData::KeyFlags(flags)];
        if let Some(at) = self.expires {
            let span = u32::try_from(at - self.created).expect("a span that fits");
            packets.push(SubpacketData::KeyExpirationTime(Duration::from_secs(span)));
        }
        let own = self
            .config(
                SignatureType::CertPositive,
                self.certified_over,
                self.created,
                packets,
            )
            .sign_certification(&self.secret, public, &password, Tag::UserId, &id)
            .expect("a self-signature");
        let revocations = self.revoked.then(|| {
            self.config(
                SignatureType::KeyRevocation,
                HashAlgorithm::Sha512,
                self.created,
                vec![],
            )
            .sign_key(&self.secret, &password, public)
            .expect("a revocation")
        });
        let details = SignedKeyDetails::new(
            revocations.into_iter().collect(),
            vec![],
            vec![SignedUser::new(id, vec![own])],
            vec![],
        );
        let subkeys = self.subkey.as_ref().map(|(sub, how)| self.bind(sub, *how));
        SignedPublicKey::new(public.clone(), details, subkeys.into_iter().collect())
    }

    fn bind(&self, sub: &SecretSubkey, how: Binding) -> SignedPublicSubKey {
        let (public, password) = (self.secret.public_key(), Password::empty());
        let sha512 = HashAlgorithm::Sha512;
        let mut flags = KeyFlags::default();
        flags.set_sign(how != Binding::WithoutSignFlag);
        let mut packets = vec![SubpacketData::KeyFlags(flags)];
        if how != Binding::OneSided {
            let mut config =
                SignatureConfig::v4(SignatureType::KeyBinding, sub.algorithm(), sha512);
            config.hashed_subpackets = vec![
                Subpacket::regular(SubpacketData::SignatureCreationTime(timestamp(
                    self.created,
                )))
                .expect("a subpacket"),
            ];
            let back = config
                .sign_primary_key_binding(sub, sub.public_key(), &password, public)
                .expect("a back signature");
            packets.push(SubpacketData::EmbeddedSignature(Box::new(back)));
        }
        let sign = |kind, packets| {
            self.config(kind, sha512, self.created, packets)
                .sign_subkey_binding(&self.secret, public, &password, sub.public_key())
                .expect("a binding")
        };
        let mut signatures = Vec::new();
        if how != Binding::None {
            signatures.push(sign(SignatureType::SubkeyBinding, packets));
        }
        if how == Binding::Revoked {
            signatures.push(sign(SignatureType::SubkeyRevocation, vec![]));
        }
        SignedPublicSubKey {
            key: sub.public_key().clone(),
            signatures,
        }
    }

    fn config(
        &self,
        kind: SignatureType,
        hash: HashAlgorithm,
        at: i64,
        more: Vec<SubpacketData>,
    ) -> SignatureConfig {
        let mut config = SignatureConfig::v4(kind, self.secret.algorithm(), hash);
        config.hashed_subpackets = [
            SubpacketData::SignatureCreationTime(timestamp(at)),
            SubpacketData::IssuerFingerprint(self.secret.fingerprint()),
        ]
        .into_iter()
        .chain(more)
        .map(|data| Subpacket::regular(data).expect("a subpacket"))
        .collect();
        config
    }

    fn sign(&self, text: &str) -> Signature {
        let at = self.signs_at.unwrap_or_else(date::now);
        let mut config = self.config(SignatureType::Text, self.hash, at, vec![]);
        let (password, text) = (Password::empty(), text.as_bytes());
        let signed = match &self.subkey {
            None => config.sign(&self.secret, &password, text),
            Some((sub, _)) => {
                config.pub_alg = sub.algorithm();
                let issuer = SubpacketData::IssuerFingerprint(sub.fingerprint());
                config.hashed_subpackets[1] = Subpacket::regular(issuer).expect("a subpacket");
                config.sign(sub, &password, text)
            }
        };
        signed.expect("a signature")
    }
}

/// The public keys together, as a keyring file.
pub fn keyring(keys: &[Key]) -> Vec<u8> {
    keys.iter().flat_map(Key::public).collect()
}

/// `text` in a cleartext-signed message with a signature by each key.
pub fn sign_cleartext(text: &str, keys: &[Key]) -> Vec<u8> {
    CleartextSignedMessage::new_many(text, |text| {
        Ok(keys.iter().map(|key| key.sign(text)).collect())
    })
    .and_then(|message| message.to_armored_bytes(ArmorOptions::default()))
    .expect("a signed message")
}

fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_secs(u32::try_from(seconds).expect("a time that fits"))
}
