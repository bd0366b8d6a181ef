//! One container: what it is, starting, stopping and destroying it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::cgroup::{Cgroup, LimitsInForce, Usage};
use crate::config::{ConfigFile, Settings};
use crate::containers::{Directories, lock_directory, write_file};
use crate::error::{Error, ErrorKind, Reason, Result, Tried};
use crate::monitor::client::{Client, Stopped};
use crate::monitor::protocol::{Report, Status};
use crate::name::ContainerName;
use crate::network::{self, Owner};
use crate::run_directory::RunDirectory;

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// Nothing of it runs.
    Stopped,
    /// Its monitor is there, its init not yet (or not any more).
    Starting,
    /// Its init runs.
    Running,
    /// It was asked to stop.
    Stopping,
}

/// What there is to know about a container. The field names are stable.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// The host's pid of its init.
    pub init_pid: Option<i32>,
    /// When its init was started, in seconds since 1970.
    pub started_at: Option<u64>,
    /// Bytes of memory it uses now.
    pub memory: Option<u64>,
    /// Bytes of memory it may use.
    pub memory_limit: Option<u64>,
    /// What it uses, if it runs.
    pub usage: Option<Usage>,
    /// What it may use, if it runs.
    pub limits: Option<LimitsInForce>,
    /// The host's uid of its root; `None` if its config cannot be understood.
    pub host_uid: Option<u32>,
    /// Whether its root is the host's.
    pub privileged: Option<bool>,
    /// Its root file system.
    pub rootfs: Option<PathBuf>,
    /// Its addresses, IPv4 first, without loopback and link-local ones.
    pub ips: Vec<IpAddr>,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// The groups it is in.
    pub groups: Vec<String>,
    /// The template it was made by.
    pub template: Option<String>,
    /// The image it was made from.
    pub image: Option<String>,
    /// Its config file.
    pub config: PathBuf,
    /// What its console showed.
    pub console_log: PathBuf,
    /// What its monitor said.
    pub log: PathBuf,
}

/// How to start.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// The program that calls [`monitor_main`](crate::monitor_main); `/proc/self/exe` by default.
    pub monitor_program: PathBuf,
    /// Its arguments before those of the monitor; `["monitor"]` by default.
    pub monitor_arguments: Vec<String>,
}

impl Default for StartOptions {
    fn default() -> StartOptions {
        StartOptions {
            monitor_program: PathBuf::from("/proc/self/exe"),
            monitor_arguments: vec!["monitor".to_owned()],
        }
    }
}

/// How to stop.
#[derive(Debug, Clone)]
pub struct StopOptions {
    /// At once, without asking.
    pub kill: bool,
    /// How long it may take to halt before it is killed.
    pub timeout: Duration,
}

impl Default for StopOptions {
    fn default() -> StopOptions {
        StopOptions {
            kill: false,
            timeout: Duration::from_secs(60),
        }
    }
}

/// A container on disk, running or not.
#[derive(Debug, Clone)]
pub struct Container {
    directories: Directories,
    name: ContainerName,
}

impl Container {
    pub(crate) fn new(directories: Directories, name: ContainerName) -> Container {
        Container { directories, name }
    }

    /// Its name.
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// `STATE/NAME`.
    pub fn dir(&self) -> PathBuf {
        self.directories.state.join(self.name.as_str())
    }

    /// Its config file.
    pub fn config_path(&self) -> PathBuf {
        self.dir().join("config")
    }

    /// What its console showed.
    pub fn console_log(&self) -> PathBuf {
        self.directories.log.join(format!("{}.console", self.name))
    }

    /// What its monitor said.
    pub fn log(&self) -> PathBuf {
        self.directories.log.join(format!("{}.log", self.name))
    }

    /// Its config, as text.
    pub fn config(&self) -> Result<ConfigFile> {
        ConfigFile::read(&self.config_path())
    }

    /// Its config, understood.
    pub fn settings(&self) -> Result<Settings> {
        Settings::of(&self.config()?)
    }

    /// Replaces its config. A running container keeps the one it started with.
    pub fn set_config(&self, config: &ConfigFile) -> Result<()> {
        write_file(&self.config_path(), &config.to_string())
    }

    /// What it is doing.
    pub fn state(&self) -> Result<State> {
        Ok(self.observe()?.0)
    }

    /// The host's pid of its init, if it runs.
    pub fn init_pid(&self) -> Result<Option<i32>> {
        Ok(self.observe()?.1.map(|status| status.init_pid))
    }

