//! The parent's side of a worker: start it, answer it, and end it whatever it does.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs::File,
    io::{ErrorKind as IoErrorKind, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sampan_core::{
    BuildOutcome, ConfigureOutcome, ContainerRequest, Description, Download, Level, Request, Span,
    TemplateError,
};
use sampan_runtime::{Ended as Status, IdRange, RootPath, sandbox::Sandbox};

use crate::{
    Cancellation, Descriptions, Downloader, Memory, PluginError, Reporter, ResolvedOptions,
    descriptions::Identity,
    find::Found,
    foreign,
    protocol::{
        self, Answer, Call, DOWNLOADS, Ended, FILES, FromWorker, Incoming, PLUGIN, Reply, SOCKET,
    },
};

/// How long a worker may go on after a person asked to stop.
const GRACE: Duration = Duration::from_secs(2);
/// How long a worker may take to read an answer.
const READ_PATIENCE: Duration = Duration::from_secs(20);
/// How many of a worker's last lines an error shows.
const LINES_KEPT: usize = 12;
/// The longest line kept or logged, in characters.
const LINE_LIMIT: usize = 2000;
/// Whoever logs more has lost its mind.
const LOG_LIMIT: u32 = 200_000;

/// What every call to a template needs of its host.
pub struct Session<'a> {
    /// The program that is `worker_main` under these arguments.
    pub program: PathBuf,
    /// The arguments, such as `worker`.
    pub arguments: Vec<String>,
    /// Fetches for templates.
    pub downloader: &'a Downloader,
    /// Remembers for templates.
    pub memory: &'a Memory,
    /// What templates said of themselves before.
    pub descriptions: &'a Descriptions,
    /// Hears of log lines and progress.
    pub reporter: &'a dyn Reporter,
    /// Whether a person asked to stop.
    pub cancellation: &'a Cancellation,
}

/// A template that has described itself.
#[derive(Debug, Clone)]
pub struct Template {
    /// Where it was found.
    pub found: Found,
    /// The ABI version that it was built with.
    pub abi_version: String,
    /// What it says of itself.
    pub description: Description,
    /// The library that said it, if it could be looked at.
    pub(crate) identity: Option<Identity>,
}

