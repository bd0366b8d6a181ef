//! When an image was last found to be current: who makes ten containers in a row waits for the
//! mirror once.
//!
//! KEY.looked stands beside the image and goes with it. It is a note: without it the mirror is asked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ImageKey, ImageStore, StoredImage};
use crate::{Template, descriptions::Identity, notes};

/// For how long an image that was found to be current is taken for current. Debian's archive
/// changes four times a day, and a container that lives longer than this looks for updates itself.
const RECENT: Duration = Duration::from_secs(600);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Looked {
    /// Seconds since 1970, from before the question.
    at: u64,
    /// Of the archive that was found current.
    sha256: String,
    /// Another library may look for other things.
    identity: Identity,
}

impl ImageStore {
    /// Whether the inputs of this image were looked at so lately that they need no other look.
    pub(super) fn is_recent(&self, image: &StoredImage, template: &Template, now: u64) -> bool {
        let looked: Option<Looked> = notes::read(&self.looked_path(&image.key));
        looked.is_some_and(|looked| {
            Some(&looked.identity) == template.identity.as_ref()
                && looked.sha256 == image.record.sha256
                // A clock that was set back says nothing.
                && now.checked_sub(looked.at).is_some_and(|ago| ago < RECENT.as_secs())
        })
    }

    /// Keeps that this image was current at the time `at`.
    pub(super) fn keep_looked(&self, image: &StoredImage, template: &Template, at: u64) {
        let Some(identity) = template.identity.clone() else {
            return;
        };
        let looked = Looked {
            at,
            sha256: image.record.sha256.clone(),
            identity,
        };
        // Then the next one asks as well.
        let _ = notes::write(&self.looked_path(&image.key), &looked);
    }

    pub(super) fn looked_path(&self, key: &ImageKey) -> std::path::PathBuf {
        self.record_path(key).with_extension("looked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Found, ImageRecord};
    use std::path::Path;

    fn image(sha256: &str) -> StoredImage {
        let record = serde_json::json!({
            "template": "t", "template_version": "1", "key": "k", "arch": "amd64", "options": [],
            "fingerprint": null, "sha256": sha256, "size": 0, "unpacked_size": 0, "entries": 0,
            "source_date_epoch": 0, "built_at": 0, "packages": [],
        });
        let record: ImageRecord = serde_json::from_value(record).unwrap();
        StoredImage {
            key: ImageKey {
                template: "t".to_owned(),
                key: "k".to_owned(),
            },
            path: "/nowhere".into(),
            record,
        }
    }

    fn template(library: &Path) -> Template {
        Template {
            found: Found {
                name: "t".to_owned(),
                path: library.to_owned(),
                shadowed: false,
            },
            abi_version: String::new(),
            description: sampan_core::Description::new("t", "1", ""),
            identity: Some(Identity::of(library, library).unwrap()),
        }
    }

    #[test]
    fn a_look_lasts_ten_minutes_and_is_of_one_archive_and_one_library() {
        let directory = tempfile::tempdir().unwrap();
        let library = directory.path().join("t.so");
        std::fs::write(&library, "").unwrap();
        let store = ImageStore::new(directory.path());
        let (image, of) = (image("abc"), template(&library));
        assert!(!store.is_recent(&image, &of, 1000));
        store.keep_looked(&image, &of, 1000);
        for (now, recent) in [(1000, true), (1599, true), (1600, false), (999, false)] {
            assert_eq!(store.is_recent(&image, &of, now), recent, "at {now}");
        }
        assert!(!store.is_recent(&super::tests::image("def"), &of, 1000));
        std::fs::write(&library, "other").unwrap();
        assert!(!store.is_recent(&image, &template(&library), 1000));
    }
}
