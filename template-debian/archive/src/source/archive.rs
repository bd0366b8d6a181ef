//! A base suite and the suites beside it: updates and security.

use sampan_core::{Host, TemplateError};

use super::{PackagesText, Repositories, Suite, Wanted, read_lists};
use crate::{
    Error, Result,
    openpgp::{Concessions, Verifier},
    packages::Package,
};

/// Whether a suite beside the base one takes part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Beside {
    /// When the base suite is a released one.
    #[default]
    Auto,
    /// Whatever the base suite is.
    Always,
    /// Not at all.
    Never,
}

impl Beside {
    /// By the word that people type.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "auto" => Some(Self::Auto),
            "true" => Some(Self::Always),
            "false" => Some(Self::Never),
            _ => None,
        }
    }

    fn applies(self, base: &Suite) -> bool {
        match self {
            Self::Auto => base.release.is_released(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Which suites are wanted beside the base one.
#[derive(Debug, Clone, Default)]
pub struct Companions {
    /// CODENAME-updates, on the base suite's mirrors.
    pub updates: Beside,
    /// CODENAME-security.
    pub security: Beside,
    /// Where that is; the base suite's mirrors when empty.
    pub security_mirrors: Vec<String>,
}

/// All suites that packages come from. Never empty: the base suite is the first.
#[derive(Debug, Clone)]
pub struct Archive {
    suites: Vec<Suite>,
    /// How many of these are the distribution's own.
    own: usize,
}

impl From<Suite> for Archive {
    fn from(base: Suite) -> Self {
        Self {
            suites: vec![base],
            own: 1,
        }
    }
}

impl Archive {
    /// Opens the base suite and those beside it. One that is wanted and cannot be had is an error:
    /// a system that silently lacks its security updates is worse than none.
    pub fn open(
        host: &dyn Host,
        wanted: Wanted,
        companions: &Companions,
        verifier: &dyn Verifier,
    ) -> Result<Self> {
        let base = Suite::open(host, wanted, verifier)?;
        let mut suites = Vec::new();
        if companions.updates.applies(&base) {
            // Beginning with the mirror that answered.
            let mut suite = beside(host, &base, "updates", &base.mirrors, verifier)?;
            suite.wanted.mirrors.clone_from(&base.wanted.mirrors);
            suites.push(suite);
        }
        if companions.security.applies(&base) {
            let mirrors = match companions.security_mirrors.is_empty() {
                true => &base.wanted.mirrors,
                false => &companions.security_mirrors,
            };
            suites.push(beside(host, &base, "security", mirrors, verifier)?);
        }
        suites.insert(0, base);
        let own = suites.len();
        Ok(Self { suites, own })
    }

    /// The suites of a lock file, of which the first `own` are the distribution's. None when there
    /// is no such suite.
    pub(crate) fn locked(suites: Vec<Suite>, own: usize) -> Option<Self> {
        (own > 0 && own <= suites.len()).then_some(Self { suites, own })
    }

    /// Makes every download try these mirrors before those that its suite has.
    pub(crate) fn put_mirrors_first(&mut self, own: &[String], security: &[String]) {
        for suite in self.suites.iter_mut().take(self.own) {
            let first = match suite.name().ends_with("-security") {
                true => security,
                false => own,
            };
            suite.mirrors.retain(|mirror| !first.contains(mirror));
            suite.mirrors.splice(0..0, first.iter().cloned());
        }
    }

    /// The suite that decides what a base system is.
    pub fn base(&self) -> &Suite {
        &self.suites[0]
    }

    /// All suites, the base one first.
    pub fn suites(&self) -> &[Suite] {
        &self.suites
    }

    /// The suites of the distribution itself, without those of repositories.
    pub fn own_suites(&self) -> &[Suite] {
        &self.suites[..self.own]
    }

    /// Opens the suites of repositories and adds them. Each address is a repository of its own.
    pub fn add_repositories(
        &mut self,
        host: &dyn Host,
        repositories: &Repositories,
        allow: Concessions,
    ) -> Result<()> {
        for source in &repositories.sources {
            let arch = &self.base().wanted.arch;
            if !source.architectures.is_empty() && !source.architectures.contains(arch) {
                host.info(&format!(
                    "repository {} has nothing for {arch}",
                    source.uris.join(" ")
                ));
                continue;
            }
            let keyring = repositories.keyring_of(source, allow)?;
            for uri in &source.uris {
                for suite in &source.suites {
                    let wanted = Wanted {
                        mirrors: vec![uri.clone()],
                        suite: suite.clone(),
                        components: source.components.clone(),
                        scope: uri.clone(),
                        ..self.base().wanted.clone()
                    };
                    self.suites.push(Suite::open(host, wanted, &keyring)?);
                }
            }
        }
        Ok(())
    }

    /// What changes exactly when the state of any suite changes.
    pub fn fingerprint(&self) -> String {
        let all: Vec<String> = self.suites.iter().map(Suite::fingerprint).collect();
        all.join("; ")
    }

    /// The date of the newest of all Releases, seconds since 1970.
    pub fn date(&self) -> i64 {
        let dates = self.suites.iter().map(|suite| suite.release.date);
        dates.max().unwrap_or_default()
    }

    /// Fetches the Packages files of all suites.
    pub fn packages(&self, host: &dyn Host) -> Result<Vec<PackagesText>> {
        let mut lists = Vec::new();
        for (origin, suite) in self.suites.iter().enumerate() {
            lists.extend(suite.lists(origin)?);
        }
        read_lists(host, lists)
    }

    /// How to get a package's .deb: from the suite that offers it.
    pub fn download(&self, package: &Package<'_>) -> sampan_core::Download {
        let suite = self.suites.get(package.origin);
        suite.unwrap_or(self.base()).download(package)
    }

    /// Whether some of the packages come over https.
    pub fn is_https(&self) -> bool {
        let mut mirrors = self.suites.iter().flat_map(|suite| &suite.mirrors);
        mirrors.any(|mirror| mirror.starts_with("https://"))
    }
}

fn beside(
    host: &dyn Host,
    base: &Suite,
    what: &str,
    mirrors: &[String],
    verifier: &dyn Verifier,
) -> Result<Suite> {
    let wanted = Wanted {
        mirrors: mirrors.to_vec(),
        suite: format!("{}-{what}", base.name()),
        ..base.wanted.clone()
    };
    Suite::open(host, wanted, verifier).map_err(|error| {
        let error = TemplateError::from(error);
        if error.kind() == sampan_core::ErrorKind::Cancelled {
            return Error::Host(error);
        }
        let own = error.hint().map(|hint| format!("{hint}; or "));
        let elsewhere = match what {
            "security" => "name another mirror with -o security-mirror=URL, or ",
            _ => "",
        };
        let hint = format!(
            "{}{elsewhere}do without them with -o {what}=false",
            own.unwrap_or_default()
        );
        let context = format!("the {what} suite of {} cannot be used", base.name());
        Error::Host(error.context(context).with_hint(hint))
    })
}

#[cfg(test)]
mod tests;
