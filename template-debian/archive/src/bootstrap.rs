//! From a verified suite to a finished tree.

use std::cmp::Reverse;

use sampan_core::{
    BuildOutcome, Download, Host, PackageRecord, Span, TemplateError, Unit,
    rootfs::{Existing, Metadata, Placer, Rootfs},
};

use crate::{
    Result, clean,
    configure::Configurer,
    dpkg_database,
    lock::{self, Lock},
    packages::{Index, Package},
    selection::{Choice, Selection, Variant},
    source::{Archive, PackagesText},
    unpack::{in_stages, merge_usr},
};

/// Keeps services from being started while scripts run (Debian's invoke-rc.d asks it).
const POLICY: &str = "usr/sbin/policy-rc.d";

/// Fills `rootfs` with a base system of `archive`.
pub fn bootstrap(
    host: &dyn Host,
    rootfs: &Rootfs,
    archive: &Archive,
    variant: Variant,
    choice: &Choice<'_>,
) -> Result<BuildOutcome> {
    let mut clock = Clock::start(host);
    let texts = archive.packages(host)?;
    let index = index(&texts)?;
    clock.stage("metadata");
    let https = archive.is_https();
    let selection = Selection::new(&index, variant, choice, https)?;
    clock.stage("resolve");
    fill(host, rootfs, archive, &selection, &mut clock)?;
    Ok(BuildOutcome {
        fingerprint: archive.fingerprint(),
        source_date_epoch: archive.date(),
        packages: selection.iter().map(record).collect(),
        lock: lock::write(archive, &selection, choice.asked),
    })
}

/// Fills `rootfs` with exactly what a lock names. Only .debs are fetched.
pub fn bootstrap_locked(host: &dyn Host, rootfs: &Rootfs, lock: &Lock<'_>) -> Result<BuildOutcome> {
    let (archive, selection) = (&lock.archive, &lock.selection);
    let mut clock = Clock::start(host);
    fill(host, rootfs, archive, selection, &mut clock).map_err(|error| {
        let downloads: Vec<Download> = selection.iter().map(|p| archive.download(p)).collect();
        lock::explain(host, &downloads, error)
    })?;
    Ok(BuildOutcome {
        fingerprint: lock::fingerprint(lock.text),
        source_date_epoch: archive.date(),
        packages: selection.iter().map(record).collect(),
        lock: lock.text.to_owned(),
    })
}

fn fill(
    host: &dyn Host,
    rootfs: &Rootfs,
    archive: &Archive,
    selection: &Selection<'_>,
    clock: &mut Clock<'_>,
) -> Result<()> {
    let mut stages = vec![selection.required.clone()];
    let batches = selection.batches()?;
    stages.extend(batches.into_iter().filter(|batch| !batch.is_empty()));
    let epoch = archive.date();
    if selection.split_usr {
        // Or usr-is-merged and usrmerge would refuse or undo it.
        let why = "this system will not be supported in the future\n";
        rootfs.write("etc/unsupported-skip-usrmerge-conversion", why, 0o644)?;
    } else {
        merge_usr(rootfs, &archive.base().wanted.arch)?;
    }
    // What setup_etc of debootstrap leaves for the person to fill in.
    rootfs.write("etc/fstab", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n", 0o644)?;
    rootfs.write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)?;
    let dpkg = selection.iter().find(|package| package.name == "dpkg");
    let dpkg = dpkg.map_or("1.22", |package| package.version);
    let configurer = Configurer::new(host, rootfs, epoch, dpkg);
    install(host, rootfs, archive, &stages, &configurer, clock)?;
    configurer.audit()?;
    rootfs.remove(POLICY)?;
    clean::clean(rootfs, epoch)?;
    let root = Metadata {
        mode: 0o755,
        mtime: epoch,
        ..Metadata::default()
    };
    Placer::new(rootfs, Existing::Keep).finish_directory("".as_ref(), &root)?;
    clock.stage("clean");
    Ok(())
}

/// Downloads, unpacks and configures packages, each stage when the one before works.
fn install(
    host: &dyn Host,
    rootfs: &Rootfs,
    archive: &Archive,
    stages: &[Vec<Package<'_>>],
    configurer: &Configurer<'_>,
    clock: &mut Clock<'_>,
) -> Result<()> {
    let packages: Vec<Package<'_>> = stages.iter().flatten().copied().collect();
    let stage_of: Vec<usize> = stages
        .iter()
        .enumerate()
        .flat_map(|(stage, packages)| packages.iter().map(move |_| stage))
        .collect();
    // What is needed first comes first, and of that the largest: it takes longest to decode.
    let mut order: Vec<usize> = (0..packages.len()).collect();
    order.sort_by_key(|index| (stage_of[*index], Reverse(packages[*index].size)));
    let downloads: Vec<Download> = order
        .iter()
        .map(|index| archive.download(&packages[*index]))
        .collect();
    let total = packages.len() as u64;
    let mut configured = 0;
    in_stages(rootfs, &packages, &stage_of, |pool| {
        host.fetch_each(&downloads, &mut |index, path| {
            let index = order.get(index).copied();
            let index = index.ok_or_else(|| TemplateError::failed("the host lost count"))?;
            pool.arrived(index, path);
            Ok(())
        })?;
        clock.stage("download");
        for (stage, packages) in stages.iter().enumerate() {
            let first = stage == 0;
            let records = pool.finish_stage(stage, first, &mut |done| {
                host.check_cancelled()?;
                host.progress("unpacking", done as u64, total, Unit::Items);
                Ok(())
            })?;
            dpkg_database::add(rootfs, &records)?;
            clock.stage("unpack");
            // Shown before the scripts run, which may take a while.
            host.progress("configuring", configured, total, Unit::Items);
            if first {
                configurer.required(&records)?;
            } else {
                configurer.base(&records, stage + 1 == stages.len())?;
            }
            configured += packages.len() as u64;
            host.progress("configuring", configured, total, Unit::Items);
            clock.stage("configure");
            for span in pool.spans() {
                host.span(&span);
            }
        }
        Ok(())
    })
}

/// Tells how long each stage took.
struct Clock<'a> {
    host: &'a dyn Host,
    begun: u64,
}

impl<'a> Clock<'a> {
    fn start(host: &'a dyn Host) -> Self {
        Self {
            host,
            begun: Span::now(),
        }
    }

    /// Ends a stage; the next one begins.
    fn stage(&mut self, name: &str) {
        let span = Span::since(self.begun, name, "");
        self.begun = span.ended;
        self.host.span(&span);
    }
}

/// The packages of all lists.
pub fn index(texts: &[PackagesText]) -> Result<Index<'_>> {
    let mut index = Index::default();
    for text in texts {
        index.add_from(&text.text, &text.what, text.origin)?;
    }
    Ok(index)
}

/// What the image's record says of a package.
pub fn record(package: &Package<'_>) -> PackageRecord {
    PackageRecord {
        name: package.name.to_owned(),
        version: package.version.to_owned(),
        arch: package.architecture.to_owned(),
    }
}

#[cfg(test)]
mod tests;
