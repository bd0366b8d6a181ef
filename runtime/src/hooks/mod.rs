//! Hooks: programs of the host's admin that take part in a container's life (`lxc.hook.*`).
//!
//! As in LXC a hook is a command for `/bin/sh`. Version 0 tells it by arguments what it is called
//! for, version 1 by its environment alone. Whatever it writes goes to the monitor's log; one that
//! fails, or takes longer than [`TIME_LIMIT`], fails what it was called by.

mod host;
mod output;

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use host::{run_all, run_script};
pub(crate) use output::Output;

use crate::config::{Hook, HookKind, Settings};
use crate::container::Container;
use crate::error::Result;
use crate::sandbox::c_string;
use crate::sandbox::in_root::DEFAULT_PATH;
use crate::sys::plan::Exec;

/// How long one hook may take. Long enough for a slow network mount, short enough that a stuck one
/// does not hold up a boot of the machine for ever.
pub const TIME_LIMIT: Duration = Duration::from_secs(300);

/// What a hook is told.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    name: String,
    version: u32,
    variables: Vec<(OsString, OsString)>,
}

impl Context {
    /// What every hook of a container is told. `mount` is where its rootfs is seen.
    pub(crate) fn new(container: &Container, settings: &Settings, mount: &Path) -> Context {
        let log = container.console_log();
        let log = settings.console_log.as_deref().unwrap_or(&log);
        let mut context = Context {
            name: container.name().to_string(),
            version: settings.hooks.version,
            variables: vec![("PATH".into(), DEFAULT_PATH.into())],
        };
        context.tell("LXC_NAME", container.name().as_str());
        context.tell("LXC_CONFIG_FILE", container.config_path());
        context.tell("LXC_ROOTFS_PATH", &settings.rootfs);
        context.tell("LXC_ROOTFS_MOUNT", mount);
        context.tell("LXC_CONSOLE_LOGPATH", log);
        context.tell("LXC_CGNS_AWARE", "1");
        context
    }

    /// Adds a variable, or replaces it.
    pub(crate) fn tell(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.into(), value.into()));
    }

    /// The program of a hook. `more` are further arguments, for version 0.
    pub(crate) fn program(&self, hook: &Hook, more: &[String]) -> Result<Exec> {
        let words = if self.version == 0 { more } else { &[] };
        self.program_of("lxc", hook.kind.name(), &hook.command, words)
    }

    /// The program of a script of this section and kind. `words` are arguments after its own.
    pub(crate) fn program_of(
        &self,
        section: &str,
        kind: &str,
        command: &str,
        words: &[String],
    ) -> Result<Exec> {
        let mut command = format!("exec {command}");
        let mut variables = self.variables.clone();
        variables.push(("LXC_HOOK_VERSION".into(), self.version.to_string().into()));
        if self.version == 0 {
            command.push_str(&format!(" {} {section} {kind}", self.name));
        } else {
            variables.push(("LXC_HOOK_TYPE".into(), kind.into()));
            variables.push(("LXC_HOOK_SECTION".into(), section.into()));
        }
        // Names of containers, of hooks and interfaces, and paths in /proc.
        for word in words {
            command.push(' ');
            command.push_str(&quoted(word));
        }
        let environment = variables
            .iter()
            .map(|(key, value)| c_string([key.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<Result<Vec<CString>>>()?;
        let argv = vec![c"sh".to_owned(), c"-c".to_owned(), c_string(command)?];
        Ok(Exec::new(vec![c"/bin/sh".to_owned()], argv, environment))
    }

    /// `lxc.hook.version`.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }
}

/// A word as the shell takes it, whatever it holds: an interface may have any name.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    match word.chars().all(plain) && !word.is_empty() {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// How messages call a hook; completes "could not …".
pub(crate) fn sentence(hook: &Hook) -> String {
    format!(
        "run the hook lxc.hook.{} = {} ({})",
        hook.kind.name(),
        hook.command,
        hook.place
    )
}

/// Runs the hooks of a moment on the host, for one who works on a container that does not run: a
/// copy (`Clone`) or a destruction (`Destroy`). `variables` are told besides the usual ones, as
/// `LXC_SRC_NAME`; `mount` is where the rootfs is seen.
///
/// # Errors
/// The first hook that fails, with its last words; the others are not run.
pub fn run(
    container: &Container,
    settings: &Settings,
    kind: HookKind,
    mount: &Path,
    variables: &[(&str, OsString)],
) -> Result<()> {
    if settings.hooks.of(kind).next().is_none() {
        return Ok(());
    }
    let mut context = Context::new(container, settings, mount);
    for (name, value) in variables {
        context.tell(name, value);
    }
    let mut output = Output::new(&log_file(container, settings))?;
    run_all(&context, settings, kind, &[], &mut output)
}

/// Where the output of a container's hooks goes.
pub(crate) fn log_file(container: &Container, settings: &Settings) -> PathBuf {
    let own = settings.log.file.clone();
    own.unwrap_or_else(|| container.log())
}

impl HookKind {
    /// Its name in the config, after `lxc.hook.`.
    pub fn name(self) -> &'static str {
        match self {
            HookKind::PreStart => "pre-start",
            HookKind::PreMount => "pre-mount",
            HookKind::Mount => "mount",
            HookKind::Autodev => "autodev",
            HookKind::StartHost => "start-host",
            HookKind::Start => "start",
            HookKind::Stop => "stop",
            HookKind::PostStop => "post-stop",
            HookKind::Clone => "clone",
            HookKind::Destroy => "destroy",
        }
    }
}