impl Session<'_> {
    /// What a library is: as it said before, if it is the same still, else it is asked.
    ///
    /// # Errors
    /// When it is not safe to load, is no template, or does not answer.
    pub fn describe(&self, found: &Found) -> Result<Template, PluginError> {
        let library = found.check()?;
        let identity = Identity::of(&library, &self.program).ok();
        if let Some(identity) = &identity
            && let Some(known) = self.descriptions.recall(&found.name, identity)
        {
            let (abi_version, description) = known;
            return Ok(Template {
                found: found.clone(),
                abi_version,
                description,
                identity: Some(identity.clone()),
            });
        }
        let template = self.ask(found, identity)?;
        if let Some(identity) = &template.identity {
            let (abi, description) = (&template.abi_version, &template.description);
            self.descriptions
                .keep(&found.name, identity, abi, description);
        }
        Ok(template)
    }

    fn ask(&self, found: &Found, identity: Option<Identity>) -> Result<Template, PluginError> {
        match self.call(found, &Call::Describe, None, None)? {
            Answer::Description {
                abi_version,
                description,
            } => {
                if description.name != found.name {
                    return Err(PluginError::Unusable {
                        path: found.path.clone(),
                        reason: format!("it calls itself `{}`", description.name),
                    });
                }
                Ok(Template {
                    found: found.clone(),
                    abi_version,
                    description,
                    identity,
                })
            }
            _ => Err(unexpected(found)),
        }
    }

    /// The identity of the template's inputs as they are now.
    pub(crate) fn fingerprint(
        &self,
        template: &Template,
        options: &ResolvedOptions,
    ) -> Result<Option<String>, PluginError> {
        let call = Call::Fingerprint(request(options));
        match self.call(&template.found, &call, None, Some(options))? {
            Answer::Fingerprint(fingerprint) => Ok(fingerprint),
            _ => Err(unexpected(&template.found)),
        }
    }

    /// Has the template fill the empty directory `rootfs`; `memory` is the most that its worker
    /// may take, in bytes.
    pub(crate) fn build(
        &self,
        template: &Template,
        options: &ResolvedOptions,
        rootfs: &Path,
        memory: Option<u64>,
    ) -> Result<BuildOutcome, PluginError> {
        let call = Call::Build(request(options));
        let found = &template.found;
        match self.call_within(found, &call, Some(&rootfs.into()), Some(options), memory)? {
            Answer::Built(outcome) => Ok(outcome),
            _ => Err(unexpected(&template.found)),
        }
    }

    /// Has the template make the tree at `rootfs` the own of the container `name`.
    ///
    /// # Errors
    /// When the template fails or its worker dies; the tree is then in no known state.
    pub fn configure(
        &self,
        template: &Template,
        options: &ResolvedOptions,
        name: &str,
        privileged: bool,
        rootfs: &RootPath,
    ) -> Result<ConfigureOutcome, PluginError> {
        let call = Call::Configure(ContainerRequest {
            name: name.to_owned(),
            arch: options.arch.clone(),
            options: options.options.clone(),
            privileged,
        });
        match self.call(&template.found, &call, Some(rootfs), Some(options))? {
            Answer::Configured(outcome) => Ok(outcome),
            _ => Err(unexpected(&template.found)),
        }
    }

    fn call(
        &self,
        found: &Found,
        call: &Call,
        rootfs: Option<&RootPath>,
        options: Option<&ResolvedOptions>,
    ) -> Result<Answer, PluginError> {
        self.call_within(found, call, rootfs, options, None)
    }

    fn call_within(
        &self,
        found: &Found,
        call: &Call,
        rootfs: Option<&RootPath>,
        options: Option<&ResolvedOptions>,
        memory: Option<u64>,
    ) -> Result<Answer, PluginError> {
        let library = found.check()?;
        if self.cancellation.is_cancelled() {
            return Err(PluginError::Cancelled);
        }
        let plain = |error: std::io::Error| PluginError::Sandbox {
            template: found.name.clone(),
            source: sampan_runtime::Error::environment(format!(
                "no socket or pipe could be made: {error}"
            )),
        };
        let (ours, theirs) = UnixStream::pair().map_err(plain)?;
        // A worker that does not read what it asked for is given up.
        ours.set_write_timeout(Some(READ_PATIENCE)).map_err(plain)?;
        let (output, output_end) = std::io::pipe().map_err(plain)?;

        let begun = Span::now();
        let ids = IdRange::random_for_build();
        let mut sandbox = Sandbox::new(&self.program, OwnedFd::from(output_end), ids);
        sandbox.arguments = self.arguments.iter().map(OsString::from).collect();
        sandbox.read_only.push((library, PLUGIN.into()));
        if !matches!(call, Call::Describe) {
            let downloads = self.downloader.directory().to_owned();
            sandbox.read_only.push((downloads, DOWNLOADS.into()));
        }
        for (host, name) in options.map(|options| &options.files).into_iter().flatten() {
            let inside = Path::new(FILES).join(name);
            sandbox.read_only.push((host.clone(), inside));
        }
        sandbox.rootfs = rootfs.cloned();
        if let Some(memory) = memory {
            sandbox.limit_memory(memory);
        }
        sandbox.fds.push((OwnedFd::from(theirs), SOCKET));
        let mut process = sandbox.spawn().map_err(|source| PluginError::Sandbox {
            template: found.name.clone(),
            source,
        })?;

        self.reporter.span(&Span::since(begun, "start worker", ""));
        let begun = Span::now();

        let mut conversation = Conversation {
            session: self,
            found,
            call,
            mirrors: options.map_or(&[], |options| &options.mirrors),
            stream: ours,
            output: File::from(OwnedFd::from(output)),
            output_open: true,
            lines: Lines::default(),
            deadline: None,
            logged: 0,
        };
        let ended = conversation.hold();
        self.reporter
            .span(&Span::since(begun, "worker at work", ""));
        let begun = Span::now();
        if ended.is_err() {
            process.kill();
        }
        // A worker that has answered has nothing more to do; one that stays is ended.
        let status = process.wait_timeout(GRACE).unwrap_or(None);
        if status.is_none() {
            process.kill();
            let _ = process.wait();
        }
        drop(process);
        self.reporter.span(&Span::since(begun, "end worker", ""));
        match ended {
            Ok(Some(Ended::Answer(answer))) => Ok(answer),
            Ok(Some(Ended::Unusable(reason))) => Err(PluginError::Unusable {
                path: found.path.clone(),
                reason,
            }),
            Ok(Some(Ended::Failed(error))) => {
                if self.cancellation.is_cancelled() {
                    return Err(PluginError::Cancelled);
                }
                Err(PluginError::Template {
                    template: found.name.clone(),
                    error,
                })
            }
            Ok(None) | Err(Stop::Lost) => Err(conversation.died(status)),
            Err(Stop::Cancelled) => Err(PluginError::Cancelled),
            Err(Stop::Error(error)) => Err(error),
        }
    }
}

