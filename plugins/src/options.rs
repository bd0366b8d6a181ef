//! From what a person typed to a request: mirrors looked up, files read, the architecture chosen.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use sampan_core::{OptionError, OptionKind, OptionSpec, Options, split_list};
use sha2::{Digest, Sha256};

use crate::{PluginError, Template, apt_mirror, epoch, protocol::FILES};

/// The largest file that an option may name: 16 MiB.
const FILE_LIMIT: u64 = 16 << 20;

/// Options ready to be sent to a template.
#[derive(Debug, Clone)]
pub struct ResolvedOptions {
    /// The architecture, one that the template builds.
    pub arch: String,
    /// Values as the template sees them: files are paths in its worker.
    pub options: Options,
    /// The person's files and their names in the worker.
    pub files: Vec<(PathBuf, String)>,
    /// Mirrors that the person or the machine chose. A template's own default is none of them: it
    /// must not choose what the host reads for it.
    pub mirrors: Vec<String>,
    /// What of all this changes the image, for its key: files by the hash of their contents.
    pub identity: Vec<(String, String)>,
    /// What the person set as SOURCE_DATE_EPOCH: nothing in the image is newer.
    pub source_date_epoch: Option<i64>,
}

impl ResolvedOptions {
    /// The time that nothing in an image may be newer than: the person's, or else the template's.
    pub(crate) fn newest(&self, of_template: i64) -> i64 {
        self.source_date_epoch.unwrap_or(of_template).max(0)
    }
}

/// Checks `words` (KEY=VALUE) against the template and looks up what only the host can know.
///
/// `etc_apt` is where the machine's own mirror is looked for, /etc/apt.
///
/// # Errors
/// When an option is unknown or cannot have its value, or a file cannot be read.
pub fn resolve(
    template: &Template,
    arch: Option<&str>,
    words: &[String],
    etc_apt: &Path,
) -> Result<ResolvedOptions, PluginError> {
    let description = &template.description;
    let mut options = Options::parse(description, words)?;
    let arch = arch.unwrap_or(machine_arch()).to_owned();
    if !description.architectures.contains(&arch) {
        return Err(PluginError::Architecture {
            template: description.name.clone(),
            arch,
            known: description.architectures.clone(),
        });
    }
    let mut files = Vec::new();
    let mut mirrors = Vec::new();
    let mut identity = Vec::new();
    let choice = Choice {
        specs: &description.options,
        typed: options.clone(),
        words,
        etc_apt,
    };
    for option in &description.options {
        let given = is_given(words, &option.name);
        if option.kind == OptionKind::Mirror
            && let Some(chosen) = choice.of(option)
        {
            options.set(&option.name, &chosen);
            mirrors.extend(split_list(&chosen).into_iter().map(str::to_owned));
        }
        if option.kind == OptionKind::File && !given {
            // Whatever the template declares: no file is lent that nobody named.
            options.unset(&option.name);
        }
        let Some(value) = options.get(&option.name).map(str::to_owned) else {
            continue;
        };
        let identified = if option.kind == OptionKind::File {
            let (path, hash) = read_file(&option.name, &value)?;
            options.set(&option.name, format!("{FILES}/{}", option.name));
            files.push((path, option.name.clone()));
            hash
        } else {
            value
        };
        if option.changes_image {
            identity.push((option.name.clone(), identified));
        }
    }
    let source_date_epoch = epoch::from_environment()?;
    if let Some(seconds) = source_date_epoch {
        identity.push((epoch::VARIABLE.to_owned(), seconds.to_string()));
    }
    Ok(ResolvedOptions {
        arch,
        options,
        files,
        mirrors,
        identity,
        source_date_epoch,
    })
}

fn is_given(words: &[String], option: &str) -> bool {
    words
        .iter()
        .any(|word| word.split_once('=').is_some_and(|(name, _)| name == option))
}

/// Which mirrors a person or the machine chose.
struct Choice<'a> {
    specs: &'a [OptionSpec],
    typed: Options,
    words: &'a [String],
    etc_apt: &'a Path,
}

impl Choice<'_> {
    /// The person's own, else one beside the person's mirror of the main archive, else the
    /// machine's, else one beside the machine's mirror of the main archive.
    fn of(&self, option: &OptionSpec) -> Option<String> {
        let main = self.main(option);
        self.named(option)
            .or_else(|| Some(siblings(&self.named(main?)?, main?, option)))
            .or_else(|| apt_mirror(self.etc_apt, &option.mirror_of))
            .or_else(|| {
                let mirror = apt_mirror(self.etc_apt, &main?.mirror_of)?;
                Some(siblings(&mirror, main?, option))
            })
    }

    /// What a person typed or set in the environment.
    fn named(&self, option: &OptionSpec) -> Option<String> {
        if is_given(self.words, &option.name) {
            return self.typed.get(&option.name).map(str::to_owned);
        }
        let value = std::env::var(variable(&option.mirror_of)).ok()?;
        let addresses: Vec<&str> = split_list(&value)
            .into_iter()
            .map(|address| address.trim_end_matches('/'))
            .collect();
        Some(addresses.join(",")).filter(|mirrors| !mirrors.is_empty())
    }

    /// The option for the archive that another one adds to: debian's for debian-security.
    fn main(&self, option: &OptionSpec) -> Option<&OptionSpec> {
        self.specs.iter().find(|main| {
            let rest = option.mirror_of.strip_prefix(main.mirror_of.as_str());
            main.kind == OptionKind::Mirror
                && !main.mirror_of.is_empty()
                && rest.is_some_and(|rest| rest.starts_with('-') && !rest.contains('/'))
        })
    }
}

