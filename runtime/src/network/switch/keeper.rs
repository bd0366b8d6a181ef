//! The process that keeps a switch running.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;

use super::{PROGRAM, Switch, orders_file, place};
use crate::containers::{Durability, replace_file};
use crate::error::{Error, Result, Tried};
use crate::monitor::own_session;
use crate::network::link;
use crate::network::netlink::{Netlink, News};
use crate::network::service::control::Problem;
use crate::signals;
use crate::sys::pidfd;

/// How long the switch may take to make its tap interface, and to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before it is started again, once it has ended at once: from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// One that has lived this long is no longer one that ends at once.
const SOUND: Duration = Duration::from_secs(60);

/// Runs until it is ended by a signal. The first thing it does is to leave the caller's process; what
/// it says on standard output is whether the switch works.
pub(in crate::network) fn keep(directory: &Path, orders: &str) -> Result<()> {
    let mut report = own_session()?;
    let run = place(directory);
    let begun = (|| {
        let switch = serde_json::from_str(orders)
            .map_err(|e| Error::internal(format!("orders that are none: {e}")))?;
        let lock = run.lock()?.ok_or_else(|| Error::user("it runs already"))?;
        let begun: Result<_> = (|| {
            let signals = signals::to_end()?;
            replace_file(&orders_file(directory), orders, Durability::ProcessCrash)?;
            let control = run.listen()?;
            let running = plug(&switch)?;
            Ok((signals, control, running))
        })();
        if begun.is_err() {
            let _ = run.remove();
        }
        Ok((lock, switch, begun?))
    })();
    let problem = begun.as_ref().err().map(Problem::of);
    // Whoever asked may be gone.
    let _ = serde_json::to_writer(&mut report, &problem).map(|()| report.flush());
    drop(report);
    let (_lock, switch, (signals, control, running)) = begun?;
    let ended = watch(&switch, &signals, &control, running);
    ended.and(run.remove())
}

/// Starts it again whenever it ends, until a signal says that it is enough.
fn watch(
    switch: &Switch,
    signals: &SignalFd,
    control: &UnixListener,
    running: Running,
) -> Result<()> {
    let mut running = Some(running);
    let (mut pause, mut again) = (FIRST_PAUSE, None::<Instant>);
    loop {
        let mut fds = vec![
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(control.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(
            running
                .as_ref()
                .map(|it| PollFd::new(it.ended.as_fd(), PollFlags::POLLIN)),
        );
        let timeout = again.map_or(PollTimeout::NONE, |at| {
            let left = at.saturating_duration_since(Instant::now());
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e).tried(|| "wait for events".to_owned()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        drop(fds);
        if ready[0] {
            while let Ok(Some(signal)) = signals.read_signal() {
                if signal.ssi_signo != Signal::SIGPIPE as u32 {
                    return Ok(());
                }
            }
        }
        if ready[1] {
            // Whoever connects wants to know who this is (SO_PEERCRED), and says nothing.
            drop(control.accept());
        }
        if ready.get(2) == Some(&true)
            && let Some(ended) = running.take()
        {
            if ended.since.elapsed() >= SOUND {
                pause = FIRST_PAUSE;
            }
            drop(ended);
            eprintln!("the switch has ended; it is started again in {pause:?}");
            again = Some(Instant::now() + pause);
            pause = (pause * 2).min(LAST_PAUSE);
        }
        if again.is_some_and(|at| at <= Instant::now()) {
            match plug(switch) {
                Ok(new) => {
                    running = Some(new);
                    again = None;
                }
                Err(error) => {
                    eprintln!("{}", error.chain());
                    again = Some(Instant::now() + pause);
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }
}

/// A switch that runs. It is ended when this is dropped.
struct Running {
    child: Child,
    /// Becomes readable when it has ended.
    ended: OwnedFd,
    since: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The end of its console is what it ends by, tidily; the other end is held by nobody else.
        drop(self.child.stdin.take());
        if !pidfd::ended(self.ended.as_fd(), Some(PATIENCE)).unwrap_or(false) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Starts the switch, and makes its tap interface a port of the bridge.
fn plug(switch: &Switch) -> Result<Running> {
    let what = || format!("plug the switch into {}", switch.bridge);
    let mut news = News::of_links().tried(what)?;
    let mut command = Command::new(PROGRAM);
    command
        .arg("--sock")
        .arg(&switch.socket)
        .args(["--tap", &switch.tap])
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    match &switch.group {
        Some(group) => command.args(["--mode", "660", "--dirmode", "2770", "--group", group]),
        None => command.args(["--mode", "600", "--dirmode", "2700"]),
    };
    let child = command.spawn().tried(|| format!("execute {PROGRAM}"))?;
    let ended = pidfd::open(child.id() as i32).tried(what)?;
    let running = Running {
        child,
        ended,
        since: Instant::now(),
    };
    let mut netlink = Netlink::here().tried(what)?;
    let bridge = link::find(&mut netlink, &switch.bridge).tried(what)?;
    let bridge = bridge.ok_or(Errno::ENODEV).tried(what)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(tap) = link::find(&mut netlink, &switch.tap).tried(what)? {
            link::set_controller(&mut netlink, tap.index, bridge.index).tried(what)?;
            link::set_up(&mut netlink, tap.index).tried(what)?;
            return Ok(running);
        }
        let gone = pidfd::ended(running.ended.as_fd(), Some(Duration::ZERO)).tried(what)?;
        if gone || Instant::now() >= deadline {
            return Err(Error::environment(format!(
                "{PROGRAM} {} without the interface {}",
                if gone { "ended" } else { "runs" },
                switch.tap
            ))
            .with_hint("it makes one by /dev/net/tun; what it said is in switch.log of the network's run directory"));
        }
        // One that ends makes no news of links.
        let soon = Instant::now() + Duration::from_millis(100);
        news.wait(deadline.min(soon)).tried(what)?;
    }
}
