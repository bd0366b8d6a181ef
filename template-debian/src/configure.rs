//! Making a copy of the image one container's own.

use sampan_core::{ConfigureOutcome, ContainerRequest, Host, Level, Rootfs, TemplateError};

use crate::{guest, identity};

/// Gives the tree its identity and answers with the configuration that it needs.
pub fn configure(
    container: &ContainerRequest,
    rootfs: &Rootfs,
    host: &dyn Host,
) -> Result<ConfigureOutcome, TemplateError> {
    let options = &container.options;
    let hostname = options.get("hostname").unwrap_or(&container.name);
    identity::write_hostname(rootfs, hostname)?;
    identity::write_machine_id(rootfs)?;
    identity::write_host_keys(rootfs, host)?;
    match options.get("locale") {
        Some(locale) => identity::generate_locale(rootfs, locale, host)?,
        None => identity::write_locale(rootfs)?,
    }
    if let Some(path) = options.get("authorized-keys") {
        identity::write_authorized_keys(rootfs, path)?;
    }
    if let Some(path) = options.get("root-password-hash") {
        identity::write_root_password(rootfs, path)?;
    }
    if let Some(zone) = options.get("timezone") {
        identity::write_timezone(rootfs, zone)?;
    }
    let init = guest::init(rootfs);
    match init {
        guest::Init::Systemd => guest::prepare_systemd(rootfs)?,
        guest::Init::Other => guest::prepare_sysvinit(rootfs)?,
        guest::Init::None => host.log(
            Level::Warn,
            "this image has no /sbin/init, so that the container cannot be started as a system; \
             variant container has one, or add -o include=systemd-sysv",
        ),
    }
    Ok(ConfigureOutcome {
        config: guest::config(init),
    })
}
