//! What the template says about itself.

use sampan_core::{Description, OptionKind, OptionSpec};
use sampan_debian_archive::{options, selection::CONTAINER};

/// The template's data.
pub fn description() -> Description {
    let mut description = Description::new(
        "debian",
        env!("CARGO_PKG_VERSION"),
        "Debian, from its verified archive",
    );
    description.licence = env!("CARGO_PKG_LICENSE").to_owned();
    let variant = format!(
        "What to install: minbase (required packages and apt), standard (and the important ones: \
         debootstrap's default), buildd (minbase and build-essential), essential (what is marked \
         Essential, without apt), container (minbase and {})",
        CONTAINER.join(", ")
    );
    description.options = vec![
        options::suite(),
        OptionSpec::new("variant", OptionKind::Text, variant)
            .default("container")
            .allowed(["minbase", "standard", "buildd", "essential", "container"]),
        OptionSpec::new(
            "include",
            OptionKind::List,
            "More packages, real or virtual, with what they depend on; NAME=VERSION for a version",
        ),
        OptionSpec::new(
            "exclude",
            OptionKind::List,
            "Packages that are never chosen; what needs one is installed without it or not at all",
        ),
        options::components(),
        crate::locked::option(),
    ];
    description.options.extend(options::archive());
    description.options.extend(options::repository());
    description.options.extend([
        OptionSpec::new(
            "hostname",
            OptionKind::Text,
            "The container's host name, if not its name",
        )
        .per_container(),
        OptionSpec::new(
            "authorized-keys",
            OptionKind::File,
            "Public keys that may log in as root with SSH (authorized_keys); include \
             openssh-server for that",
        )
        .per_container(),
        OptionSpec::new(
            "root-password-hash",
            OptionKind::File,
            "A file with the crypt(5) hash of root's password, as `openssl passwd -6` prints it; \
             without it root has none",
        )
        .per_container(),
        OptionSpec::new(
            "locale",
            OptionKind::Text,
            "Locale of logins, such as de_DE.UTF-8, made in the container; include locales for \
             that. Without it C.UTF-8",
        )
        .per_container(),
        OptionSpec::new(
            "timezone",
            OptionKind::Text,
            "Time zone, such as Europe/Paris; the suite's default is UTC",
        )
        .per_container(),
    ]);
    description
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_core::Options;

    #[test]
    fn the_defaults_are_a_stable_container_of_main() {
        let options = Options::parse::<&str>(&description(), &[]).unwrap();
        assert_eq!(options.get("suite"), Some("stable"));
        assert_eq!(options.get("variant"), Some("container"));
        assert_eq!(options.list("components"), ["main"]);
        assert_eq!(options.get("keyring"), None);
    }

    #[test]
    fn a_wrong_variant_is_refused_with_the_nearest() {
        let error = Options::parse(&description(), &["variant=minbsae"]).unwrap_err();
        assert!(error.hint().unwrap().contains("minbase"));
    }
}