    /// Everything there is to know.
    pub fn info(&self) -> Result<Info> {
        let (state, status) = self.observe()?;
        let cgroup = status.as_ref().and_then(|_| self.cgroup().ok());
        let usage = cgroup.as_ref().map(Cgroup::usage);
        let limits = cgroup.as_ref().map(Cgroup::limits);
        // One broken config must not hide the other containers.
        let config = self.config().ok();
        let settings = config.as_ref().and_then(|config| Settings::of(config).ok());
        let get = |key| config.as_ref().and_then(|config| config.get(key));
        Ok(Info {
            name: self.name.to_string(),
            state,
            init_pid: status.as_ref().map(|status| status.init_pid),
            started_at: status.as_ref().map(|status| status.started_at),
            memory: usage.and_then(|usage| usage.memory),
            memory_limit: limits.as_ref().and_then(|limits| limits.memory),
            usage,
            limits,
            // Of a running one, what it was started with.
            host_uid: match &status {
                Some(status) => Some(status.root_uid),
                None => settings.as_ref().map(|settings| settings.root_ids().0),
            },
            privileged: match &status {
                Some(status) => Some(status.privileged),
                None => settings.as_ref().map(Settings::privileged),
            },
            autostart: match &settings {
                Some(settings) => settings.autostart.auto,
                None => get("lxc.start.auto").as_deref() == Some("1"),
            },
            groups: match (&settings, &config) {
                (Some(settings), _) => settings.autostart.groups.clone(),
                (None, Some(config)) => config.lines_of(&["lxc.group"]).map(|l| l.value).collect(),
                (None, None) => Vec::new(),
            },
            rootfs: settings.map(|settings| settings.rootfs),
            ips: match &status {
                // It may end at any moment; then it has none.
                Some(status) => network::addresses_of(status.init_pid).unwrap_or_default(),
                None => Vec::new(),
            },
            template: get("sampan.template"),
            image: get("sampan.image"),
            config: self.config_path(),
            console_log: self.console_log(),
            log: self.log(),
        })
    }

    /// Starts it; returns the host's pid of its init once that runs.
    ///
    /// # Errors
    /// The step that failed and why; [`Reason::Running`] if it runs already.
    pub fn start(&self, options: &StartOptions) -> Result<i32> {
        must_be_root("start a container")?;
        let lock = self.lock(FlockArg::LockExclusive)?;
        if self.run_directory().is_locked()? {
            return Err(
                Error::user(format!("container \"{}\" is already running", self.name))
                    .with_reason(Reason::Running),
            );
        }
        self.sweep_locked(&lock)?;
        // Said here rather than by the monitor, with the same words.
        self.settings()?;
        let report = self.spawn_monitor(options)?;
        match report {
            Report::Running { pid } => Ok(pid),
            Report::Failed {
                kind,
                running,
                message,
                hint,
            } => {
                let message = format!("could not start container \"{}\": {message}", self.name);
                let error = match kind.as_str() {
                    "user" => Error::user(message),
                    "environment" => Error::environment(message),
                    _ => Error::internal(message),
                };
                let error = if running {
                    error.with_reason(Reason::Running)
                } else {
                    error
                };
                Err(match hint {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                })
            }
        }
    }

    fn spawn_monitor(&self, options: &StartOptions) -> Result<Report> {
        let log = &self.directories.log;
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(log)
            .tried(|| format!("create {}", log.display()))?;
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(self.log())
            .tried(|| format!("open {}", self.log().display()))?;
        let (mut read, write) = io::pipe().tried(|| "open a pipe".to_owned())?;
        let program = options.monitor_program.display();
        let mut command = Command::new(&options.monitor_program);
        command
            .args(&options.monitor_arguments)
            .args([
                &self.directories.state,
                &self.directories.run,
                &self.directories.log,
            ])
            .arg(self.name.as_str())
            // It lives long: it should hold neither secrets nor a directory of its caller.
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(write)
            .stderr(log);
        let mut child = command.spawn().tried(|| format!("execute {program}"))?;
        // Our copy of the pipe's end is in there.
        drop(command);
        // It goes to the background at once; then this process has no child to care for.
        let first = child.wait().tried(|| "wait for the monitor".to_owned())?;
        let mut text = String::new();
        read.read_to_string(&mut text)
            .tried(|| "read the monitor's report".to_owned())?;
        serde_json::from_str(&text).map_err(|_| {
            Error::internal(format!(
                "the monitor of container \"{}\" ended without a report ({first})",
                self.name
            ))
            .with_hint(format!("see {}", self.log().display()))
        })
    }

    /// Stops it, and returns when nothing of it is left.
    ///
    /// # Errors
    /// [`Reason::NotRunning`] if it does not run.
    pub fn stop(&self, options: &StopOptions) -> Result<Stopped> {
        must_be_root("stop a container")?;
        // What does not go away is told by a start or destruction.
        let _ = self.sweep();
        self.client()?.stop(options)
    }

