//! What identifies an image: everything a person chose that changes it.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{FORMAT, Wanted};
use crate::download::hex;

/// Template and key of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageKey {
    /// The template's name.
    pub template: String,
    /// 32 hexadecimal digits.
    pub key: String,
}

impl ImageKey {
    /// The key of what is wanted. What the mirror holds now is no part of it: that is the
    /// fingerprint, which stands in the record and decides whether the image is current.
    pub fn of(wanted: &Wanted<'_>) -> Self {
        let description = &wanted.template.description;
        let identity = (
            FORMAT,
            &description.name,
            &description.version,
            &wanted.options.arch,
            &wanted.options.identity,
        );
        let json = serde_json::to_vec(&identity).unwrap_or_default();
        Self {
            template: description.name.clone(),
            key: hex(&Sha256::digest(json))[..32].to_owned(),
        }
    }
}

impl fmt::Display for ImageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.template, self.key)
    }
}
