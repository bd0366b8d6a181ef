//! A container that belongs to this process: it runs in the foreground and ends with it.

use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::console::relay::{Came, Relay};
use crate::container::{Container, must_be_root};
use crate::error::{Error, Result, Tried};
use crate::exec::ExecRequest;
use crate::exit::Exit;
use crate::monitor::client::{Client, Received, View};
use crate::monitor::leash::Setup;
use crate::monitor::protocol::{Answer, Request};
use crate::signals::Signals;
use crate::starting::StartOptions;
use crate::sys::standard_stream;

/// Lines of the monitor are written in one piece: what is not there now comes later.
const NOW: Duration = Duration::from_millis(1);

/// How to run in the foreground.
#[derive(Debug, Clone, Default)]
pub struct ForegroundOptions {
    /// How to start.
    pub start: StartOptions,
    /// A command to run instead of the container's init.
    pub execute: Option<ExecRequest>,
    /// Followed by `q`, this key asks the container to halt, where standard input is a terminal
    /// and an init runs.
    pub escape: Option<u8>,
}

/// What becomes of a container in the foreground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Its first process runs; the host's pid of that.
    Running(i32),
    /// It was asked to halt.
    Stopping,
    /// Our output took nothing for so long that some of the console's was left out.
    OutputLost,
}

impl Container {
    /// Starts it, and returns when nothing of it is left. It ends with this process.
    ///
    /// Its console is on this process's terminal; without one, what it shows goes to standard
    /// output. SIGTERM, SIGINT, SIGHUP and SIGQUIT ask it to halt, a second one kills it. A
    /// command that runs instead of an init gets those signals, and this process's standard
    /// streams; those that are terminals are replaced by the console. Call this from the main
    /// thread, with these signals not handled elsewhere.
    ///
    /// # Errors
    /// As [`Container::start`]; with a command,
    /// [`Reason::CommandNotFound`](crate::Reason::CommandNotFound) and
    /// [`Reason::CommandNotExecutable`](crate::Reason::CommandNotExecutable).
    pub fn run_in_foreground(
        &self,
        options: &ForegroundOptions,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Exit> {
        must_be_root("start a container")?;
        let execute = options.execute.as_ref();
        if execute.is_some() && self.settings()?.privileged() {
            return Err(Error::user(format!(
                "container \"{}\" is privileged: no command can run in it in place of an init",
                self.name()
            ))
            .with_hint(format!(
                "start it and run the command in it: sampan exec {} -- COMMAND",
                self.name()
            )));
        }
        let what = || "open a socket for the monitor".to_owned();
        let (ours, theirs) = UnixStream::pair().tried(what)?;
        let terminals = Terminals::of_this_process();
        // Before there is a container that they could be for.
        let signals = Signals::new()?;
        let streams = match execute {
            Some(_) => terminals.others(),
            None => Vec::new(),
        };
        let setup = Setup {
            execute: execute.map(|request| terminals.name_kind(request)),
            streams: streams.iter().map(|(number, _)| *number).collect(),
        };
        let fds: Vec<BorrowedFd<'_>> = streams.iter().map(|(_, fd)| *fd).collect();
        setup.send(&ours, &fds)?;
        let (pid, monitor) = self.start_monitor(&options.start, Some(theirs.into()))?;
        let mut client = Client::new(ours, self.name().as_str());
        let view = client.receive_view()?;
        tell(Progress::Running(pid));
        let mut session = Session {
            container: self,
            client,
            relay: None,
            terminals,
            executes: execute.is_some(),
            escape: options.escape.filter(|_| execute.is_none()),
            asked: false,
            tell,
        };
        if !session.executes || session.terminals.any() {
            session.show(view)?;
        }
        let exit = session.run(&signals);
        drop(session);
        reap(monitor);
        Ok(match exit? {
            Some(exit) => exit,
            // The monitor was killed, and with it the container: what it left is removed now.
            None => {
                self.state()?;
                Exit::with_monitor()
            }
        })
    }
}

/// It has ended, or does so now that its leash is gone.
fn reap(mut monitor: Child) {
    let _ = monitor.wait();
}

struct Session<'a> {
    container: &'a Container,
    client: Client,
    relay: Option<Relay>,
    terminals: Terminals,
    executes: bool,
    escape: Option<u8>,
    asked: bool,
    tell: &'a mut dyn FnMut(Progress),
}

