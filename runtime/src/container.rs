//! One container: what it is, what is known of it, stopping it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::cgroup::{Cgroup, LimitsInForce, Usage};
use crate::config::{ConfigFile, Settings};
use crate::containers::{Containers, Directories, lock_directory, write_file};
use crate::copy::size_limit;
use crate::error::{Error, ErrorKind, Reason, Result, Tried};
use crate::events::Change;
use crate::exit::Exit;
use crate::monitor::client::{Client, Stopped};
use crate::monitor::protocol::Status;
use crate::name::ContainerName;
use crate::network::managed::Networks;
use crate::network::{self, Owner};
use crate::rename;
use crate::run_directory::RunDirectory;
use crate::storage::{RootPath, StorageKind};

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
    /// None of its processes runs until it is thawed.
    Frozen,
    /// Its init ended, and its restart policy starts it again in a while.
    Restarting,
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
    /// How often its restart policy has started it again since it was started.
    pub restarts: Option<u32>,
    /// How its last run ended, or (running) the one before.
    pub last_exit: Option<Exit>,
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
    /// How its files are kept.
    pub storage: Option<StorageKind>,
    /// The most that its files may take, in bytes.
    pub size_limit: Option<u64>,
    /// What its files lie on, of storage `overlay`.
    pub lower: Vec<PathBuf>,
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

/// How to stop.
#[derive(Debug, Clone)]
pub struct StopOptions {
    /// At once, without asking.
    pub kill: bool,
    /// How long it may take to halt before it is killed.
    pub timeout: Duration,
    /// Whether it is killed then; otherwise that is an error.
    pub kill_after: bool,
    /// Whether to wait at all; otherwise it is only asked.
    pub wait: bool,
}