/// Where the library is, if it is safe to load.
enum Stop {
    /// The stream is broken or makes no sense.
    Lost,
    Cancelled,
    Error(PluginError),
}

struct Conversation<'a> {
    session: &'a Session<'a>,
    found: &'a Found,
    call: &'a Call,
    mirrors: &'a [String],
    stream: UnixStream,
    output: File,
    output_open: bool,
    lines: Lines,
    /// Set when a person asked to stop: the worker is ended then.
    deadline: Option<Instant>,
    logged: u32,
}

impl Conversation<'_> {
    /// Speaks with the worker until it is done; `None` when it closed the stream before.
    fn hold(&mut self) -> Result<Option<Ended>, Stop> {
        protocol::send(&mut self.stream, self.call, &[]).map_err(|_| Stop::Lost)?;
        loop {
            let Some(message) = self.next_message()? else {
                return Ok(None);
            };
            let (reply, raw) = match message {
                FromWorker::Done(ended) => return Ok(Some(*ended)),
                FromWorker::Log(level, text) => {
                    self.log(level, &text)?;
                    continue;
                }
                FromWorker::Progress {
                    task,
                    done,
                    total,
                    unit,
                } => {
                    let task = printable(&task);
                    self.session.reporter.progress(&task, done, total, unit);
                    continue;
                }
                FromWorker::Span(mut span) => {
                    span.task = printable(&span.task);
                    span.item = printable(&span.item);
                    self.session.reporter.span(&span);
                    continue;
                }
                FromWorker::Fetch(downloads) => (self.fetch(&downloads)?, Vec::new()),
                FromWorker::FetchUnverified { url, limit } => {
                    match self.session.downloader.fetch_unverified(
                        &url,
                        limit,
                        self.mirrors,
                        self.session.cancellation,
                    ) {
                        Ok(bytes) => (Reply::Bytes, bytes),
                        Err(error) => (Reply::Failed(error), Vec::new()),
                    }
                }
                FromWorker::RememberHighest { name, value } => {
                    let memory = self.session.memory;
                    match memory.highest(&self.found.name, &name, value) {
                        Ok(highest) => (Reply::Highest(highest), Vec::new()),
                        Err(error) => (Reply::Failed(error), Vec::new()),
                    }
                }
                FromWorker::Cancelled => {
                    let wish = self.session.cancellation.is_cancelled();
                    (Reply::Cancelled(wish), Vec::new())
                }
            };
            protocol::send(&mut self.stream, &reply, &raw).map_err(|_| Stop::Lost)?;
        }
    }

    /// Waits for the worker to speak, meanwhile taking its output and looking for a wish to stop;
    /// `None` when it closed the stream. A worker that stops in the middle of a message holds
    /// nobody up.
    fn next_message(&mut self) -> Result<Option<FromWorker>, Stop> {
        let mut incoming = Incoming::default();
        loop {
            if let Some((message, _)) = incoming.take().map_err(|_| Stop::Lost)? {
                return Ok(Some(message));
            }
            let cancellation = self.session.cancellation;
            if self.deadline.is_none() && cancellation.is_cancelled() {
                self.deadline = Some(Instant::now() + GRACE);
            }
            let timeout = match self.deadline {
                None => PollTimeout::NONE,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Stop::Cancelled);
                    }
                    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
                }
            };
            let mut fds = vec![PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
            if self.output_open {
                fds.push(PollFd::new(self.output.as_fd(), PollFlags::POLLIN));
            }
            if self.deadline.is_none() {
                fds.push(PollFd::new(cancellation.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut fds, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return Err(Stop::Lost),
            }
            let spoke = fds[0].any().unwrap_or(false);
            let wrote = self.output_open && fds[1].any().unwrap_or(false);
            drop(fds);
            if wrote {
                self.output_open = self.lines.take(&mut self.output);
            }
            if spoke && !incoming.fill(&mut self.stream).map_err(|_| Stop::Lost)? {
                return match incoming.is_torn() {
                    true => Err(Stop::Lost),
                    false => Ok(None),
                };
            }
        }
    }

    fn log(&mut self, level: Level, text: &str) -> Result<(), Stop> {
        self.logged += 1;
        if self.logged > LOG_LIMIT {
            return Err(Stop::Error(PluginError::Died {
                template: self.found.name.clone(),
                doing: self.call.doing(),
                how: format!("was ended because it logged more than {LOG_LIMIT} lines"),
                last_lines: self.lines.last(),
            }));
        }
        for line in text.lines() {
            let line = printable(line);
            self.lines.push(line.clone());
            self.session.reporter.log(level, &line);
        }
        Ok(())
    }

    /// Fetches, and sends each file's path as soon as it is there.
    fn fetch(&mut self, downloads: &[Download]) -> Result<Reply, Stop> {
        let session = self.session;
        let stream = &mut self.stream;
        let mut lost = false;
        let fetched = session.downloader.fetch(
            downloads,
            self.mirrors,
            session.reporter,
            session.cancellation,
            &mut |index, name| {
                let ready = Reply::Ready(index, Path::new(DOWNLOADS).join(name));
                protocol::send(stream, &ready, &[]).map_err(|error| {
                    lost = true;
                    TemplateError::failed(format!("the worker does not listen: {error}"))
                })
            },
        );
        match fetched {
            _ if lost => Err(Stop::Lost),
            Ok(()) => Ok(Reply::AllReady),
            Err(error) => Ok(Reply::Failed(error)),
        }
    }

    fn died(&mut self, status: Option<Status>) -> PluginError {
        // All that it wrote is in the pipe by now. The pipe's end is not waited for: a worker may
        // have sent a copy of the other side through the socket, to hold it open.
        while self.output_open && readable(&self.output) {
            self.output_open = self.lines.take(&mut self.output);
        }
        PluginError::Died {
            template: self.found.name.clone(),
            doing: self.call.doing(),
            how: match status {
                Some(Status::Exited(code)) => format!("ended with exit code {code}"),
                // As the first process of its namespace it cannot die of SIGABRT: abort(3) then
                // ends it the hard way.
                Some(Status::Signaled(11)) => "crashed (SIGSEGV, or an abort)".to_owned(),
                Some(Status::Signaled(signal)) => format!("was killed by {}", signal_name(signal)),
                None => "had to be ended".to_owned(),
            },
            last_lines: self.lines.last(),
        }
    }
}

