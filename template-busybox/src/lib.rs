//! Sampan's template for a tiny system: one static busybox and a few files around it.
//!
//! The busybox is Debian's busybox-static, through the same verified chain as everything from
//! Debian. Nothing of the machine is used or bound into the guest.

// Not `forbid`: the symbol that export_template! makes is unsafe to name, and allowed in there only.
#![deny(unsafe_code)]

mod applets;
mod files;
mod package;

use sampan_core::{
    BuildOutcome, ConfigureOutcome, ContainerRequest, Description, Host, OptionKind, OptionSpec,
    Request, Rootfs, Template, TemplateError,
};
use sampan_debian_archive::options;

/// The template `busybox`.
#[derive(Debug, Default)]
struct Busybox;

impl Template for Busybox {
    fn describe(&self) -> Description {
        let mut description = Description::new(
            "busybox",
            env!("CARGO_PKG_VERSION"),
            "A tiny system: one static busybox, from Debian's verified archive",
        );
        description.licence = env!("CARGO_PKG_LICENSE").to_owned();
        description.options = vec![options::suite()];
        description.options.extend(options::archive());
        description.options.push(
            OptionSpec::new(
                "hostname",
                OptionKind::Text,
                "The container's host name, if not its name",
            )
            .per_container(),
        );
        description
    }

    fn fingerprint(
        &self,
        request: &Request,
        host: &dyn Host,
    ) -> Result<Option<String>, TemplateError> {
        options::open(request, host).map(|archive| Some(archive.fingerprint()))
    }

    fn build(
        &self,
        request: &Request,
        rootfs: &Rootfs,
        host: &dyn Host,
    ) -> Result<BuildOutcome, TemplateError> {
        request.check_runnable()?;
        let archive = options::open(request, host)?;
        let (binary, record) = package::busybox(host, &archive)?;
        host.info(&format!(
            "busybox {} from Debian {}",
            record.version,
            archive.base().name()
        ));
        files::write(rootfs, &binary, &record.version, archive.date())?;
        applets::link(rootfs, host)?;
        Ok(BuildOutcome {
            fingerprint: archive.fingerprint(),
            source_date_epoch: archive.date(),
            packages: vec![record],
            lock: String::new(),
        })
    }

    fn configure(
        &self,
        container: &ContainerRequest,
        rootfs: &Rootfs,
        _host: &dyn Host,
    ) -> Result<ConfigureOutcome, TemplateError> {
        let hostname = container.options.get("hostname").unwrap_or(&container.name);
        files::write_hostname(rootfs, hostname)?;
        // busybox init: SIGUSR1 halts, SIGTERM reboots.
        let signals = [
            ("lxc.signal.halt", "SIGUSR1"),
            ("lxc.signal.reboot", "SIGTERM"),
        ];
        Ok(ConfigureOutcome {
            config: signals
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .to_vec(),
        })
    }

    fn check(&self, rootfs: &Rootfs) -> Result<Vec<String>, TemplateError> {
        let needed = [
            "bin/busybox",
            "bin/sh",
            "sbin/init",
            "etc/inittab",
            "etc/passwd",
        ];
        Ok(needed
            .iter()
            .filter(|path| !rootfs.exists(path))
            .map(|path| format!("/{path} is missing"))
            .collect())
    }
}

sampan_core::export_template!(Busybox);