impl Session<'_> {
    fn show(&mut self, view: View) -> Result<()> {
        // A terminal that was raw is as before until the next begins.
        self.relay = None;
        let input = self.terminals.0[0];
        let screen = if self.executes {
            self.terminals.screen()
        } else {
            1
        };
        let relay = Relay::begin(view.master, view.output, input, self.escape, screen)?;
        self.relay = Some(relay);
        Ok(())
    }

    /// Until the monitor has ended; `None` if it did so without a word.
    fn run(&mut self, signals: &Signals) -> Result<Option<Exit>> {
        let mut heard = Heard::default();
        while !heard.gone || self.relay.is_some() {
            let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            if !heard.gone {
                fds.push(PollFd::new(self.client.as_fd(), PollFlags::POLLIN));
            }
            fds.extend(self.relay.iter().flat_map(Relay::poll_fds));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e).tried(|| "wait for the container".to_owned()),
            }
            let told = !heard.gone && fds[1].any().unwrap_or(false);
            while let Some(signal) = signals.next() {
                if signal == libc::SIGWINCH {
                    self.relay.iter().for_each(Relay::resize);
                } else if heard.gone {
                    // All that is left is output that nobody takes.
                    return Ok(heard.exit);
                } else {
                    self.pass_on(signal)?;
                }
            }
            match self.relay.as_mut().map_or(Came::On, Relay::relay) {
                Came::On => {}
                Came::Leave => self.pass_on(libc::SIGTERM)?,
                Came::OutputClosed | Came::End => self.relay = None,
            }
            if told {
                self.listen(&mut heard)?;
            }
            if heard.behind && self.relay.is_none() && !heard.gone {
                heard.behind = false;
                (self.tell)(Progress::OutputLost);
                // It may be stopping in this moment.
                if let Ok(view) = self.container.client().and_then(|mut c| c.view(Some(0))) {
                    self.show(view)?;
                }
            }
        }
        Ok(heard.exit)
    }

    /// Takes what the monitor has said.
    fn listen(&mut self, heard: &mut Heard) -> Result<()> {
        loop {
            match self.client.receive(NOW)? {
                Received::Answer(Answer::Ended { exit, .. }) => heard.exit = Some(exit),
                Received::Answer(Answer::FellBehind) => heard.behind = true,
                Received::Answer(_) => {}
                Received::Closed => {
                    heard.gone = true;
                    return Ok(());
                }
                Received::TimedOut => return Ok(()),
            }
        }
    }

    fn pass_on(&mut self, signal: i32) -> Result<()> {
        if self.executes {
            return self.client.send(Request::Signal { signal });
        }
        let request = if self.asked {
            Request::Kill
        } else {
            (self.tell)(Progress::Stopping);
            Request::Stop
        };
        self.asked = true;
        self.client.send(request)
    }
}

/// What the monitor has said.
#[derive(Default)]
struct Heard {
    exit: Option<Exit>,
    /// It has ended our session on the console.
    behind: bool,
    gone: bool,
}

/// Which of our standard streams are terminals.
struct Terminals([bool; 3]);

impl Terminals {
    fn of_this_process() -> Terminals {
        Terminals([0, 1, 2].map(|number| standard_stream(number).is_terminal()))
    }

    fn any(&self) -> bool {
        self.0.contains(&true)
    }

    /// Where the console is shown to whoever has redirected some of them.
    fn screen(&self) -> i32 {
        [1, 2, 0]
            .into_iter()
            .find(|number| self.0[*number as usize])
            .unwrap_or(1)
    }

    /// Those that a command gets as they are. Never a terminal of the host.
    fn others(&self) -> Vec<(i32, BorrowedFd<'static>)> {
        (0..3)
            .filter(|number| !self.0[*number as usize])
            .map(|number| (number, standard_stream(number)))
            .collect()
    }

    /// The request, with the kind of our terminal for programs that draw on it.
    fn name_kind(&self, request: &ExecRequest) -> ExecRequest {
        let mut request = request.clone();
        if self.any()
            && let Some(term) = std::env::var_os("TERM")
        {
            request.environment.insert(0, ("TERM".into(), term));
        }
        request
    }
}
