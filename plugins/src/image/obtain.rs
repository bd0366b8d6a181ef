//! From a wish to an image: out of the cache when it is current, built when it is not.

use std::time::{SystemTime, UNIX_EPOCH};

use sampan_core::{Level, Span};

use super::{ImageKey, ImageRecord, ImageStore, StoredImage, pack::pack, tree::build_tree};
use crate::{PluginError, ResolvedOptions, Session, Template};

/// What image is wanted.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The template.
    pub template: &'a Template,
    /// Its options.
    pub options: &'a ResolvedOptions,
}

/// When an image in the cache will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// When its fingerprint is that of the inputs as they are now.
    Current,
    /// The same, but if they were looked at in the last ten minutes, that will do.
    Recent,
    /// Never: build it anew.
    Rebuild,
    /// Always, and nothing is fetched.
    Offline,
}

/// An image, and where it came from.
#[derive(Debug)]
pub struct Obtained {
    /// The image.
    pub image: StoredImage,
    /// Whether it was built for this wish.
    pub built: bool,
}

impl ImageStore {
    /// Finds or builds the image that is wanted. Of several processes that want the same one at
    /// once, one builds and the others wait for it.
    ///
    /// # Errors
    /// When it cannot be built. The cache is then as it was.
    pub fn obtain(
        &self,
        session: &Session<'_>,
        wanted: Wanted<'_>,
        freshness: Freshness,
    ) -> Result<Obtained, PluginError> {
        let key = ImageKey::of(&wanted);
        if freshness == Freshness::Offline {
            return match self.get(&key)? {
                Some(image) => Ok(cached(image)),
                None => Err(PluginError::Offline {
                    template: key.template,
                }),
            };
        }
        // Leftovers of killed builds go whenever somebody has to do with images; what cannot be
        // removed is no reason to stop.
        if let Err(error) = self.sweep() {
            session.reporter.log(Level::Warn, &error.to_string());
        }
        let asked_at = now();
        let before = self.get(&key)?;
        if freshness == Freshness::Recent
            && let Some(image) = &before
            && self.is_recent(image, wanted.template, asked_at)
        {
            return Ok(cached(image.clone()));
        }
        let fingerprint = session.fingerprint(wanted.template, wanted.options)?;
        // Somebody else may have built one meanwhile.
        let before = self.get(&key)?;
        if let Some(image) = &before
            && freshness != Freshness::Rebuild
            && image.record.fingerprint == fingerprint
        {
            self.keep_looked(image, wanted.template, asked_at);
            return Ok(cached(image.clone()));
        }

        let lock = self.lock(&key, session.cancellation, || {
            let message = format!("another sampan builds {key}; waiting for it");
            session.reporter.log(Level::Info, &message);
        })?;
        // Somebody else may have built it while we waited. Which of two images is newer no clock can
        // tell: it may have been set back.
        let built_at = |image: &StoredImage| image.record.built_at;
        if let Some(image) = self.get(&key)?
            && image.record.fingerprint == fingerprint
            && (freshness != Freshness::Rebuild
                || Some(built_at(&image)) != before.as_ref().map(built_at))
        {
            return Ok(cached(image));
        }
        let why = match (&before, freshness) {
            (_, Freshness::Rebuild) => "building the image anew",
            (Some(_), _) => "the mirror has news; building the image anew",
            (None, _) => "building the image",
        };
        session.reporter.log(Level::Info, why);
        let begun_at = now();
        let image = self.build(session, wanted, &key)?;
        self.keep_looked(&image, wanted.template, begun_at);
        drop(lock);
        Ok(Obtained { image, built: true })
    }

    fn build(
        &self,
        session: &Session<'_>,
        wanted: Wanted<'_>,
        key: &ImageKey,
    ) -> Result<StoredImage, PluginError> {
        let staging = self.stage()?;
        let (tree, outcome) = build_tree(session, wanted, &staging)?;
        let archive = staging.path().join("image.tar.zst");
        let newest = wanted.options.newest(outcome.source_date_epoch);
        let begun = Span::now();
        let packed = pack(
            tree.path(),
            &archive,
            newest,
            session.reporter,
            session.cancellation,
        )?;
        session.reporter.span(&Span::since(begun, "pack", ""));
        let record = ImageRecord {
            template: key.template.clone(),
            template_version: wanted.template.description.version.clone(),
            key: key.key.clone(),
            arch: wanted.options.arch.clone(),
            options: wanted.options.identity.clone(),
            fingerprint: Some(outcome.fingerprint).filter(|fingerprint| !fingerprint.is_empty()),
            sha256: packed.sha256,
            size: packed.size,
            unpacked_size: packed.unpacked_size,
            entries: packed.entries,
            source_date_epoch: newest,
            built_at: now(),
            packages: outcome.packages,
            lock: outcome.lock,
        };
        self.commit(key, &staging, &archive, &record)
    }
}

fn cached(image: StoredImage) -> Obtained {
    Obtained {
        image,
        built: false,
    }
}

/// Seconds since 1970; a clock before that counts as 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
