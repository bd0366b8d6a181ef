//! Programs run at moments of a container's life.

use super::Key;
use super::value::number;
use crate::config::effective::Assignment;
use crate::config::settings::Draft;

/// The moment of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookKind {
    /// On the host, before anything is made.
    PreStart,
    /// In the container's mount namespace, before its rootfs is there.
    PreMount,
    /// There, after all mounts, the host's root still being the root.
    Mount,
    /// There, after that, if there is a fresh /dev.
    Autodev,
    /// On the host, right before init is executed.
    StartHost,
    /// Inside, right before init is executed.
    Start,
    /// On the host, with the container's namespaces still there.
    Stop,
    /// On the host, when nothing of it runs any more.
    PostStop,
    /// When it is copied.
    Clone,
    /// When it is destroyed.
    Destroy,
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When.
    pub kind: HookKind,
    /// A command, for a shell.
    pub command: String,
    /// `file:line` for messages.
    pub place: String,
}

/// All hooks, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// In order.
    pub all: Vec<Hook>,
    /// `lxc.hook.version`: 0 passes arguments, 1 environment variables only.
    pub version: u32,
}

impl Hooks {
    /// The hooks of one moment, in order.
    pub fn of(&self, kind: HookKind) -> impl Iterator<Item = &Hook> {
        self.all.iter().filter(move |hook| hook.kind == kind)
    }
}

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.hook.version",
        "0 or 1",
        "1: hooks learn what they need from their environment only, not from arguments",
        |draft, line| {
            draft.settings.hooks.version = number(line, 0)?;
            if draft.settings.hooks.version > 1 {
                return Err(line.wrong("is neither 0 nor 1"));
            }
            Ok(())
        },
    ),
    hook(
        "lxc.hook.pre-start",
        "on the host, before anything of the container is made",
        |d, l| add(d, l, HookKind::PreStart),
    ),
    hook(
        "lxc.hook.pre-mount",
        "in its mount namespace, before the rootfs is there",
        |d, l| add(d, l, HookKind::PreMount),
    ),
    hook(
        "lxc.hook.mount",
        "in its namespaces, after all mounts, before the root is changed",
        |d, l| add(d, l, HookKind::Mount),
    ),
    hook(
        "lxc.hook.autodev",
        "there, after that, with the fresh /dev",
        |d, l| add(d, l, HookKind::Autodev),
    ),
    hook(
        "lxc.hook.start-host",
        "on the host, right before init is executed",
        |d, l| add(d, l, HookKind::StartHost),
    ),
    hook(
        "lxc.hook.start",
        "inside, right before init is executed",
        |d, l| add(d, l, HookKind::Start),
    ),
    hook(
        "lxc.hook.stop",
        "on the host, after init has ended, with its namespaces",
        |d, l| add(d, l, HookKind::Stop),
    ),
    hook(
        "lxc.hook.post-stop",
        "on the host, when nothing of it runs any more",
        |d, l| add(d, l, HookKind::PostStop),
    ),
    hook("lxc.hook.clone", "when it is copied", |d, l| {
        add(d, l, HookKind::Clone)
    }),
    hook("lxc.hook.destroy", "when it is destroyed", |d, l| {
        add(d, l, HookKind::Destroy)
    }),
];

const fn hook(name: &'static str, meaning: &'static str, read: super::Read) -> Key {
    Key::new(name, "COMMAND", meaning, read).list()
}

fn add(draft: &mut Draft, line: &Assignment, kind: HookKind) -> Result<(), String> {
    let hooks = &mut draft.settings.hooks.all;
    if line.value.is_empty() {
        hooks.retain(|hook| hook.kind != kind);
        return Ok(());
    }
    hooks.push(Hook {
        kind,
        command: line.value.clone(),
        place: line.place(),
    });
    Ok(())
}
