//! The records that cross, and their translation from and to the plain types.

use abi_stable::{
    StableAbi,
    prefix_type::PrefixTypeTrait,
    std_types::{RSlice, RStr, Tuple2},
};

use crate::{
    BuildOutcome, Command, ConfigureOutcome, ContainerRequest, Description, Download, ErrorKind,
    Level, OptionKind, OptionSpec, Options, Outcome, PackageRecord, Request, Span, TemplateError,
    Unit,
};

type Text = RStr<'static>;
type List<T> = RSlice<'static, T>;
pub(super) type Pairs = List<Tuple2<Text, Text>>;

fn text(value: &str) -> Text {
    let leaked: &'static str = Box::leak(value.to_owned().into_boxed_str());
    RStr::from_str(leaked)
}

fn list<T>(values: impl IntoIterator<Item = T>) -> List<T> {
    let leaked: &'static [T] = Box::leak(values.into_iter().collect::<Vec<T>>().into_boxed_slice());
    RSlice::from_slice(leaked)
}

fn texts(values: &[String]) -> List<Text> {
    list(values.iter().map(|value| text(value)))
}

fn pairs<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Pairs {
    list(values.into_iter().map(|(k, v)| Tuple2(text(k), text(v))))
}

fn strings(values: List<Text>) -> Vec<String> {
    values
        .iter()
        .map(|value| value.as_str().to_owned())
        .collect()
}

fn string_pairs(values: Pairs) -> Vec<(String, String)> {
    values
        .iter()
        .map(|pair| (pair.0.as_str().to_owned(), pair.1.as_str().to_owned()))
        .collect()
}

/// A number that names one of several things; unknown numbers must be expected.
macro_rules! code {
    ($name:ident for $plain:ident, otherwise $fallback:ident { $($variant:ident = $number:literal),* $(,)? }) => {
        #[repr(transparent)]
        #[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(u32);

        impl $name {
            pub(super) fn of(plain: $plain) -> Self {
                match plain { $($plain::$variant => Self($number)),* }
            }

            pub(super) fn plain(self) -> $plain {
                match self.0 { $($number => $plain::$variant,)* _ => $plain::$fallback }
            }
        }
    };
}

code!(LevelCode for Level, otherwise Info { Debug = 0, Info = 1, Warn = 2 });
code!(UnitCode for Unit, otherwise Items { Items = 0, Bytes = 1 });
code!(OptionKindCode for OptionKind, otherwise Text {
    Text = 0, Boolean = 1, Integer = 2, List = 3, File = 4, Mirror = 5,
});
code!(ErrorCode for ErrorKind, otherwise Failed {
    Failed = 0, BadOption = 1, Fetch = 2, Untrusted = 3, Cancelled = 4, Panicked = 5,
    Unsupported = 6,
});

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ErrorRef)))]
pub struct ErrorRecord {
    code: ErrorCode,
    message: Text,
    #[sabi(last_prefix_field)]
    hint: Text,
}

impl ErrorRef {
    pub(super) fn of(error: &TemplateError) -> Self {
        ErrorRecord {
            code: ErrorCode::of(error.kind()),
            message: text(error.message()),
            hint: text(error.hint().unwrap_or_default()),
        }
        .leak_into_prefix()
    }

    pub(super) fn plain(self) -> TemplateError {
        let error = TemplateError::new(self.code().plain(), self.message().as_str());
        match self.hint().as_str() {
            "" => error,
            hint => error.with_hint(hint),
        }
    }
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = OptionRef)))]
pub struct OptionRecord {
    name: Text,
    kind: OptionKindCode,
    has_default: bool,
    default: Text,
    allowed: List<Text>,
    help: Text,
    changes_image: bool,
    #[sabi(last_prefix_field)]
    mirror_of: Text,
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = DescriptionRef)))]
pub struct DescriptionRecord {
    name: Text,
    version: Text,
    summary: Text,
    licence: Text,
    homepage: Text,
    architectures: List<Text>,
    #[sabi(last_prefix_field)]
    options: List<OptionRef>,
}

impl DescriptionRef {
    pub(super) fn of(plain: &Description) -> Self {
        DescriptionRecord {
            name: text(&plain.name),
            version: text(&plain.version),
            summary: text(&plain.summary),
            licence: text(&plain.licence),
            homepage: text(&plain.homepage),
            architectures: texts(&plain.architectures),
            options: list(plain.options.iter().map(|option| {
                OptionRecord {
                    name: text(&option.name),
                    kind: OptionKindCode::of(option.kind),
                    has_default: option.default.is_some(),
                    default: text(option.default.as_deref().unwrap_or_default()),
                    allowed: texts(&option.allowed),
                    help: text(&option.help),
                    changes_image: option.changes_image,
                    mirror_of: text(&option.mirror_of),
                }
                .leak_into_prefix()
            })),
        }
        .leak_into_prefix()
    }

