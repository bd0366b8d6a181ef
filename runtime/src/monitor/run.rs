//! A container's life from its first init to its last.

use std::time::Instant;

use super::policy::Decision;
use super::protocol::Answer;
use super::{Monitor, boot, hooking, now};
use crate::config::HookKind;
use crate::error::Result;
use crate::events::Change;
use crate::exit::{Exit, How};
use crate::network::Connected;

impl Monitor {
    /// Works until the container has stopped, and tidies up.
    pub(super) fn run(mut self) -> Result<()> {
        let mut exit = self.live()?;
        while self.begin_again(&mut exit)? {
            exit = self.live()?;
        }
        self.finish(exit)
    }

    /// Until init ends, and with it everything of the guest.
    fn live(&mut self) -> Result<Exit> {
        let ended = loop {
            if let Some(ended) = self.watch(None)? {
                break ended;
            }
        };
        self.ended = self.init.take();
        self.unheard = None;
        self.kill_at = None;
        self.thaw();
        self.finish_terminals();
        // The guest's pid namespace ended with its init; what was moved elsewhere too.
        self.cgroup.kill()?;
        let exit = Exit::of(ended, self.stopping, self.restarts.count());
        eprintln!("init {exit}");
        Ok(exit)
    }

    /// Starts again with the config of the first start, after a reboot of the guest or as the
    /// restart policy wants it. `false`: it has stopped.
    fn begin_again(&mut self, exit: &mut Exit) -> Result<bool> {
        // One command has no second life.
        if self.stopping || self.execution.is_some() {
            return Ok(false);
        }
        let mut reboot = exit.how == How::Rebooted;
        let mut ran = self.booted_at.elapsed();
        loop {
            if reboot {
                eprintln!("the guest reboots");
                self.tell(Change::Rebooting);
            } else {
                match self.restarts.decide(exit.is_failure(), ran, Instant::now()) {
                    Decision::Stop => return Ok(false),
                    Decision::GiveUp => {
                        eprintln!("it has been started again often enough");
                        exit.gave_up = true;
                        return Ok(false);
                    }
                    Decision::RestartAfter(delay) => {
                        eprintln!("it is started again in {delay:?}");
                        self.tell(Change::Restarting {
                            exit: exit.clone(),
                            delay: delay.as_secs_f64(),
                        });
                        // Without an init this only answers requests.
                        self.watch(Some(Instant::now() + delay))?;
                        if self.stopping {
                            return Ok(false);
                        }
                    }
                }
            }
            self.hooks_after(HookKind::Stop, "reboot");
            self.networks_down("reboot");
            self.network = Connected::default();
            self.cgroup.remove()?;
            self.hooks_after(HookKind::PostStop, "reboot");
            self.ended = None;
            // Limits change while it runs: it gets those of today.
            let today = self.container.settings();
            let limits = today
                .as_ref()
                .map_or(&self.settings.cgroup, |it| &it.cgroup);
            match boot::boot(
                &self.container,
                &self.settings,
                (&self.cgroup, limits),
                &self.console,
                &self.ttys,
                None,
            ) {
                Ok(booted) => {
                    self.begin(booted);
                    for client in std::mem::take(&mut self.reboot_waiters) {
                        self.control.tell(client, &Answer::Rebooted);
                    }
                    return Ok(true);
                }
                Err(error) => {
                    let message = error.chain();
                    eprintln!("could not start again: {message}");
                    self.tell(Change::StartFailed { message });
                    self.cgroup.kill()?;
                    exit.how = How::StartFailed;
                    exit.at = now();
                    exit.restarts = self.restarts.count();
                    (reboot, ran) = (false, std::time::Duration::ZERO);
                }
            }
        }
    }

    /// Goes on past failures, so that as little as possible stays.
    fn finish(mut self, exit: Exit) -> Result<()> {
        if let Err(error) = exit.write(&self.container.dir()) {
            eprintln!("{}", error.chain());
        }
        self.hooks_after(HookKind::Stop, "stop");
        self.networks_down("stop");
        self.network = Connected::default();
        self.forget_strangers();
        let removed = self.cgroup.remove();
        self.hooks_after(HookKind::PostStop, "stop");
        let run = self.container.run_directory().remove();
        // From here on it is not running any more for everybody who asks.
        self.tell(Change::Stopped { exit: exit.clone() });
        let destroyed = if self.settings.ephemeral {
            // With the lock it would take itself for running.
            self.lock = None;
            self.container.destroy(false)
        } else {
            Ok(())
        };
        self.control.tell_all(&Answer::Ended {
            exit,
            killed: self.killed,
        });
        removed.and(run).and(destroyed)
    }

    /// Runs the last scripts of networks. Those of a start that failed have run already.
    fn networks_down(&self, target: &str) {
        if let Some(init) = &self.ended {
            let what = (&self.settings, self.settings.networks.as_slice());
            hooking::networks_down(&self.container, what, target, Some(init));
        }
    }

    /// Runs the hooks at an init's end. Those of one that did not get to run have run already.
    fn hooks_after(&self, kind: HookKind, target: &str) {
        if let Some(init) = &self.ended {
            hooking::after(&self.container, &self.settings, kind, target, Some(init));
        }
    }
}
