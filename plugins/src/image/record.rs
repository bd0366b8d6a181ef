//! What stands beside an image in KEY.json.

use sampan_core::PackageRecord;
use serde::{Deserialize, Serialize};

/// An image's record. Field names are stable within a format version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The template's name.
    pub template: String,
    /// The template's version.
    pub template_version: String,
    /// The image's key.
    pub key: String,
    /// The Debian architecture name.
    pub arch: String,
    /// The options that change the image; files by the SHA-256 of their contents.
    pub options: Vec<(String, String)>,
    /// The identity of the inputs, as the template told it.
    pub fingerprint: Option<String>,
    /// SHA-256 of the archive.
    pub sha256: String,
    /// Size of the archive in bytes.
    pub size: u64,
    /// Bytes of all files in it.
    pub unpacked_size: u64,
    /// How many entries it has.
    pub entries: u64,
    /// The newest modification time in it, seconds since 1970.
    pub source_date_epoch: i64,
    /// When it was built, seconds since 1970.
    pub built_at: u64,
    /// What is installed.
    pub packages: Vec<PackageRecord>,
    /// What the template needs to build the same image again; empty when it cannot say.
    #[serde(default)]
    pub lock: String,
}
