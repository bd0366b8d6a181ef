//! What a template says about itself.

/// A template's data. Everything that people see of an option (parsing, errors, help, the image's
/// key) comes from here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Description {
    /// The word after `-t`: lower case letters, digits, `-`.
    pub name: String,
    /// The template's own version. Part of every image's key.
    pub version: String,
    /// One line.
    pub summary: String,
    /// An SPDX expression; empty when the author gives none.
    pub licence: String,
    /// An address; empty when the author gives none.
    pub homepage: String,
    /// Debian architecture names that the template can build, the first choice first.
    pub architectures: Vec<String>,
    /// The options in the order in which they are shown.
    pub options: Vec<OptionSpec>,
}

impl Description {
    /// A description without options, for the usual architectures.
    pub fn new(
        name: impl Into<String>,
        version: impl Into<String>,
        summary: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            summary: summary.into(),
            licence: String::new(),
            homepage: String::new(),
            architectures: ["amd64", "arm64", "riscv64", "armhf", "i386"]
                .map(str::to_owned)
                .to_vec(),
            options: Vec::new(),
        }
    }

    /// The option of this name.
    pub fn option(&self, name: &str) -> Option<&OptionSpec> {
        self.options.iter().find(|option| option.name == name)
    }
}

/// How an option's value is read. New kinds may come in minor versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum OptionKind {
    /// Any text without control characters.
    Text,
    /// `true` or `false` (also yes/no, on/off, 1/0; handed on as `true` or `false`).
    Boolean,
    /// A decimal integer.
    Integer,
    /// Words separated by commas; handed on with single commas and no spaces. An option given
    /// several times adds to the list.
    List,
    /// A file of the person's. The host reads it; the template gets a path that it can open, and
    /// the contents (never the path) are part of the image's key.
    File,
    /// The address of a package mirror, or of several with the same contents, separated by commas
    /// without spaces. Where the person names none, the host fills in the mirror
    /// that the machine itself uses for the distribution in [`OptionSpec::mirror_of`].
    Mirror,
}

/// One option, declared once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OptionSpec {
    /// The word before `=`: lower case letters, digits, `-`.
    pub name: String,
    /// How the value is read.
    pub kind: OptionKind,
    /// The value when the person gives none. `None`: the option is then absent.
    pub default: Option<String>,
    /// The only values allowed; empty means any.
    pub allowed: Vec<String>,
    /// One line or more for people.
    pub help: String,
    /// Whether the value changes the image. If not it is used by `configure` only.
    pub changes_image: bool,
    /// For [`OptionKind::Mirror`]: the distribution, such as `debian`.
    pub mirror_of: String,
}

impl OptionSpec {
    /// An option of any kind that changes the image and has no default.
    pub fn new(name: impl Into<String>, kind: OptionKind, help: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            default: None,
            allowed: Vec::new(),
            help: help.into(),
            changes_image: true,
            mirror_of: String::new(),
        }
    }

    /// The same option with a default value.
    #[must_use]
    pub fn default(mut self, value: impl Into<String>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// The same option limited to these values.
    #[must_use]
    pub fn allowed<const N: usize>(mut self, values: [&str; N]) -> Self {
        self.allowed = values.map(str::to_owned).to_vec();
        self
    }

    /// The same option, used by `configure` only: it does not change the image.
    #[must_use]
    pub fn per_container(mut self) -> Self {
        self.changes_image = false;
        self
    }

    /// The same option with the host's own mirror of `distribution` as the default.
    #[must_use]
    pub fn mirror_of(mut self, distribution: impl Into<String>) -> Self {
        self.mirror_of = distribution.into();
        self
    }
}
