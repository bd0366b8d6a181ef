//! What tells a copied guest from the original: host name, machine-id, SSH host keys.

use std::path::Path;

use sampan_core::{Rootfs, rootfs::RootfsError};
use sampan_runtime::{NewContainer, config::ConfigFile};

use super::storage::path_of;
use crate::{
    context::Context,
    failure::{Failure, Outcome},
};

/// Makes the files of a copy its own: by its template where that is known, else as far as that is
/// possible without.
pub fn make_own(
    context: &Context,
    new: &NewContainer,
    config: &ConfigFile,
    original: &str,
) -> Outcome {
    let name = new.name().as_str();
    let hosts = read_hosts(new)?;
    if !by_template(context, new, config)? {
        without_template(context, new)?;
    }
    // The template wrote the one of a new container; what stood there belongs to the guest.
    if let Some(hosts) = hosts {
        open(new, |rootfs| {
            rootfs.write("etc/hosts", renamed(&hosts, original, name), 0o644)
        })?;
    }
    Ok(())
}

/// `false` where its template is not there any more.
fn by_template(context: &Context, new: &NewContainer, config: &ConfigFile) -> Outcome<bool> {
    let Some(template) = config.get("sampan.template") else {
        return Ok(false);
    };
    let workshop = context.workshop()?;
    let found = workshop.template(&template).and_then(|template| {
        let options = sampan_plugins::resolve(&template, None, &[], Path::new("/etc/apt"))?;
        Ok((template, options))
    });
    let Ok((template, options)) = found else {
        return Ok(false);
    };
    let privileged = config.get("lxc.idmap").is_none();
    let name = new.name().as_str();
    workshop
        .session()
        .configure(&template, &options, name, privileged, new.root())?;
    Ok(true)
}

fn without_template(context: &Context, new: &NewContainer) -> Outcome {
    let removed = open(new, |rootfs| {
        let name = new.name().as_str();
        if rootfs.exists("etc/hostname") {
            rootfs.write("etc/hostname", format!("{name}\n"), 0o644)?;
        }
        // An empty one is filled at the next boot (machine-id(5)).
        if rootfs.exists("etc/machine-id") {
            rootfs.write("etc/machine-id", "", 0o444)?;
        }
        rootfs.remove("var/lib/dbus/machine-id")?;
        let mut removed = false;
        if rootfs.is_dir("etc/ssh") {
            for file in rootfs.list("etc/ssh")? {
                if file.to_string_lossy().starts_with("ssh_host_") {
                    rootfs.remove(Path::new("etc/ssh").join(file))?;
                    removed = true;
                }
            }
        }
        Ok(removed)
    })?;
    if removed {
        context.console.say(&format!(
            "{0} has no SSH host keys now; make its own with: sampan exec {0} -- ssh-keygen -A",
            new.name()
        ));
    }
    Ok(())
}

fn read_hosts(new: &NewContainer) -> Outcome<Option<String>> {
    open(new, |rootfs| match rootfs.read_text("etc/hosts") {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    })
}

/// The same text with one host name in place of another, as a whole word.
fn renamed(hosts: &str, old: &str, new: &str) -> String {
    hosts
        .split_inclusive(char::is_whitespace)
        .map(|word| match word.strip_prefix(old) {
            Some(rest) if rest.chars().all(char::is_whitespace) => format!("{new}{rest}"),
            _ => word.to_owned(),
        })
        .collect()
}

fn open<T>(new: &NewContainer, work: impl FnOnce(&Rootfs) -> Result<T, RootfsError>) -> Outcome<T> {
    let tree = new.root().open()?;
    Rootfs::open(&path_of(&tree))
        .and_then(|rootfs| work(&rootfs))
        .map_err(|error| Failure::new(format!("cannot give {} its identity: {error}", new.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_name_is_replaced_in_the_hosts() {
        let before = "127.0.1.1\tweb web.example\n10.0.0.1 webmail web\n";
        let after = "127.0.1.1\tnew web.example\n10.0.0.1 webmail new\n";
        assert_eq!(renamed(before, "web", "new"), after);
    }
}
