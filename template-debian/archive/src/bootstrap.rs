//! From a verified suite to a finished tree.

use sampan_core::{
    BuildOutcome, Download, Host, PackageRecord, Unit,
    rootfs::{Existing, Metadata, Placer, Rootfs},
};

use crate::{
    Result, clean,
    configure::Configurer,
    dpkg_database::{self, Record},
    packages::{Index, Package},
    selection::{Selection, Variant},
    source::{PackagesText, Suite, fetch},
    unpack::{Ready, merge_usr, unpack},
};

/// Keeps services from being started while scripts run (Debian's invoke-rc.d asks it).
const POLICY: &str = "usr/sbin/policy-rc.d";

/// Fills `rootfs` with a base system of `suite`.
pub fn bootstrap(
    host: &dyn Host,
    rootfs: &Rootfs,
    suite: &Suite,
    variant: Variant,
    include: &[&str],
) -> Result<BuildOutcome> {
    let texts = suite.packages(host)?;
    let index = index(&texts)?;
    let https = suite.wanted.mirror.starts_with("https://");
    let selection = Selection::new(&index, variant, include, https)?;
    let ready = get(host, suite, &selection)?;
    let (required, base) = ready.split_at(selection.required.len());
    let epoch = suite.release.date;

    let mut stages = Stages {
        host,
        rootfs,
        total: ready.len() as u64,
        unpacked: 0,
        configured: 0,
    };
    merge_usr(rootfs, &suite.wanted.arch)?;
    // What setup_etc of debootstrap leaves for the person to fill in.
    rootfs.write("etc/fstab", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n", 0o644)?;
    rootfs.write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)?;
    let dpkg = index.last("dpkg").map_or("1.22", |package| package.version);
    let configurer = Configurer::new(host, rootfs, epoch, dpkg);

    let records = stages.unpack(required)?;
    configurer.required(&records, variant != Variant::Minbase)?;
    stages.configured(records.len());

    let mut base: Vec<Ready<'_>> = base.to_vec();
    for batch in selection
        .batches()?
        .iter()
        .filter(|batch| !batch.is_empty())
    {
        let mut stage = Vec::new();
        base.retain(|ready| {
            let mine = batch
                .iter()
                .any(|package| package.name == ready.package.name);
            if mine {
                stage.push(ready.clone());
            }
            !mine
        });
        let records = stages.unpack(&stage)?;
        configurer.base(&records, base.is_empty())?;
        stages.configured(records.len());
    }
    configurer.audit()?;
    rootfs.remove(POLICY)?;
    clean::clean(rootfs, epoch)?;
    let root = Metadata {
        mode: 0o755,
        mtime: epoch,
        ..Metadata::default()
    };
    Placer::new(rootfs, Existing::Keep).finish_directory("".as_ref(), &root)?;
    Ok(BuildOutcome {
        fingerprint: suite.fingerprint(),
        source_date_epoch: epoch,
        packages: selection.iter().map(record).collect(),
        lock: String::new(),
    })
}

/// What was done so far, for people.
struct Stages<'a> {
    host: &'a dyn Host,
    rootfs: &'a Rootfs,
    total: u64,
    unpacked: u64,
    configured: u64,
}

impl Stages<'_> {
    /// Unpacks packages and enters them into dpkg's database.
    fn unpack<'t>(&mut self, packages: &[Ready<'t>]) -> Result<Vec<Record<'t>>> {
        let first = self.unpacked == 0;
        let records = unpack(self.rootfs, packages, first, &mut |done| {
            self.host.check_cancelled()?;
            let done = self.unpacked + done as u64;
            self.host
                .progress("unpacking", done, self.total, Unit::Items);
            Ok(())
        })?;
        self.unpacked += packages.len() as u64;
        dpkg_database::add(self.rootfs, &records)?;
        // Shown before the scripts run, which may take a while.
        self.configured(0);
        Ok(records)
    }

    fn configured(&mut self, more: usize) {
        self.configured += more as u64;
        self.host
            .progress("configuring", self.configured, self.total, Unit::Items);
    }
}

/// The packages of all lists.
pub fn index(texts: &[PackagesText]) -> Result<Index<'_>> {
    let mut index = Index::default();
    for text in texts {
        index.add(&text.text, &text.what)?;
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

fn get<'t>(host: &dyn Host, suite: &Suite, selection: &Selection<'t>) -> Result<Vec<Ready<'t>>> {
    let downloads: Vec<Download> = selection.iter().map(|p| suite.download(p)).collect();
    let paths = fetch(host, &downloads)?;
    Ok(selection
        .iter()
        .zip(paths)
        .map(|(package, path)| Ready {
            package: *package,
            path,
        })
        .collect())
}

#[cfg(test)]
mod tests;
