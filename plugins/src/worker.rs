//! The worker's side: loads the one library it was started for and makes the one call.
//!
//! It runs as pid 1 of a sandbox (see `session`), single-threaded, without network. Every service
//! but `run` is a message to the parent.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::VecDeque,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::ExitCode,
};

use sampan_core::{
    Command, Download, ErrorKind, Host, Level, Outcome, Span, TemplateError, Unit, abi::Module,
};
use sampan_runtime::sandbox::in_root;

use crate::{
    load,
    protocol::{self, Answer, Call, Ended, FromWorker, PLUGIN, ROOTFS, Reply},
};

/// How much of a command's output an [`Outcome`] keeps, in bytes.
const OUTPUT_KEPT: usize = 64 * 1024;

/// How many lines of a command's status an [`Outcome`] keeps, and how much of each, in bytes.
const STATUS_KEPT: usize = 16_384;
const STATUS_LINE: usize = 256;

/// The whole life of a worker: the hidden subcommand `sampan worker` is this.
pub fn worker_main() -> ExitCode {
    let stream = sampan_runtime::inherited_stream(protocol::SOCKET);
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => {
            eprintln!("sampan worker: it is started by sampan itself, not by hand ({error})");
            return ExitCode::from(2);
        }
    };
    let call = match protocol::receive::<Call>(&mut stream) {
        Ok(Some((call, _))) => call,
        Ok(None) => return ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sampan worker: cannot read what to do: {error}");
            return ExitCode::FAILURE;
        }
    };
    let client = Client {
        stream: RefCell::new(stream),
        prepared: RefCell::new(false),
        fetching: Cell::new(false),
    };
    let ended = match load::load(Path::new(PLUGIN)) {
        Ok(module) => perform(&module, call, &client).unwrap_or_else(Ended::Failed),
        Err(reason) => Ended::Unusable(reason),
    };
    match client.tell(&FromWorker::Done(Box::new(ended))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn perform(module: &Module, call: Call, client: &Client) -> Result<Ended, TemplateError> {
    let answer = match call {
        Call::Describe => Answer::Description {
            abi_version: module.abi_version(),
            description: module.describe()?,
        },
        Call::Fingerprint(request) => Answer::Fingerprint(module.fingerprint(&request, client)?),
        Call::Build(request) => Answer::Built(module.build(&request, ROOTFS, client)?),
        Call::Configure(container) => {
            Answer::Configured(module.configure(&container, ROOTFS, client)?)
        }
    };
    Ok(Ended::Answer(answer))
}

/// The host as the worker has it: the parent behind a socket.
struct Client {
    stream: RefCell<UnixStream>,
    prepared: RefCell<bool>,
    /// Whether files are being handed on.
    fetching: Cell<bool>,
}

impl Client {
    fn tell(&self, message: &FromWorker) -> std::io::Result<()> {
        protocol::send(&mut *self.stream.borrow_mut(), message, &[])
    }

    fn ask(&self, message: &FromWorker) -> Result<(Reply, Vec<u8>), TemplateError> {
        if self.fetching.get() {
            return Err(TemplateError::failed(
                "a template cannot ask for anything while it takes files",
            ));
        }
        self.tell(message).map_err(lost)?;
        match self.hear()? {
            (Reply::Failed(error), _) => Err(error),
            reply => Ok(reply),
        }
    }

    fn hear(&self) -> Result<(Reply, Vec<u8>), TemplateError> {
        protocol::receive(&mut *self.stream.borrow_mut())
            .and_then(|reply| reply.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into()))
            .map_err(lost)
    }
}

fn lost(error: std::io::Error) -> TemplateError {
    TemplateError::failed(format!("the worker lost its parent: {error}"))
}

fn out_of_turn() -> TemplateError {
    TemplateError::failed("the parent answered another question")
}

impl Host for Client {
    fn log(&self, level: Level, message: &str) {
        // A parent that is gone has taken its reader along; the next question fails.
        let _ = self.tell(&FromWorker::Log(level, message.to_owned()));
    }

    fn progress(&self, task: &str, done: u64, total: u64, unit: Unit) {
        let _ = self.tell(&FromWorker::Progress {
            task: task.to_owned(),
            done,
            total,
            unit,
        });
    }

    fn span(&self, span: &Span) {
        let _ = self.tell(&FromWorker::Span(span.clone()));
    }

    fn fetch(&self, downloads: &[Download]) -> Result<Vec<PathBuf>, TemplateError> {
        // The largest first: the last to end should not be the one that began last.
        let mut order: Vec<usize> = (0..downloads.len()).collect();
        order.sort_by_key(|index| Reverse(downloads[*index].size));
        let sorted: Vec<Download> = order.iter().map(|at| downloads[*at].clone()).collect();
        let mut paths = vec![None; downloads.len()];
        self.fetch_each(&sorted, &mut |index, path| {
            let slot = order.get(index).and_then(|at| paths.get_mut(*at));
            *slot.ok_or_else(out_of_turn)? = Some(path);
            Ok(())
        })?;
        let paths: Option<Vec<PathBuf>> = paths.into_iter().collect();
        paths.ok_or_else(out_of_turn)
    }