impl Default for StopOptions {
    fn default() -> StopOptions {
        StopOptions {
            kill: false,
            timeout: Duration::from_secs(60),
            kill_after: true,
            wait: true,
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

    pub(crate) fn directories(&self) -> &Directories {
        &self.directories
    }

    /// Its name.
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// Another one in the same directory.
    pub(crate) fn beside(&self, name: ContainerName) -> Container {
        Container::new(self.directories.clone(), name)
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
        let configured = self.settings().ok();
        configured
            .and_then(|settings| settings.console_log)
            .unwrap_or_else(|| self.own_console_log())
    }

    /// The same where its config says nothing: this one goes with the container.
    pub(crate) fn own_console_log(&self) -> PathBuf {
        self.directories.log.join(format!("{}.console", self.name))
    }

    /// What its monitor said.
    pub fn log(&self) -> PathBuf {
        self.directories.log.join(format!("{}.log", self.name))
    }

    /// Its config, as text.
    pub fn config(&self) -> Result<ConfigFile> {
        if let Some(text) = rename::pending_config(self) {
            return Ok(ConfigFile::parse(&self.config_path(), &text));
        }
        ConfigFile::read(&self.config_path())
    }

    /// Its config, understood.
    pub fn settings(&self) -> Result<Settings> {
        Settings::of(&self.config()?)
    }

    /// Replaces its config. A running container keeps the one it started with.
    pub fn set_config(&self, config: &ConfigFile) -> Result<()> {
        rename::resume(self)?;
        write_file(&self.config_path(), &config.to_string())
    }

    /// What it is doing.
    pub fn state(&self) -> Result<State> {
        Ok(self.observe()?.0)
    }

    /// The host's pid of its init, if it runs.
    pub fn init_pid(&self) -> Result<Option<i32>> {
        Ok(self.observe()?.1.and_then(|status| status.init_pid))
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
        let root = settings.as_ref().map(|settings| &settings.root);
        let get = |key| config.as_ref().and_then(|config| config.get(key));
        Ok(Info {
            name: self.name.to_string(),
            state,
            init_pid: status.as_ref().and_then(|status| status.init_pid),
            started_at: status.as_ref().map(|status| status.started_at),
            restarts: status.as_ref().map(|status| status.restarts),
            last_exit: Exit::read(&self.dir()),
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
            storage: root.map(RootPath::kind),
            size_limit: config
                .as_ref()
                .and_then(size_limit)
                .or_else(|| root?.size_limit()),
            lower: root.map_or(Vec::new(), |root| root.lower().to_vec()),
            rootfs: root.map(|root| root.own().to_owned()),
            ips: match status.as_ref().and_then(|status| status.init_pid) {
                // It may end at any moment; then it has none.
                Some(init) => network::addresses_of(init).unwrap_or_default(),
                None => Vec::new(),
            },
            template: get("sampan.template"),
            image: get("sampan.image"),
            config: self.config_path(),
            console_log: self.console_log(),
            log: self.log(),
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

    /// Takes over the logs of the name that it had.
    pub(crate) fn take_logs_of(&self, old: &ContainerName) {
        let old = Container::new(self.directories.clone(), old.clone());
        for (from, to) in old.logs().into_iter().zip(self.logs()) {
            // One that was never written is not missed.
            let _ = fs::rename(from, to);
        }
    }

    /// Makes the directory of all logs.
    pub(crate) fn make_log_directory(&self) -> Result<()> {
        let log = &self.directories.log;
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(log)
            .tried(|| format!("create {}", log.display()))
    }

    pub(crate) fn logs(&self) -> [PathBuf; 3] {
        [
            self.log(),
            self.own_console_log(),
            self.own_console_log().with_extension("console.1"),
        ]
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
        let stopped = || {
            if is_root() {
                // Only tried: what does not go away must hide neither this container nor, in a
                // list, the others. A start or destruction says why it does not.
                let _ = self.sweep();
            }
            Ok((State::Stopped, None))
        };
        if !locked {
            return stopped();
        }
        match self.client().and_then(|mut client| client.status()) {
            Ok(status) => Ok((status.state, Some(status))),
            // Its monitor ended, or was killed, between the two questions.
            Err(error) if error.reason() == Reason::NotRunning => stopped(),
            // It does not answer yet, or not any more.
            Err(_) if self.run_directory().is_locked()? => Ok((State::Starting, None)),
            Err(_) => stopped(),
        }
    }

    /// Removes what a killed monitor left behind, unless somebody is at work here.
    pub(crate) fn sweep(&self) -> Result<()> {
        if !self.run_directory().is_locked()?
            && (self.run_directory().exists() || self.cgroup()?.exists())
            && let Ok(lock) = self.lock(FlockArg::LockExclusiveNonblock)
        {
            self.sweep_locked(&lock)?;
        }
        Ok(())
    }

    pub(crate) fn sweep_locked(&self, _lock: &Flock<File>) -> Result<()> {
        let (run, cgroup) = (self.run_directory(), self.cgroup()?);
        if !run.exists() && !cgroup.exists() {
            return Ok(());
        }
        // What a monitor leaves that ends by itself is at most half a directory without a lock.
        let left_behind = run.lock_left_behind()?;
        let was_killed = left_behind.is_some();
        // Against a monitor whose starter was killed.
        let Some(_running) = left_behind.map_or_else(|| run.lock(), |lock| Ok(Some(lock)))? else {
            return Ok(());
        };
        cgroup.kill()?;
        // What cannot be understood cannot have been started either.
        if let Ok(settings) = self.settings() {
            if was_killed {
                self.tell_of_scripts(&settings);
            }
            network::sweep(self.owner(), &settings.networks)?;
        }
        cgroup.remove()?;
        run.remove()?;
        if was_killed {
            let exit = Exit::with_monitor();
            // It has stopped, whoever hears of it.
            let _ = exit.write(&self.dir());
            let _ = self.tell(Change::Stopped { exit });
        }
        Ok(())
    }

    /// Nobody ran what runs at the end: whoever reads the log shall know what to do by hand.
    fn tell_of_scripts(&self, settings: &Settings) {
        let lines: Vec<String> = settings
            .networks
            .iter()
            .filter_map(|network| Some((network.number, network.down_script.as_ref()?)))
            .map(|(number, script)| {
                format!(
                    "the monitor was killed: lxc.net.{number}.script.down = {} was not run\n",
                    script.command
                )
            })
            .collect();
        if lines.is_empty() {
            return;
        }
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(crate::hooks::log_file(self, settings));
        // A log that cannot be written keeps nobody from tidying up.
        let _ = log.and_then(|mut log| log.write_all(lines.concat().as_bytes()));
    }

    /// The networks that it may be in.
    pub(crate) fn networks(&self) -> Networks {
        Containers::new(self.directories.clone()).networks()
    }

    /// One start, destruction, sweep or edit at a time.
    ///
    /// # Errors
    /// [`Reason::NotFound`] if it does not exist, or not any more once it is our turn.
    pub(crate) fn lock(&self, how: FlockArg) -> Result<Flock<File>> {
        let dir = self.dir();
        loop {
            let gone = || {
                Error::user(format!(
                    "there is no container \"{}\" in {} any more",
                    self.name,
                    self.directories.state.display()
                ))
                .with_reason(Reason::NotFound)
            };
            let lock = match lock_directory(&dir, how) {
                Err(_) if !dir.exists() => return Err(gone()),
                other => other?,
            };
            // The lock goes where the directory goes: whoever had it may have taken it away.
            let what = || format!("look at {}", dir.display());
            let ours = lock.metadata().tried(what)?.ino();
            match fs::metadata(&dir) {
                Ok(now) if now.ino() == ours => return Ok(lock),
                // Another one of that name.
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(gone()),
                Err(e) => return Err(e).tried(what),
            }
        }
    }
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub(crate) fn must_be_root(what: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    Err(Error::environment(format!("only root can {what}")).with_hint("run it with sudo"))
}