    pub(super) fn plain(self) -> Description {
        Description {
            name: self.name().into(),
            version: self.version().into(),
            summary: self.summary().into(),
            licence: self.licence().into(),
            homepage: self.homepage().into(),
            architectures: strings(self.architectures()),
            options: self
                .options()
                .iter()
                .map(|option| OptionSpec {
                    name: option.name().into(),
                    kind: option.kind().plain(),
                    default: option.has_default().then(|| option.default().into()),
                    allowed: strings(option.allowed()),
                    help: option.help().into(),
                    changes_image: option.changes_image(),
                    mirror_of: option.mirror_of().into(),
                })
                .collect(),
        }
    }
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = RequestRef)))]
pub struct RequestRecord {
    arch: Text,
    #[sabi(last_prefix_field)]
    options: Pairs,
    /// Since 1.1; empty when the architecture's programs run.
    cannot_run: Text,
    /// Since 1.1.
    cannot_run_hint: Text,
}

impl RequestRef {
    pub(super) fn of(plain: &Request) -> Self {
        let error = plain.cannot_run.as_ref();
        RequestRecord {
            arch: text(&plain.arch),
            options: pairs(plain.options.iter()),
            cannot_run: text(error.map_or("", TemplateError::message)),
            cannot_run_hint: text(error.and_then(TemplateError::hint).unwrap_or_default()),
        }
        .leak_into_prefix()
    }

    pub(super) fn plain(self) -> Request {
        let message = self.cannot_run().filter(|message| !message.is_empty());
        let hint = self.cannot_run_hint().filter(|hint| !hint.is_empty());
        Request {
            arch: self.arch().into(),
            options: Options::from_iter(string_pairs(self.options())),
            cannot_run: message.map(|message| {
                let error = TemplateError::new(ErrorKind::Unsupported, message);
                match hint {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                }
            }),
        }
    }
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ContainerRef)))]
pub struct ContainerRecord {
    name: Text,
    arch: Text,
    options: Pairs,
    #[sabi(last_prefix_field)]
    privileged: bool,
}

impl ContainerRef {
    pub(super) fn of(plain: &ContainerRequest) -> Self {
        ContainerRecord {
            name: text(&plain.name),
            arch: text(&plain.arch),
            options: pairs(plain.options.iter()),
            privileged: plain.privileged,
        }
        .leak_into_prefix()
    }

    pub(super) fn plain(self) -> ContainerRequest {
        ContainerRequest {
            name: self.name().into(),
            arch: self.arch().into(),
            options: Options::from_iter(string_pairs(self.options())),
            privileged: self.privileged(),
        }
    }
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PackageRef)))]
pub struct PackageFields {
    name: Text,
    version: Text,
    #[sabi(last_prefix_field)]
    arch: Text,
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = BuildOutcomeRef)))]
pub struct BuildOutcomeRecord {
    fingerprint: Text,
    source_date_epoch: i64,
    #[sabi(last_prefix_field)]
    packages: List<PackageRef>,
    /// Since 1.1.
    lock: Text,
}

impl BuildOutcomeRef {
    pub(super) fn of(plain: &BuildOutcome) -> Self {
        BuildOutcomeRecord {
            fingerprint: text(&plain.fingerprint),
            source_date_epoch: plain.source_date_epoch,
            packages: list(plain.packages.iter().map(|package| {
                PackageFields {
                    name: text(&package.name),
                    version: text(&package.version),
                    arch: text(&package.arch),
                }
                .leak_into_prefix()
            })),
            lock: text(&plain.lock),
        }
        .leak_into_prefix()
    }

    pub(super) fn plain(self) -> BuildOutcome {
        BuildOutcome {
            fingerprint: self.fingerprint().into(),
            source_date_epoch: self.source_date_epoch(),
            packages: self
                .packages()
                .iter()
                .map(|package| PackageRecord {
                    name: package.name().into(),
                    version: package.version().into(),
                    arch: package.arch().into(),
                })
                .collect(),
            lock: self.lock().map(String::from).unwrap_or_default(),
        }
    }
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ConfigureOutcomeRef)))]
pub struct ConfigureOutcomeRecord {
    #[sabi(last_prefix_field)]
    config: Pairs,
}

impl ConfigureOutcomeRef {
    pub(super) fn of(plain: &ConfigureOutcome) -> Self {
        ConfigureOutcomeRecord {
            config: pairs(plain.config.iter().map(|(k, v)| (k.as_str(), v.as_str()))),
        }
        .leak_into_prefix()
    }

    pub(super) fn plain(self) -> ConfigureOutcome {
        ConfigureOutcome {
            config: string_pairs(self.config()),
        }
    }
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = DownloadRef)))]
pub struct DownloadRecord {
    urls: List<Text>,
    sha256: Text,
    size: u64,
    #[sabi(last_prefix_field)]
    label: Text,
}

