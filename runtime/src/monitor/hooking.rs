//! The monitor's part in hooks and namespaces that others have too.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::scripts;
use super::terminal::Terminal;
use crate::config::{HookKind, Namespace, Network, Settings};
use crate::container::Container;
use crate::error::{Error, Result, Tried};
use crate::hooks::{self, Context, Output};
use crate::init::{self, namespaces};
use crate::sys::namespace;
use crate::sys::spawn::{Onlooker, Running};

/// Those told to hooks, if the container has them to itself.
const TOLD: [Namespace; 7] = [
    Namespace::User,
    Namespace::Mount,
    Namespace::Pid,
    Namespace::Uts,
    Namespace::Ipc,
    Namespace::Network,
    Namespace::Cgroup,
];

/// What this container's hooks are told.
pub(super) fn context(container: &Container, settings: &Settings, console: &Terminal) -> Context {
    let mut context = Context::new(container, settings, &init::mount_point(settings));
    let slave = format!("/proc/self/fd/{}", console.slave().as_raw_fd());
    if let Ok(path) = std::fs::read_link(slave) {
        context.tell("LXC_CONSOLE", path);
    }
    context
}

/// Runs the hooks of a moment.
pub(super) fn run(
    settings: &Settings,
    kind: HookKind,
    more: &[String],
    context: &Context,
    output: &mut Output,
) -> Result<()> {
    hooks::run_all(context, settings, kind, more, output)
}

/// Runs hooks after the end: `target` is what follows, `stop` or `reboot`. A failure changes
/// nothing any more and is logged. `init` is the one that has ended, if there was one.
pub(super) fn after(
    container: &Container,
    settings: &Settings,
    kind: HookKind,
    target: &str,
    init: Option<&Running>,
) {
    if settings.hooks.of(kind).next().is_none() {
        return;
    }
    let mut context = context_after(container, settings, target, init);
    let mut more = Vec::new();
    for (name, fd) in init.into_iter().flat_map(|init| &init.namespaces) {
        let path = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        context.tell(&format!("LXC_{}_NS", name.to_uppercase()), &path);
        if kind == HookKind::Stop {
            more.push(format!("{name}:{path}"));
        }
    }
    let ran = Output::new(&hooks::log_file(container, settings))
        .and_then(|mut output| run(settings, kind, &more, &context, &mut output));
    if let Err(error) = ran {
        eprintln!("{error:?}");
    }
}

/// Runs the scripts of networks that are about to go; the same holds for them.
pub(super) fn networks_down(
    container: &Container,
    (settings, networks): (&Settings, &[Network]),
    target: &str,
    init: Option<&Running>,
) {
    if networks.iter().any(|it| it.down_script.is_some()) {
        let context = context_after(container, settings, target, init);
        scripts::down(container, (settings, networks), &context);
    }
}

fn context_after(
    container: &Container,
    settings: &Settings,
    target: &str,
    init: Option<&Running>,
) -> Context {
    let mut context = Context::new(container, settings, &init::mount_point(settings));
    context.tell("LXC_TARGET", target);
    if let Some(init) = init {
        context.tell("LXC_PID", init.pid.to_string());
    }
    context
}

/// The namespaces of a running init, if a hook is to find them when it has ended.
pub(super) fn namespaces_for_hooks(
    settings: &Settings,
    pid: i32,
) -> Result<Vec<(&'static str, OwnedFd)>> {
    if settings.hooks.of(HookKind::Stop).next().is_none() {
        return Ok(Vec::new());
    }
    TOLD.into_iter()
        .filter(|kind| namespaces::is_own(settings, *kind))
        .map(|kind| Ok((kind.name(), open_namespace(pid, kind.name())?)))
        .collect()
}

/// The monitor while init is on its way.
pub(super) struct Watch<'a> {
    pub(super) settings: &'a Settings,
    pub(super) context: &'a mut Context,
    pub(super) output: &'a mut Output,
    pub(super) pid: i32,
}

impl Onlooker for Watch<'_> {
    fn output(&self) -> BorrowedFd<'_> {
        self.output.read_end()
    }

    fn take_output(&mut self) {
        self.output.take();
    }

    fn paused(&mut self) -> Result<()> {
        self.context.tell("LXC_PID", self.pid.to_string());
        let kind = HookKind::StartHost;
        hooks::run_all(self.context, self.settings, kind, &[], self.output)
    }

    fn explain(&mut self, error: Error) -> Error {
        self.output.explain(error)
    }
}

/// Runs `start` in the namespaces that the container shares with others, and comes back: what is
/// started stays there. The pid namespace counts for children only.
pub(super) fn in_shared_namespaces<T>(
    container: &Container,
    settings: &Settings,
    start: impl FnOnce() -> Result<T>,
) -> Result<T> {
    for remark in namespaces::remarks(settings) {
        eprintln!("{remark}");
    }
    if settings.namespaces.share.is_empty() {
        return start();
    }
    let mut back = Vec::new();
    let entered = settings.namespaces.share.iter().try_for_each(|(kind, of)| {
        let key = || format!("lxc.namespace.share.{} = {of}", kind.name());
        let theirs = pid_of(container, of)
            .and_then(|pid| open_namespace(pid, kind.name()))
            .map_err(|error| error.wrap(format!("could not obey {}", key())))?;
        let ours = open_namespace(std::process::id() as i32, kind.name())?;
        namespace::enter(theirs.as_fd(), namespaces::flag(*kind))
            .tried(|| format!("obey {}: enter the namespace", key()))?;
        back.push((*kind, ours));
        Ok(())
    });
    let result = entered.and_then(|()| start());
    for (kind, ours) in back {
        let what = || format!("return to the monitor's own {} namespace", kind.name());
        namespace::enter(ours.as_fd(), namespaces::flag(kind)).tried(what)?;
    }
    result
}

/// Whose namespace is meant: a pid, the name of a container beside this one, or its directory.
fn pid_of(container: &Container, of: &str) -> Result<i32> {
    if let Ok(pid) = of.parse() {
        return Ok(pid);
    }
    let path = Path::new(of);
    let beside = container.dir().parent().map(|parent| parent.join(of));
    if path.is_absolute()
        && beside.as_deref() != Some(path)
        && path.parent() != container.dir().parent()
    {
        return Err(Error::user(format!(
            "{of} is in another directory than this container, whose monitors this one does not know"
        ))
        .with_hint("give the pid of its init: sampan info"));
    }
    let name = path.file_name().unwrap_or(path.as_os_str());
    let other = container.beside(name.to_string_lossy().parse()?);
    other.init_pid()?.ok_or_else(|| {
        Error::user(format!("container \"{}\" does not run", other.name()))
            .with_hint(format!("start it first: sampan start {}", other.name()))
    })
}

fn open_namespace(pid: i32, name: &str) -> Result<OwnedFd> {
    let path = PathBuf::from(format!("/proc/{pid}/ns/{name}"));
    let file = File::open(&path).tried(|| format!("open {}", path.display()))?;
    Ok(OwnedFd::from(file))
}