fn readable(file: &File) -> bool {
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

fn signal_name(number: i32) -> String {
    match nix::sys::signal::Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("signal {number}"),
    }
}

/// The last lines of what a worker wrote and logged.
#[derive(Default)]
struct Lines {
    last: VecDeque<String>,
    unfinished: Vec<u8>,
}

impl Lines {
    /// Reads what there is; `false` at the end. Readable, or with no writer left.
    fn take(&mut self, output: &mut File) -> bool {
        let mut buffer = [0_u8; 8192];
        match output.read(&mut buffer) {
            Ok(0) => false,
            Ok(got) => {
                for &byte in &buffer[..got] {
                    match byte {
                        b'\n' => self.finish(),
                        // The rest of an endless line is dropped.
                        _ if self.unfinished.len() >= LINE_LIMIT => {}
                        _ => self.unfinished.push(byte),
                    }
                }
                true
            }
            Err(error) => error.kind() == IoErrorKind::Interrupted,
        }
    }

    fn finish(&mut self) {
        let line = String::from_utf8_lossy(&self.unfinished).into_owned();
        self.unfinished.clear();
        self.push(printable(&line));
    }

    fn push(&mut self, line: String) {
        if self.last.len() == LINES_KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    fn last(&mut self) -> Vec<String> {
        if !self.unfinished.is_empty() {
            self.finish();
        }
        self.last.iter().cloned().collect()
    }
}

/// A template's words on a person's terminal: no control characters, no endless lines.
fn printable(text: &str) -> String {
    text.chars()
        .take(LINE_LIMIT)
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

fn request(options: &ResolvedOptions) -> Request {
    Request {
        arch: options.arch.clone(),
        options: options.options.clone(),
        cannot_run: foreign::obstacle(&options.arch),
    }
}

fn unexpected(found: &Found) -> PluginError {
    PluginError::Template {
        template: found.name.clone(),
        error: TemplateError::failed("its worker answered another call"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_endless_lines_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb"), "a\u{fffd}[31mb");
        assert_eq!(printable(&"x".repeat(1 << 20)).len(), LINE_LIMIT);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut lines = Lines::default();
        for number in 0..100 {
            lines.push(number.to_string());
        }
        let last = lines.last();
        assert_eq!(last.len(), LINES_KEPT);
        assert_eq!(last.last().map(String::as_str), Some("99"));
    }
}