/// Where the archive of `option` lies for somebody who has that of `main` at `mirrors`: …/debian has
/// …/debian-security beside it; an address that does not end so may hold both.
fn siblings(mirrors: &str, main: &OptionSpec, option: &OptionSpec) -> String {
    let addresses = split_list(mirrors).into_iter().map(|mirror| {
        match mirror.strip_suffix(main.mirror_of.as_str()) {
            Some(parent) if parent.ends_with('/') => format!("{parent}{}", option.mirror_of),
            _ => mirror.to_owned(),
        }
    });
    addresses.collect::<Vec<_>>().join(",")
}

/// The variable that names the mirror of a distribution.
fn variable(mirror_of: &str) -> String {
    let name = mirror_of.to_uppercase().replace('-', "_");
    format!("SAMPAN_{name}_MIRROR")
}

/// This machine's architecture by Debian's name.
pub(crate) fn machine_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "i386",
        "arm" => "armhf",
        "powerpc64" => "ppc64el",
        other => other,
    }
}

fn read_file(option: &str, value: &str) -> Result<(PathBuf, String), PluginError> {
    let refused = |reason: String| {
        PluginError::Option(OptionError::BadValue {
            name: option.to_owned(),
            value: value.to_owned(),
            reason,
            nearest: None,
        })
    };
    let path = Path::new(value)
        .canonicalize()
        .map_err(|error| refused(format!("that file cannot be found ({error})")))?;
    let file = File::open(&path).map_err(|error| refused(format!("cannot open it: {error}")))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(refused("that is not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refused(format!("cannot read it: {error}")))?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(refused("that file is larger than 16 MiB".to_owned()));
    }
    Ok((path, crate::download::hex(&Sha256::digest(&bytes))))
}

#[cfg(test)]
mod tests {
    use sampan_core::Description;

    use super::*;
    use crate::Found;

    fn template(options: Vec<OptionSpec>) -> Template {
        let mut description = Description::new("t", "1", "");
        description.options = options;
        Template {
            found: Found {
                name: "t".to_owned(),
                path: PathBuf::new(),
                shadowed: false,
            },
            abi_version: String::new(),
            description,
            identity: None,
        }
    }

    #[test]
    fn a_templates_own_defaults_open_no_file_of_the_host() {
        let template = template(vec![
            OptionSpec::new("mirror", OptionKind::Mirror, "").default("file:///"),
            OptionSpec::new("keys", OptionKind::File, "").default("/etc/shadow"),
        ]);
        let resolved = resolve(&template, Some("amd64"), &[], Path::new("/nowhere")).unwrap();
        assert!(resolved.mirrors.is_empty(), "{:?}", resolved.mirrors);
        assert!(resolved.files.is_empty(), "{:?}", resolved.files);
        assert_eq!(resolved.options.get("keys"), None);
    }

    #[test]
    fn a_mirror_that_was_named_counts() {
        let template = template(vec![OptionSpec::new("mirror", OptionKind::Mirror, "")]);
        let words = ["mirror=file:///srv/mirror/".to_owned()];
        let resolved = resolve(&template, Some("amd64"), &words, Path::new("/nowhere")).unwrap();
        assert_eq!(resolved.mirrors, ["file:///srv/mirror"]);
    }

    fn archives() -> Template {
        let mirror = |name: &str, of: &str| {
            OptionSpec::new(name, OptionKind::Mirror, "")
                .mirror_of(of)
                .default("http://default.example/x")
        };
        template(vec![
            mirror("mirror", "boats"),
            mirror("security-mirror", "boats-security"),
        ])
    }

    fn security_mirror(words: &[&str], sources: &str) -> ResolvedOptions {
        let etc = tempfile::tempdir().unwrap();
        std::fs::write(etc.path().join("sources.list"), sources).unwrap();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        resolve(&archives(), Some("amd64"), &words, etc.path()).unwrap()
    }

    #[test]
    fn a_security_mirror_is_the_named_one_or_beside_the_named_mirror_or_the_machines() {
        let machine =
            "deb http://m.example/boats x main\ndeb http://s.example/boats-security x main\n";
        let chosen = |words: &[&str], sources: &str| {
            let resolved = security_mirror(words, sources);
            let value = resolved.options.get("security-mirror");
            value.unwrap_or_default().to_owned()
        };
        let named = "mirror=http://a.example/boats/,file:///srv/all";
        assert_eq!(
            chosen(&[named, "security-mirror=http://b.example/s"], machine),
            "http://b.example/s"
        );
        assert_eq!(
            chosen(&[named], machine),
            "http://a.example/boats-security,file:///srv/all"
        );
        assert_eq!(chosen(&[], machine), "http://s.example/boats-security");
        let main_only = "deb http://m.example/boats x main\n";
        assert_eq!(chosen(&[], main_only), "http://m.example/boats-security");
        assert_eq!(chosen(&[], ""), "http://default.example/x");
    }

    #[test]
    fn every_mirror_of_a_list_is_a_chosen_one_and_those_beside_them_too() {
        let resolved = security_mirror(&["mirror=file:///srv/boats,file:///mnt/b"], "");
        assert_eq!(
            resolved.mirrors,
            [
                "file:///srv/boats",
                "file:///mnt/b",
                "file:///srv/boats-security",
                "file:///mnt/b"
            ]
        );
    }

    #[test]
    fn a_variable_has_no_dash_in_its_name() {
        assert_eq!(variable("debian-security"), "SAMPAN_DEBIAN_SECURITY_MIRROR");
    }
}