impl DownloadRef {
    pub(super) fn of(plain: &Download) -> Self {
        DownloadRecord {
            urls: texts(&plain.urls),
            sha256: text(&plain.sha256),
            size: plain.size,
            label: text(&plain.label),
        }
        .leak_into_prefix()
    }

    pub(super) fn plain(self) -> Download {
        Download {
            urls: strings(self.urls()),
            sha256: self.sha256().into(),
            size: self.size(),
            label: self.label().into(),
        }
    }
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = CommandRef)))]
pub struct CommandRecord {
    argv: List<Text>,
    env: Pairs,
    stdin: List<u8>,
    #[sabi(last_prefix_field)]
    skip_sync: bool,
    /// Since 1.1.
    status: bool,
}

impl CommandRef {
    pub(super) fn of(plain: &Command) -> Self {
        CommandRecord {
            argv: texts(&plain.argv),
            env: pairs(plain.env.iter().map(|(k, v)| (k.as_str(), v.as_str()))),
            stdin: list(plain.stdin.iter().copied()),
            skip_sync: plain.skip_sync,
            status: plain.status,
        }
        .leak_into_prefix()
    }

    pub(super) fn plain(self) -> Command {
        Command {
            argv: strings(self.argv()),
            env: string_pairs(self.env()),
            stdin: self.stdin().to_vec(),
            skip_sync: self.skip_sync(),
            status: self.status().unwrap_or(false),
        }
    }
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = OutcomeRef)))]
pub struct OutcomeRecord {
    code: i32,
    #[sabi(last_prefix_field)]
    output: Text,
    /// Since 1.1.
    status: List<Tuple2<u64, Text>>,
}

impl OutcomeRef {
    pub(super) fn of(plain: &Outcome) -> Self {
        OutcomeRecord {
            code: plain.code,
            output: text(&plain.output),
            status: list(
                plain
                    .status
                    .iter()
                    .map(|(time, line)| Tuple2(*time, text(line))),
            ),
        }
        .leak_into_prefix()
    }

    pub(super) fn plain(self) -> Outcome {
        Outcome {
            code: self.code(),
            output: self.output().into(),
            status: self
                .status()
                .map(|lines| {
                    let pair = |line: &Tuple2<u64, Text>| (line.0, line.1.as_str().to_owned());
                    lines.iter().map(pair).collect()
                })
                .unwrap_or_default(),
        }
    }
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = SpanRef)))]
pub struct SpanRecord {
    task: Text,
    item: Text,
    begun: u64,
    #[sabi(last_prefix_field)]
    ended: u64,
}

impl SpanRef {
    pub(super) fn of(plain: &Span) -> Self {
        SpanRecord {
            task: text(&plain.task),
            item: text(&plain.item),
            begun: plain.begun,
            ended: plain.ended,
        }
        .leak_into_prefix()
    }

    pub(super) fn plain(self) -> Span {
        Span {
            task: self.task().into(),
            item: self.item().into(),
            begun: self.begun(),
            ended: self.ended(),
        }
    }
}

/// The sentences that `check` found.
pub(super) fn findings(sentences: &[String]) -> List<Text> {
    texts(sentences)
}

/// The plain form of [`findings`].
pub(super) fn plain_findings(sentences: List<Text>) -> Vec<String> {
    strings(sentences)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_crosses_unchanged() {
        let mut plain = Description::new("debian", "1.2", "Debian");
        plain.licence = "MIT".into();
        plain.options = vec![
            OptionSpec::new("mirror", OptionKind::Mirror, "where from")
                .default("http://localhost/")
                .mirror_of("debian"),
            OptionSpec::new("ssh-key", OptionKind::File, "a key").per_container(),
        ];
        assert_eq!(DescriptionRef::of(&plain).plain(), plain);
    }

    #[test]
    fn an_error_keeps_kind_message_and_hint() {
        let plain = TemplateError::untrusted("bad signature").with_hint("look");
        assert_eq!(ErrorRef::of(&plain).plain(), plain);
    }

    #[test]
    fn a_request_keeps_why_its_programs_cannot_run() {
        let mut plain = Request {
            arch: "arm64".into(),
            ..Request::default()
        };
        assert_eq!(RequestRef::of(&plain).plain(), plain);
        let error = TemplateError::new(ErrorKind::Unsupported, "no emulator").with_hint("get one");
        plain.cannot_run = Some(error);
        assert_eq!(RequestRef::of(&plain).plain(), plain);
    }

    #[test]
    fn an_unknown_code_reads_as_the_general_one() {
        assert_eq!(ErrorCode(4711).plain(), ErrorKind::Failed);
        assert_eq!(OptionKindCode(99).plain(), OptionKind::Text);
    }
}