    fn fetch_each(
        &self,
        downloads: &[Download],
        ready: &mut dyn FnMut(usize, PathBuf) -> Result<(), TemplateError>,
    ) -> Result<(), TemplateError> {
        let mut reply = self.ask(&FromWorker::Fetch(downloads.to_vec()))?;
        self.fetching.set(true);
        // After an error of the template's the rest is still read: the parent is not interrupted.
        let mut result = Ok(());
        loop {
            match reply {
                (Reply::Ready(index, path), _) => {
                    if result.is_ok() {
                        result = ready(index, path);
                    }
                }
                (Reply::AllReady, _) => break,
                (Reply::Failed(error), _) => {
                    result = Err(error);
                    break;
                }
                _ => {
                    result = Err(out_of_turn());
                    break;
                }
            }
            reply = self.hear()?;
        }
        self.fetching.set(false);
        result
    }

    fn fetch_unverified(&self, url: &str, limit: u64) -> Result<Vec<u8>, TemplateError> {
        let message = FromWorker::FetchUnverified {
            url: url.to_owned(),
            limit,
        };
        match self.ask(&message)? {
            (Reply::Bytes, bytes) => Ok(bytes),
            _ => Err(out_of_turn()),
        }
    }

    fn run(&self, command: &Command) -> Result<Outcome, TemplateError> {
        if !self.prepared.replace(true) {
            in_root::prepare(Path::new(ROOTFS)).map_err(|error| failed(&error))?;
        }
        let mut env = vec![
            (
                "PATH".to_owned(),
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ),
            ("HOME".to_owned(), "/root".to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ];
        env.retain(|(name, _)| !command.env.iter().any(|(given, _)| given == name));
        env.extend(command.env.iter().cloned());
        let inside = in_root::Command {
            argv: command.argv.iter().map(Into::into).collect(),
            environment: env.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            stdin: Some(command.stdin.clone()).filter(|bytes| !bytes.is_empty()),
            directory: None,
            nosync: command.skip_sync,
            status: command.status,
        };
        let mut output: Vec<u8> = Vec::new();
        let mut lines = StatusLines::default();
        let status = in_root::run(
            Path::new(ROOTFS),
            &inside,
            &mut |stream, bytes| match stream {
                in_root::Stream::Status => lines.take(bytes),
                in_root::Stream::Output => {
                    output.extend_from_slice(bytes);
                    if output.len() > 2 * OUTPUT_KEPT {
                        output.drain(..output.len() - OUTPUT_KEPT);
                    }
                }
            },
        )
        .map_err(|error| failed(&error))?;
        let kept = output.len().saturating_sub(OUTPUT_KEPT);
        Ok(Outcome {
            code: status.code(),
            output: String::from_utf8_lossy(&output[kept..]).into_owned(),
            status: lines.kept.into(),
        })
    }

    fn remember_highest(&self, name: &str, value: i64) -> Result<i64, TemplateError> {
        let message = FromWorker::RememberHighest {
            name: name.to_owned(),
            value,
        };
        match self.ask(&message)? {
            (Reply::Highest(highest), _) => Ok(highest),
            _ => Err(out_of_turn()),
        }
    }

    fn cancelled(&self) -> bool {
        // While files come there is nobody to ask; the parent ends the fetch itself.
        !self.fetching.get()
            && !matches!(
                self.ask(&FromWorker::Cancelled),
                Ok((Reply::Cancelled(false), _))
            )
    }
}

/// The lines that a command wrote to its status descriptor, the last [`STATUS_KEPT`] of them.
#[derive(Default)]
struct StatusLines {
    kept: VecDeque<(u64, String)>,
    unfinished: Vec<u8>,
}

impl StatusLines {
    fn take(&mut self, bytes: &[u8]) {
        let now = Span::now();
        for &byte in bytes {
            if byte != b'\n' {
                // The rest of an endless line is dropped.
                if self.unfinished.len() < STATUS_LINE {
                    self.unfinished.push(byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.unfinished).into_owned();
            self.unfinished.clear();
            if self.kept.len() == STATUS_KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back((now, line));
        }
    }
}

fn failed(error: &sampan_runtime::Error) -> TemplateError {
    let chain = error.chain();
    let foreign = chain.contains(nix::errno::Errno::ENOEXEC.desc());
    let plain = TemplateError::new(ErrorKind::Failed, chain);
    match error.hint() {
        Some(hint) => plain.with_hint(hint),
        None if foreign => plain.with_hint(
            "this machine cannot run programs of that architecture: install qemu-user-binfmt (qemu-user-static before Debian 13), or build for the machine's own",
        ),
        None => plain,
    }
}