    /// Removes it with everything in it.
    ///
    /// # Errors
    /// [`Reason::Running`] if it runs and is not to be killed (`force`).
    pub fn destroy(&self, force: bool) -> Result<()> {
        must_be_root("destroy a container")?;
        if self.run_directory().is_locked()? {
            if !force {
                return Err(Error::user(format!("container \"{}\" is running", self.name))
                    .with_reason(Reason::Running)
                    .with_hint(format!(
                        "stop it first (sampan stop {0}), or kill and remove it: sampan destroy --force {0}",
                        self.name
                    )));
            }
            let kill = StopOptions {
                kill: true,
                ..StopOptions::default()
            };
            match self.stop(&kill) {
                Err(error) if error.reason() != Reason::NotRunning => return Err(error),
                _ => {}
            }
        }
        let lock = self.lock(FlockArg::LockExclusive)?;
        if self.run_directory().is_locked()? {
            return Err(
                Error::user(format!("container \"{}\" was started again", self.name))
                    .with_reason(Reason::Running),
            );
        }
        self.sweep_locked(&lock)?;
        // One rename, and it does not exist any more; an interrupted removal is swept later.
        let from = self.dir();
        let to = self.directories.state.join(format!(
            ".old-{}-{:08x}",
            self.name,
            rand::random::<u32>()
        ));
        fs::rename(&from, &to).tried(|| format!("rename {}", from.display()))?;
        for log in [
            self.log(),
            self.console_log(),
            self.console_log().with_extension("console.1"),
        ] {
            let _ = fs::remove_file(log);
        }
        fs::remove_dir_all(&to).tried(|| format!("remove {}", to.display()))
    }

    pub(crate) fn cgroup(&self) -> Result<Cgroup> {
        Cgroup::of_container(&self.directories.state, self.name.as_str())
    }

    /// Whose networks its networks are.
    pub(crate) fn owner(&self) -> Owner<'_> {
        Owner {
            name: self.name.as_str(),
            state: &self.directories.state,
        }
    }

    pub(crate) fn run_directory(&self) -> RunDirectory {
        RunDirectory::new(&self.directories.run, &self.name)
    }

    /// A connection to its monitor.
    pub(crate) fn client(&self) -> Result<Client> {
        if !self.run_directory().is_locked()? {
            return Err(self.not_running());
        }
        match self.run_directory().connect() {
            Ok(stream) => Ok(Client::new(stream, self.name.as_str())),
            // It has just ended.
            Err(_) if !self.run_directory().is_locked()? => Err(self.not_running()),
            Err(e) => Err(e).tried(|| format!("reach the monitor of container \"{}\"", self.name)),
        }
    }

    pub(crate) fn not_running(&self) -> Error {
        Error::user(format!("container \"{}\" is not running", self.name))
            .with_reason(Reason::NotRunning)
            .with_hint(format!("start it: sampan start {}", self.name))
    }

    fn observe(&self) -> Result<(State, Option<Status>)> {
        let locked = match self.run_directory().is_locked() {
            // RUN is root's alone; others may still see what exists.
            Err(error) if error.kind() == ErrorKind::Environment && !is_root() => {
                return Err(error);
            }
            other => other?,
        };
        if !locked {
            if is_root() {
                // Only tried: what does not go away must hide neither this container nor, in a
                // list, the others. A start or destruction says why it does not.
                let _ = self.sweep();
            }
            return Ok((State::Stopped, None));
        }
        match self.client().and_then(|mut client| client.status()) {
            Ok(status) if status.stopping => Ok((State::Stopping, Some(status))),
            Ok(status) => Ok((State::Running, Some(status))),
            Err(error) if error.reason() == Reason::NotRunning => Ok((State::Stopped, None)),
            // It does not answer yet, or not any more.
            Err(_) if self.run_directory().is_locked()? => Ok((State::Starting, None)),
            Err(_) => Ok((State::Stopped, None)),
        }
    }

    /// Removes what a killed monitor left behind, unless somebody is at work here.
    fn sweep(&self) -> Result<()> {
        if !self.run_directory().is_locked()?
            && (self.run_directory().exists() || self.cgroup()?.exists())
            && let Ok(lock) = self.lock(FlockArg::LockExclusiveNonblock)
        {
            self.sweep_locked(&lock)?;
        }
        Ok(())
    }

    fn sweep_locked(&self, _lock: &Flock<File>) -> Result<()> {
        let (run, cgroup) = (self.run_directory(), self.cgroup()?);
        if !run.exists() && !cgroup.exists() {
            return Ok(());
        }
        // Against a monitor whose starter was killed.
        let Some(_running) = run.lock()? else {
            return Ok(());
        };
        cgroup.kill()?;
        // What cannot be understood cannot have been started either.
        if let Ok(settings) = self.settings() {
            network::sweep(self.owner(), &settings.networks)?;
        }
        cgroup.remove()?;
        run.remove()
    }

    /// One start, destruction, sweep or edit at a time.
    pub(crate) fn lock(&self, how: FlockArg) -> Result<Flock<File>> {
        lock_directory(&self.dir(), how)
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub(crate) fn must_be_root(what: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    Err(Error::environment(format!("only root can {what}")).with_hint("run it with sudo"))
}

/// As [`Path::exists`], for messages about a missing rootfs.
pub(crate) fn check_rootfs(path: &Path) -> Result<()> {
    fs::metadata(path)
        .and_then(|metadata| {
            if metadata.is_dir() {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(libc::ENOTDIR))
            }
        })
        .tried(|| format!("open the root file system {}", path.display()))
}
